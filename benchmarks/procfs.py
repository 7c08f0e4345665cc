"""CPU time and memory of a process and of all that descend from it.

Read from /proc: `stat` for the time, `status` for the memory (proc(5)).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_RESET_PEAK = "5"  # Written to clear_refs: VmHWM starts anew from VmRSS.


@dataclass(frozen=True, slots=True)
class Stat:
    """What `stat` tells about one process."""

    pid: int
    parent_pid: int
    ticks: int  # User and system, with those of children it has waited for.


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory: now, and the most there was since the start."""

    resident_bytes: int
    peak_bytes: int


def parse_stat(text: str) -> Stat:
    """Return what a `stat` line tells.

    The second field is the name in brackets, which may hold blanks and brackets
    of its own, so the rest is counted from the last closing one.
    """
    before, _, after = text.rpartition(")")
    fields = after.split()
    return Stat(
        pid=int(before.split(" ", 1)[0]),
        parent_pid=int(fields[1]),
        ticks=sum(int(field) for field in fields[11:15]),
    )


def parse_memory(text: str) -> Memory:
    """Return what the lines of a `status` file tell; a zombie has no memory."""
    kib = {"VmRSS": 0, "VmHWM": 0}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in kib:
            kib[name] = int(value.split()[0])
    return Memory(kib["VmRSS"] * 1024, kib["VmHWM"] * 1024)


def tree_of(pid: int, parents: Mapping[int, int]) -> set[int]:
    """Return `pid` and all below it, given each process's parent."""
    tree = {pid}
    while below := {p for p, parent in parents.items() if parent in tree} - tree:
        tree |= below
    return tree


def cpu_s(pid: int) -> float:
    """Return seconds of CPU that the tree of `pid` has used so far."""
    stats = {stat.pid: stat for stat in _all_stats()}
    tree = tree_of(pid, {stat.pid: stat.parent_pid for stat in stats.values()})
    return sum(stats[p].ticks for p in tree if p in stats) / _TICKS_PER_S


def memory(pid: int) -> Memory:
    """Return the memory of the tree of `pid`, shared pages counted in each."""
    parts = [_memory_of(p) for p in _tree(pid)]
    return Memory(
        sum(part.resident_bytes for part in parts),
        sum(part.peak_bytes for part in parts),
    )


def reset_peak(pid: int) -> None:
    """Let the peak of the tree of `pid` start anew from what it holds now.

    Raises:
        OSError: The kernel does not offer it, or not to us.
    """
    for member in _tree(pid):
        (_PROC / str(member) / "clear_refs").write_text(_RESET_PEAK)


def _tree(pid: int) -> set[int]:
    return tree_of(pid, {stat.pid: stat.parent_pid for stat in _all_stats()})


def _all_stats() -> Iterator[Stat]:
    for path in _PROC.glob("[0-9]*/stat"):
        try:
            yield parse_stat(path.read_text())
        except OSError:  # Ended between listing and reading.
            continue


def _memory_of(pid: int) -> Memory:
    try:
        return parse_memory((_PROC / str(pid) / "status").read_text())
    except OSError:  # Ended in the meantime.
        return Memory(0, 0)
