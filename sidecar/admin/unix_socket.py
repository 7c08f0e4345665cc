"""The Unix socket of the admin API: its file is the login.

It is made with mode 0600: connecting needs write permission, so only the user that
the sidecar runs as, and root, get in. What a dead process left is replaced; what a
living one serves, or what is no socket, is let be.
"""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from sidecar.accept.listener import ListenError

_OWNER_ONLY = 0o177  # What is taken from the permissions of a new socket: 0600.


class SocketError(ListenError):
    """The socket cannot be made."""

    def __init__(self, path: str, reason: str, remedy: str) -> None:
        Exception.__init__(self, f"admin: cannot listen on {path}: {reason}; {remedy}")


class UnixSocket:
    """A bound socket, and its file."""

    def __init__(self, path: str) -> None:
        """Bind.

        Raises:
            SocketError: Somebody listens there, or the file cannot be made.
        """
        self.path = path
        _remove_stale(path)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(_OWNER_ONLY)  # From the first moment, not a chmod later.
        try:
            self.sock.bind(path)
            self._file = os.lstat(path)
            self.sock.listen()  # Else it would look as if nobody served it.
        except OSError as error:
            self.sock.close()
            raise _unusable(path, error) from None
        finally:
            os.umask(before)

    def close(self) -> None:
        """Listen no more; take the file away, if it is still this socket's."""
        self.sock.close()
        try:
            if os.path.samestat(os.lstat(self.path), self._file):
                Path(self.path).unlink()
        except OSError:
            return  # It is gone, or its folder is.


def _remove_stale(path: str) -> None:
    """Take away what a process that is dead left.

    Raises:
        SocketError: It is no socket, or one that lives.
    """
    try:
        mode = os.lstat(path).st_mode
        if not stat.S_ISSOCK(mode):
            reason = "it is there, and is no socket"
            raise SocketError(path, reason, "set admin.socket to another path")
        if _is_served(path):
            reason = "another process serves it"
            raise SocketError(path, reason, "end that, or set admin.socket to another")
        Path(path).unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(path, error) from None


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect(path)
        except BlockingIOError:
            return True  # Its queue is full.
        except ConnectionRefusedError:
            return False
    return True


def _unusable(path: str, error: OSError) -> SocketError:
    reason = error.strerror or str(error)
    folder = Path(path).parent
    return SocketError(path, reason, f"let this user write in {folder}")
