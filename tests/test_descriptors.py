"""How many clients fit into the files that a process may have open."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from sidecar import descriptors
from sidecar.settings.load import load_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.settings.snapshot import Snapshot


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def allow(files: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


def settings(connections: int, max_connections: int) -> Snapshot:
    pool = {"max_connections": max_connections}
    top = {
        "limits": {"connections": connections},
        "upstreams": {"app": {"endpoints": ["127.0.0.1:80"], "pool": pool}},
        "routes": [{"name": "all", "upstream": "app"}],
    }
    return load_text(yaml.safe_dump(top)).snapshot


@pytest.mark.parametrize(
    ("files", "connections", "max_connections", "most"),
    [
        (4096, 1000, 1000, 1000),
        (2048, 5000, 100, 2048 - 64 - 64 - 100),
        (1024, 5000, 5000, (1024 - 64 - 64) // 2),
        (100, 5000, 5000, 12),
        (40, 5000, 5000, 8),
        (40, 3, 5000, 3),
    ],
)
def test_as_many_are_served_as_leave_room_for_upstreams(
    files: int, connections: int, max_connections: int, most: int
) -> None:
    allow(files)
    snapshot = settings(connections, max_connections)
    assert descriptors.most_clients(snapshot) == most
    told = descriptors.shortage(snapshot)
    assert bool(told) is (most < connections)
    assert f"serving {most} clients" in told or not told


def test_the_limit_is_raised_to_what_the_system_grants() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow(64)
    assert descriptors.raise_limit() == hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def count() -> int:
    """Return how many are in use, that of this look included."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("folder", ["/proc/self/fd", "/no/such/folder"])
def test_what_is_in_use_is_never_told_too_high(folder: str) -> None:
    before = descriptors.used(folder)
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
    assert before < descriptors.used(folder) <= count()
    allow(max(opened) + 1)
    assert descriptors.used(folder) > before
    for fd in opened:
        os.close(fd)
