"""A tree of cgroups as the kernel shows it, in a folder of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.cgroup import Cgroup

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SECOND = "0::{}\n"  # What a process is told of its place: version 2,
FIRST = "9:cpu,cpuacct:{0}\n4:memory:{0}\n0::/\n"  # and version 1.


def cgroup_of(
    folder: Path, files: Mapping[str, str], path: str = "/", told: str = SECOND
) -> Cgroup:
    """Return the cgroup of a process at `path`, in a tree of these files."""
    root, place = folder / "cgroup", folder / "told"
    place.write_text(told.format(path))
    root.mkdir(exist_ok=True)
    if told == SECOND:
        (root / "cgroup.controllers").write_text("cpu memory\n")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Cgroup(str(root), str(place))
