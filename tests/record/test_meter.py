"""What is read once a second, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.policy.overload import OverloadLimits
from sidecar.record.meter import Meter
from sidecar.record.pressure import Pressure
from tests.support.cgroups import cgroup_of
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.faults.spec import FaultSpec

STAT = "nr_periods {0}\nnr_throttled {0}\nthrottled_usec {1}\n"


class Metered:
    """A meter over a tree of files, and a clock."""

    def __init__(self, folder: Path, **files: str) -> None:
        self._folder = folder / "cgroup"
        self.clock = FakeClock()
        written = {name.replace("_", "."): text for name, text in files.items()}
        self.meter = Meter(self.clock, cgroup_of(folder, written))

    def second(self, throttled_s: float) -> float:
        """Let one pass in which there was no CPU for so long; return the share."""
        self.throttle(throttled_s)
        self.clock.advance(1.0)
        return self.meter.read().throttled_ratio

    def throttle(self, for_s: float) -> None:
        now_s = self.meter.throttling.throttled_s + for_s
        stat = STAT.format(self.meter.throttling.periods + 1, round(now_s * 1e6))
        (self._folder / "cpu.stat").write_text(stat)


def test_the_share_of_time_without_cpu_is_that_of_five_seconds(tmp_path: Path) -> None:
    metered = Metered(tmp_path, cpu_stat=STAT.format(0, 0), cpu_max="50000 100000")
    assert [metered.second(0.4) for _ in range(4)] == [0.0] * 4  # Too short to say.
    assert round(metered.second(0.4), 3) == 0.4
    assert [round(metered.second(0.0), 3) for _ in range(5)] == [
        0.32,
        0.24,
        0.16,
        0.08,
        0.0,
    ]
    assert metered.meter.usage.cpus == 0.5


def test_a_start_that_is_held_back_is_no_shortage(tmp_path: Path) -> None:
    metered = Metered(tmp_path, cpu_stat=STAT.format(0, 0), cpu_max="50000 100000")
    shares = [metered.second(0.5), *(metered.second(0.0) for _ in range(9))]
    assert max(shares) < 0.2


def test_a_quota_that_is_used_up_is_told_with_what_to_do(tmp_path: Path) -> None:
    metered = Metered(tmp_path, cpu_stat=STAT.format(0, 0), cpu_max="50000 100000")
    pressure = Pressure(OverloadLimits())
    told: list[tuple[FaultSpec, str, str]] = []
    for throttled_s in [0.3] * 7 + [0.0] * 6 + [0.3] * 7:
        metered.second(throttled_s)
        told += pressure.look(None, metered.meter.usage)
    [(spec, upstream, detail), _] = told  # Once, and again after it had eased.
    assert (spec.code, upstream) == ("316-OVERLOAD", "")
    assert "CPU limit of 0.5 cores was used up for" in detail
    assert "raise it, or take it away" in detail


def test_what_was_held_back_since_the_last_reading(tmp_path: Path) -> None:
    metered = Metered(tmp_path, cpu_stat=STAT.format(0, 0))
    metered.second(0.25)
    assert metered.meter.throttled_since_s() == 0.0
    metered.throttle(0.125)
    assert metered.meter.throttled_since_s() == 0.125


def test_what_the_kernel_holds_counts_against_the_limit(tmp_path: Path) -> None:
    limit = 1 << 40
    metered = Metered(
        tmp_path, memory_max=str(limit), memory_stat=f"kernel 0\nsock {limit // 2}\n"
    )
    usage = metered.meter.read()
    assert usage.memory_limit_bytes == limit
    assert 0.5 < usage.memory_ratio < 0.6
