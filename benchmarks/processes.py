"""Children on a core of their own, which never outlive the run.

Three things see to that: the `with` block that starts a child ends it; a child
is in a process group of its own, ended as a whole; and should this process be
killed, the kernel kills the child (PR_SET_PDEATHSIG, by `setpriv`, which keeps
its process id for the command that it runs).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
OK = 200  # The HTTP status.
NEEDED_TOOLS = ("setpriv", "taskset")  # Of util-linux.
# What goes before a command to tie it to our life; nothing where it cannot be had.
BOUND = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()

_STOP_S = 1.0  # A proxy with nothing in flight has no need for more.
_PROBE_PAUSE_S = 0.002
_REASON_MAX_CHARS = 160


class StartError(Exception):
    """A child did not come up; the text is its own last word, if it said one."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process that was started here."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path  # Its standard error.

    @property
    def pid(self) -> int:
        """Its process id, and that of its process group."""
        return self.process.pid

    def last_word(self) -> str:
        """Return the last line of its log, for a person to read."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        if not lines:
            return "it said nothing"
        return lines[-1].replace(f"{self.log.parent}/", "")[:_REASON_MAX_CHARS]


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    *,
    core: int,
    folder: Path,
    env: Mapping[str, str] | None = None,
) -> Iterator[Child]:
    """Run `command` on `core` with its log in `folder`, and end it afterwards."""
    log = folder / f"{name}.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*pinned(core), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env={**os.environ, **(env or {})},
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        yield Child(name, process, log)
    finally:
        end(process)


def pinned(core: int) -> list[str]:
    """Return what goes before a command to pin it and to tie it to our life."""
    return [*BOUND, "taskset", "-c", str(core)]


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a child to end, then see to it, for all of its group."""
    with suppress(subprocess.TimeoutExpired):
        process.terminate()
        process.wait(_STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def wait_until_ok(child: Child, port: int, path: str, *, limit_s: float) -> None:
    """Return as soon as GET `path` is answered with 200.

    Raises:
        StartError: The child has ended, or `limit_s` have passed.
    """
    end_s = time.perf_counter() + limit_s
    while (status := get(port, path)[0]) != OK:
        if child.process.poll() is not None:
            msg = f"it ended with {child.process.returncode}: {child.last_word()}"
            raise StartError(msg)
        if time.perf_counter() > end_s:
            msg = f"not ready after {limit_s:g} s (status {status}): "
            raise StartError(msg + child.last_word())
        time.sleep(_PROBE_PAUSE_S)


def get(port: int, path: str) -> tuple[int, bytes]:
    """Return status and body of GET `path`; the status is 0 without an answer."""
    connection = HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, HTTPException):
        return 0, b""
    finally:
        connection.close()


def python(folder: Path, tree: Path = ROOT) -> tuple[list[str], dict[str, str]]:
    """Return how to start Python code of a tree, and its environment.

    Byte code goes to the run's folder: an installed package has its own, so a
    start that compiles every file would measure what no user sees.
    """
    env = {
        "PYTHONPATH": str(tree),
        "PYTHONPYCACHEPREFIX": str(folder / "pycache"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    return [sys.executable, "-P"], env  # Else the current folder would go first.
