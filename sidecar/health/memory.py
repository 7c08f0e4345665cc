"""How much memory the application has, as far as it can be seen from here.

Its processes are those that listen on its port, with all that they have started. In a
pod they are seen with `shareProcessNamespace: true` alone; where another user's files
are closed to us it is not seen who listens, and then all processes are the
application's that are neither ours nor the pod's own.

Its limit is that of our own cgroup if it is in there with us, else that of the one
that its processes see, if we may read that.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from sidecar.application import processes_of_pod
from sidecar.cgroup import Cgroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_INIT: Final = 1
_LISTENS: Final = "0A"  # TCP_LISTEN, in /proc/net/tcp.
_NOWHERE: Final = "/nonexistent"  # A container's own limits are at the root.


class ApplicationMemory:
    """Reads it when asked; that takes a while: call it in a thread.

    Args:
        ports: Where it listens.
        own: The cgroup of this process.
        others: Returns all its processes where it is not seen who listens.
    """

    def __init__(
        self,
        ports: frozenset[int],
        own: Cgroup | None = None,
        others: Callable[[], list[int]] = processes_of_pod,
    ) -> None:
        self._ports = ports
        self._own = own or Cgroup()
        self._others = others
        self._listening: list[psutil.Process] = []

    def used_bytes(self) -> int | None:
        """Return the resident memory of all its processes; None: none is seen."""
        found = self._processes()
        sizes = list(_sizes(found))
        return sum(sizes) if sizes else None

    def limit_bytes(self) -> int | None:
        """Return what it may use; None: there is no limit, or it cannot be seen."""
        for process in self._processes():
            if _cgroup_of(process.pid) == _cgroup_of(os.getpid()):
                return self._own.memory_limit_bytes()
            root = f"/proc/{process.pid}/root/sys/fs/cgroup"
            limit = Cgroup(root, _NOWHERE).memory_limit_bytes()
            if limit is not None:
                return limit
        return None

    def _processes(self) -> list[psutil.Process]:
        """Return its processes: looked for anew only when those known are gone."""
        self._listening = [p for p in self._listening if _is_alive(p)]
        if not self._listening:
            self._listening = _by_pid(_listeners(self._ports))
        if self._listening:
            below = (child for p in self._listening for child in _children(p))
            return list(dict.fromkeys([*self._listening, *below]))
        return _by_pid(self._others())


def _listeners(ports: frozenset[int]) -> set[int]:
    """Return who listens on one of these ports, as far as that may be seen.

    Workers have the socket of the master that started them, and all of them count:
    `psutil.net_connections` names one process of each socket, mostly a worker.
    """
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(ports)}
    if not sockets:
        return set()
    found = {pid for pid in psutil.pids() if not sockets.isdisjoint(_files(pid))}
    found.discard(os.getpid())
    if len(found) > 1 and _INIT in _ancestors():
        found.discard(_INIT)  # It has handed the socket on; all here are its own.
    return found


def _listening_inodes(ports: frozenset[int]) -> Iterator[str]:
    """Yield those of sockets that listen (Linux, "proc_net_tcp")."""
    for name in ("tcp", "tcp6"):
        with suppress(OSError), Path(f"/proc/net/{name}").open("rb") as lines:
            for line in lines:
                fields = line.decode("ascii").split(maxsplit=10)
                if fields[3] == _LISTENS and _port_of(fields[1]) in ports:
                    yield fields[9]


def _port_of(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _files(pid: int) -> Iterator[str]:
    """Yield what a process has open; nothing if that may not be seen."""
    with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with suppress(OSError):  # Closed meanwhile.
                yield os.readlink(entry.path)  # noqa: PTH115 - of thousands


def _ancestors() -> set[int]:
    with suppress(psutil.Error):
        return {process.pid for process in psutil.Process().parents()}
    return set()


def _by_pid(pids: Iterable[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        with suppress(psutil.Error):
            found.append(psutil.Process(pid))
    return found


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return process.children(recursive=True)
    return []


def _sizes(found: Iterable[psutil.Process]) -> Iterator[int]:
    for process in found:
        with suppress(psutil.Error):
            yield int(process.memory_info().rss)


def _cgroup_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii")
    return str(pid)
