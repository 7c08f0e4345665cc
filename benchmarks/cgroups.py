"""A cgroup for one child, where this machine lets us make one.

Beside it the kernel tells what it holds for that child (sockets above all), and a
limit is enforced as in a pod. Version 1 takes a child below our own cgroup. Version
2 has processes only in leaves, so it takes one beside ours, or beside one above.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000

_PREFIX = "sidecar-measured-"
_GONE_TRIES = 50
_GONE_PAUSE_S = 0.02  # The kernel takes a moment to let go of one that has ended.


class NoCgroupError(Exception):
    """None can be made here; says why."""


@dataclass(frozen=True, slots=True)
class Own:
    """Folders that were made: whoever is in them has the limits that were asked for."""

    folders: tuple[Path, ...]

    @property
    def prefix(self) -> list[str]:
        """Return what goes before a command to start it in there."""
        enter = "".join(f"echo $$ > '{each}/cgroup.procs' && " for each in self.folders)
        return ["sh", "-c", f'{enter}exec "$@"', "sh"]

    def read(self, name: str) -> str:
        """Return what is in the file of this name, in the first folder that has it."""
        found = [each / name for each in self.folders if (each / name).exists()]
        return found[0].read_text(encoding="ascii") if found else ""


@contextmanager
def own_cgroup(*, memory_bytes: int = 0, cpus: float = 0.0) -> Iterator[Own]:
    """Make one with these limits (0: none), and remove it afterwards.

    What was started in it has to have ended by then.

    Raises:
        NoCgroupError: It cannot be made.
    """
    with ExitStack() as stack:
        try:
            folders = [
                _made(controller, settings, stack)
                for controller, settings in _settings(memory_bytes, cpus).items()
            ]
        except OSError as error:
            msg = f"no cgroup can be made here: {error.strerror}: {error.filename}"
            raise NoCgroupError(msg) from error
        yield Own(tuple(dict.fromkeys(folders)))


def _settings(memory_bytes: int, cpus: float) -> dict[str, dict[str, str]]:
    """Return by controller what is written into which file, of either version."""
    quota_us = int(cpus * PERIOD_US)
    memory = {"memory.max": str(memory_bytes), "memory.swap.max": "0"}
    memory["memory.limit_in_bytes"] = str(memory_bytes)
    cpu = {"cpu.max": f"{quota_us} {PERIOD_US}", "cpu.cfs_quota_us": str(quota_us)}
    cpu |= {"cpu.weight": "10000", "cpu.shares": "102400"}  # It gets it: others wait.
    return {"memory": memory if memory_bytes else {}} | ({"cpu": cpu} if cpus else {})


def _made(controller: str, settings: Mapping[str, str], stack: ExitStack) -> Path:
    parent = _parent(controller)
    _remove_left_behind(parent)
    folder = parent / f"{_PREFIX}{os.getpid()}"
    if not folder.exists():
        folder.mkdir()
        stack.callback(_removed, folder)
    for name, text in settings.items():
        if (folder / name).exists():
            (folder / name).write_text(text, encoding="ascii")
    return folder


def _parent(controller: str) -> Path:
    """Return below which folder one with this controller can be made."""
    version_1, version_2 = _places()
    if controller in version_1:
        return ROOT / controller / version_1[controller].strip("/")
    own = ROOT / version_2.strip("/")
    for folder in (own, *own.parents):
        enabled = folder / "cgroup.subtree_control"
        if enabled.exists() and controller in enabled.read_text().split():
            return folder
    msg = f"no cgroup hands on the controller {controller!r}"
    raise NoCgroupError(msg)


def _places() -> tuple[dict[str, str], str]:
    """Return our place by controller (version 1), and in the one tree of version 2."""
    version_1: dict[str, str] = {}
    version_2 = "/"
    for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            version_2 = path
        version_1.update(dict.fromkeys(filter(None, controllers.split(",")), path))
    return version_1, version_2


def _remove_left_behind(parent: Path) -> None:
    """Remove what was made by a process that was killed, as long as nobody is in it."""
    for folder in parent.glob(f"{_PREFIX}*"):
        if not Path("/proc", folder.name.removeprefix(_PREFIX)).exists():
            with suppress(OSError):
                folder.rmdir()


def _removed(folder: Path) -> None:
    for _ in range(_GONE_TRIES):
        with suppress(OSError):
            folder.rmdir()
            return
        time.sleep(_GONE_PAUSE_S)
