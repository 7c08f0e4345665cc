"""The limits of the cgroup: of a pod, of a service, of either version."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cgroup import Cgroup, Throttling
from tests.support.cgroups import FIRST, cgroup_of

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "limit"),
    [("134217728\n", 128 * MIB), ("max\n", None), ("", None), ("nonsense\n", None)],
)
def test_in_a_pod_the_limit_is_at_the_root(
    tmp_path: Path, text: str, limit: int | None
) -> None:
    assert cgroup_of(tmp_path, {"memory.max": text}).memory_limit_bytes() == limit


def test_the_lowest_of_all_that_are_above_counts(tmp_path: Path) -> None:
    files = {
        "a/memory.max": str(300 * MIB),
        "a/b/memory.max": str(400 * MIB),
        "a/b/c/memory.max": "max",
        "other/memory.max": "1",
    }
    assert cgroup_of(tmp_path, files, "/a/b/c").memory_limit_bytes() == 300 * MIB


def test_what_is_slowed_down_from_is_a_limit_too(tmp_path: Path) -> None:
    files = {"memory.max": str(300 * MIB), "memory.high": str(200 * MIB)}
    assert cgroup_of(tmp_path, files).memory_limit_bytes() == 200 * MIB


@pytest.mark.parametrize("path", ["/../elsewhere", "/not/to/be/seen"])
def test_a_path_that_is_not_to_be_seen_is_passed_over(
    tmp_path: Path, path: str
) -> None:
    """As in a container without a cgroup namespace of its own."""
    files = {"memory.max": str(64 * MIB), "cpu.max": "50000 100000"}
    cgroup = cgroup_of(tmp_path, files, path)
    assert (cgroup.memory_limit_bytes(), cgroup.cpus()) == (64 * MIB, 0.5)


def test_a_limit_that_changes_is_seen(tmp_path: Path) -> None:
    """Since a pod may be resized while it runs."""
    cgroup = cgroup_of(tmp_path, {"memory.max": "max"})
    assert cgroup.memory_limit_bytes() is None
    (tmp_path / "cgroup" / "memory.max").write_text(str(MIB))
    assert cgroup.memory_limit_bytes() == MIB


def test_version_1_has_a_tree_for_each_controller(tmp_path: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/pod/memory.limit_in_bytes": str(128 * MIB),
        "memory/pod/memory.kmem.usage_in_bytes": str(5 * MIB),
        "cpu/cpu.cfs_quota_us": "-1\n",
        "cpu/cpu.cfs_period_us": "100000\n",
        "cpu/pod/cpu.cfs_quota_us": "150000\n",
        "cpu/pod/cpu.cfs_period_us": "100000\n",
        "cpu/pod/cpu.stat": "nr_periods 7\nnr_throttled 3\nthrottled_time 2500000000\n",
    }
    cgroup = cgroup_of(tmp_path, files, "/pod", FIRST)
    assert cgroup.memory_limit_bytes() == 128 * MIB
    assert cgroup.kernel_bytes() == 5 * MIB
    assert cgroup.cpus() == 1.5
    assert cgroup.throttling() == Throttling(7, 3, 2.5)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("max 100000", None), ("25000 100000", 0.25), ("400000 100000", 4.0), ("", None)],
)
def test_the_quota_of_cpu(tmp_path: Path, text: str, cpus: float | None) -> None:
    files = {"cpu.max": "max 100000", "a/cpu.max": text}
    assert cgroup_of(tmp_path, files, "/a").cpus() == cpus


def test_the_quota_that_was_used_up_most_is_told(tmp_path: Path) -> None:
    files = {
        "a/cpu.stat": "nr_periods 9\nnr_throttled 4\nthrottled_usec 1500000\n",
        "a/b/cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 0\n",
    }
    assert cgroup_of(tmp_path, files, "/a/b").throttling() == Throttling(9, 4, 1.5)


@pytest.mark.parametrize(
    ("stat", "held"),
    [
        ("anon 99\nkernel 5000\nsock 300\nslab 4000\n", 5300),
        ("anon 99\nkernel_stack 10\npagetables 20\nslab 400\nsock 3\n", 433),
        ("", 0),
    ],
)
def test_sockets_count_as_memory(tmp_path: Path, stat: str, held: int) -> None:
    assert cgroup_of(tmp_path, {"memory.stat": stat}).kernel_bytes() == held


def test_where_there_are_no_cgroups_there_are_no_limits(tmp_path: Path) -> None:
    cgroup = Cgroup(str(tmp_path / "none"), str(tmp_path / "none"))
    assert cgroup.memory_limit_bytes() is None
    assert cgroup.cpus() is None
    assert cgroup.kernel_bytes() == 0
    assert cgroup.throttling() == Throttling()


@given(st.lists(st.none() | st.integers(1, 2**40), max_size=5))
def test_no_limit_above_is_overlooked(limits: list[int | None]) -> None:
    files, path = {}, ""
    for limit in limits:
        path += "/a"
        files[f"{path[1:]}/memory.max"] = "max" if limit is None else str(limit)
    with TemporaryDirectory() as folder:
        found = cgroup_of(Path(folder), files, path or "/").memory_limit_bytes()
    assert found == min((each for each in limits if each is not None), default=None)


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_the_files_hold_nothing_fails(told: str, held: str) -> None:
    names = ("memory.max", "memory.stat", "cpu.max", "cpu.stat")
    with TemporaryDirectory() as folder:
        root, place = Path(folder, "root"), Path(folder, "told")
        root.mkdir()
        for name in (*names, "cgroup.controllers"):
            (root / name).write_text(held, encoding="utf-8", errors="replace")
        place.write_text(told, encoding="utf-8", errors="replace")
        cgroup = Cgroup(str(root), str(place))
        assert (cgroup.memory_limit_bytes() or 0) >= 0
        assert (cgroup.cpus() or 0) >= 0
        assert cgroup.kernel_bytes() >= 0
        assert cgroup.throttling().throttled_s >= 0
