"""What the cgroup of this process allows, and what it has taken of that.

    /proc/self/cgroup   0::/a/b        version 2: one tree for everything
                        4:memory:/a/b  version 1: a tree for each controller

    /sys/fs/cgroup  ->  a  ->  a/b     each of them may set a limit: the lowest counts

In a pod the path is "/" and the container's own limits are at the root. Without a
namespace of its own a container may be told a path that it does not see: what is
not there is passed over. Read anew each time, since a limit may change meanwhile.

Source:
    Linux, "Control Group v2" (memory.max, memory.high, memory.stat, cpu.max,
    cpu.stat); "CGroup v1 Memory Controller"; "CFS Bandwidth Control".
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNLIMITED_BYTES = 2**60  # Version 1 says "none" with a number near 2**63.
_MOST_BYTES = 65_536  # A file of the kernel comes whole.
_US_PER_S = 1e6
_NS_PER_S = 1e9
_MEMORY_LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")
_KMEM = "memory.kmem.usage_in_bytes"
_KERNEL = ("slab", "kernel_stack", "pagetables")  # "kernel" since Linux 5.18.
_CFS_QUOTA = "cpu.cfs_quota_us"
_CFS_PERIOD = "cpu.cfs_period_us"


@dataclass(frozen=True, slots=True)
class Throttling:
    """How often a quota of CPU was used up, since the cgroup was made."""

    periods: int = 0  # In which something ran.
    throttled_periods: int = 0
    throttled_s: float = 0.0


class Cgroup:
    """The one that a process is in, with those above it.

    Args:
        root: Where the trees are mounted.
        told: The file in which the kernel tells the place in them.
    """

    def __init__(
        self, root: str = "/sys/fs/cgroup", told: str = "/proc/self/cgroup"
    ) -> None:
        paths = _paths(_read(told))
        memory = _folders(Path(root), paths, "memory")
        cpu = _folders(Path(root), paths, "cpu")
        self._limits = _found(memory, *_MEMORY_LIMITS)
        self._kernel = _found(memory[:1], _KMEM, "memory.stat")[:1]
        self._quotas = _found(cpu, "cpu.max") or [
            f"{folder}/{_CFS_QUOTA}" for folder in cpu if (folder / _CFS_QUOTA).exists()
        ]
        self._stats = _found(cpu, "cpu.stat")

    def memory_limit_bytes(self) -> int | None:
        """Return the lowest limit; None when there is none.

        One that is only "high" counts, too: beyond it the kernel holds every
        allocation up until it has taken something back, of which there is nothing.
        """
        limits = [_number(_read(file)) for file in self._limits]
        return min(
            (each for each in limits if each is not None and each < _UNLIMITED_BYTES),
            default=None,
        )

    def kernel_bytes(self) -> int:
        """Return what the kernel holds for this cgroup, sockets above all.

        It counts as memory of the cgroup, and is in no figure of the process.
        """
        for file in self._kernel:
            text = _read(file)
            if file.endswith(_KMEM):
                return _number(text) or 0
            stat = _pairs(text)
            kernel = stat.get("kernel", sum(stat.get(name, 0) for name in _KERNEL))
            return kernel + stat.get("sock", 0)
        return 0

    def cpus(self) -> float | None:
        """Return how many cores may be used at the same time; None: all there are."""
        found = (_cpus(file) for file in self._quotas)
        return min((cpus for cpus in found if cpus is not None), default=None)

    def throttling(self) -> Throttling:
        """Return what the quota that was used up most has cost so far."""
        found = (_throttling(_pairs(_read(file))) for file in self._stats)
        return max(found, key=lambda each: each.throttled_s, default=Throttling())


def _found(folders: list[Path], *names: str) -> list[str]:
    """Return those of these files that are there."""
    files = (folder / name for folder in folders for name in names)
    return [str(file) for file in files if file.exists()]


def _paths(text: str) -> dict[str, str]:
    """Return the place in each tree, by controller; "" is version 2."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def _folders(base: Path, paths: dict[str, str], controller: str) -> list[Path]:
    """Return the folders whose limits count, one's own first."""
    if controller in paths or not (base / "cgroup.controllers").exists():
        root, path = base / controller, paths.get(controller, "/")
    else:
        root, path = base, paths.get("", "/")
    below = list(_steps(root, path))
    return [*reversed(below), root]


def _steps(root: Path, path: str) -> Iterator[Path]:
    folder = root
    for name in path.split("/"):
        folder /= name
        if name == ".." or not folder.is_dir():
            return  # Outside of what is seen here.
        if name:
            yield folder


def _cpus(file: str) -> float | None:
    text = _read(file)
    if file.endswith(_CFS_QUOTA):
        text += _read(file.removesuffix(_CFS_QUOTA) + _CFS_PERIOD)
    words = text.split()
    if len(words) != 2:  # noqa: PLR2004 - quota and period
        return None
    quota_us, period_us = (_number(word) for word in words)
    return quota_us / period_us if quota_us and period_us else None


def _throttling(stat: dict[str, int]) -> Throttling:
    throttled_s = stat.get("throttled_usec", 0) / _US_PER_S
    return Throttling(
        stat.get("nr_periods", 0),
        stat.get("nr_throttled", 0),
        throttled_s or stat.get("throttled_time", 0) / _NS_PER_S,
    )


def _pairs(text: str) -> dict[str, int]:
    """Return the numbers of a file of lines "name number"."""
    pairs: dict[str, int] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if (number := _number(value)) is not None:
            pairs[name] = number
    return pairs


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _read(file: str) -> str:
    """Return what is in a file; nothing if it is gone, or not for us to see.

    No more than is needed is done for it: this holds up the event loop.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, _MOST_BYTES).decode("ascii", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
