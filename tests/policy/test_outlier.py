"""Which endpoint is left alone, and how it comes back."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.outlier import (
    Health,
    OutlierDetector,
    OutlierLimits,
    Reason,
    Sign,
    Standing,
)

MOMENT_S = 2**-10
BAD, GOOD, ABSENT, AWAY = Sign.BAD, Sign.GOOD, Sign.ABSENT, Sign.AWAY


class Bench:
    """Some endpoints, their detector and a clock; what moved is kept."""

    def __init__(self, count: int = 2, seed: int = 1, **limits: Any) -> None:
        self.limits = OutlierLimits(**{"jitter_ratio": 0.0, **limits})
        self.detector = OutlierDetector(self.limits, Random(seed))
        self.detector.on_move = self._moved
        self.healths = [Health(f"e{n}") for n in range(count)]
        self.now_s = 1000.0
        self.moves: list[tuple[str, Standing, Reason]] = []

    def _moved(
        self, name: str, before: Standing, after: Standing, reason: Reason, cause: str
    ) -> None:
        assert cause
        assert before is not after or reason is Reason.PROBE_FAILED
        self.moves.append((name, after, reason))

    def see(self, index: int, *signs: Sign, ago_s: float = 0.0) -> None:
        """Settle attempts, one after the other."""
        for sign in signs:
            self.now_s += MOMENT_S
            self.detector.settle(
                self.healths[index],
                sign,
                self.healths,
                self.now_s - ago_s,
                self.now_s,
                cause="it",
            )

    def probe(self, sign: Sign, *, is_safe: bool = True) -> int:
        """Let the next request probe, if it is to, and settle it."""
        index = self.detector.take_probe(self.healths, self.now_s, is_safe=is_safe)
        if index >= 0:
            self.detector.settle(
                self.healths[index],
                sign,
                self.healths,
                self.now_s,
                self.now_s,
                cause="it",
                is_probe=True,
            )
        return index

    def asked(self) -> list[int]:
        return self.detector.choose(self.healths, self.now_s)

    def standing(self, index: int) -> Standing:
        return self.healths[index].standing_at(self.now_s)

    def interval(self, *shares: tuple[int, int]) -> None:
        """Let an interval pass with so many good and bad attempts of each."""
        self.detector.tick(self.healths, self.now_s)
        for health, (good, bad) in zip(self.healths, shares, strict=True):
            health.good, health.bad = good, bad
        self.now_s += self.limits.interval_s
        self.detector.tick(self.healths, self.now_s)


def test_five_failures_in_a_row_eject() -> None:
    bench = Bench()
    bench.see(0, *[BAD] * 4)
    assert bench.asked() == [0, 1]
    bench.see(0, BAD)
    assert bench.asked() == [1]
    assert bench.standing(0) is Standing.EJECTED
    assert "5 failures in a row, the last: it" in bench.healths[0].cause
    assert bench.moves == [("e0", Standing.EJECTED, Reason.CONSECUTIVE_FAILURES)]


def test_a_success_between_starts_the_count_again() -> None:
    bench = Bench()
    bench.see(0, *[BAD] * 4, GOOD, *[BAD] * 4)
    assert bench.asked() == [0, 1]


def test_the_count_is_not_reset_by_time() -> None:
    """Envoy's is: at a low rate nothing was ever ejected (envoyproxy/envoy#40697)."""
    bench = Bench()
    for _ in range(5):
        bench.see(0, BAD)
        bench.interval((0, 0), (0, 0))
    assert bench.standing(0) is Standing.EJECTED


@pytest.mark.parametrize("sign", [Sign.NEUTRAL, AWAY])
def test_what_is_no_failure_never_ejects(sign: Sign) -> None:
    bench = Bench()
    bench.see(0, *[sign] * 100)
    assert bench.standing(0) is not Standing.EJECTED


def test_zero_looks_at_no_failures_in_a_row() -> None:
    bench = Bench(consecutive_failures=0)
    bench.see(0, *[BAD] * 100)
    assert bench.asked() == [0, 1]


def test_each_time_is_longer_up_to_a_cap() -> None:
    bench = Bench(base_ejection_s=30.0, max_ejection_s=80.0)
    bench.see(0, *[BAD] * 5)
    lengths = []
    for _ in range(4):
        lengths.append(bench.healths[0].left_s(bench.now_s))
        bench.now_s += lengths[-1]
        assert bench.probe(BAD) == 0
    assert lengths == [30.0, 60.0, 80.0, 80.0]
    reasons = [reason for *_, reason in bench.moves]
    assert reasons == [Reason.CONSECUTIVE_FAILURES, *[Reason.PROBE_FAILED] * 4]


@given(seed=st.integers(0, 999), times=st.integers(0, 99), jitter=st.floats(0, 1))
def test_a_wait_is_near_its_rule_and_never_over_its_cap(
    seed: int, times: int, jitter: float
) -> None:
    bench = Bench(seed=seed, jitter_ratio=jitter)
    bench.healths[0].times_ejected = times
    bench.see(0, *[BAD] * 5)
    wait_s, rule_s = bench.healths[0].left_s(bench.now_s), min(300, 30.0 * (times + 1))
    assert rule_s * (1 - jitter) - 1e-6 <= wait_s
    assert wait_s <= min(300, rule_s * (1 + jitter)) + 1e-6


def test_healthy_intervals_let_the_count_decay() -> None:
    """A step each; one with a failure, or out, does not."""
    bench = Bench()
    bench.healths[0].times_ejected = 2
    bench.interval((100, 1), (0, 0))
    assert bench.healths[0].times_ejected == 2
    bench.interval((100, 0), (0, 0))
    assert bench.healths[0].times_ejected == 1
    bench.see(0, *[BAD] * 5)
    bench.interval((0, 0), (0, 0))
    assert bench.healths[0].times_ejected == 2


@pytest.mark.parametrize(
    ("count", "ratio", "ejected"),
    [
        (2, None, 1), (3, None, 1), (4, None, 2), (5, None, 1), (20, None, 2),
        (2, 1.0, 1), (4, 1.0, 3), (10, 0.01, 1), (100, 0.29, 29),
    ],
)  # fmt: skip
def test_only_so_many_are_ejected(
    count: int, ratio: float | None, ejected: int
) -> None:
    bench = Bench(count, max_ejected_ratio=ratio)
    for index in range(count):
        bench.see(index, *[BAD] * 5)
    standings = [bench.standing(index) for index in range(count)]
    assert standings.count(Standing.EJECTED) == ejected


def test_who_is_absent_is_avoided_at_once_and_for_longer_each_time() -> None:
    bench = Bench(consecutive_failures=0)
    bench.see(0, ABSENT)
    lengths = []
    for _ in range(7):
        assert bench.asked() == [1]
        assert bench.standing(0) is Standing.AVOIDED
        lengths.append(bench.healths[0].left_s(bench.now_s))
        bench.now_s += lengths[-1]
        assert bench.probe(ABSENT) == 0
    assert lengths == [1, 2, 4, 8, 16, 30, 30]
    assert bench.moves == [("e0", Standing.AVOIDED, Reason.ABSENT)]


def test_who_stays_absent_is_ejected_in_the_end() -> None:
    bench = Bench()
    bench.see(0, ABSENT)
    for _ in range(4):
        bench.now_s += bench.healths[0].left_s(bench.now_s)
        bench.probe(ABSENT)
    assert bench.standing(0) is Standing.EJECTED


def test_a_burst_of_refusals_is_one_failure() -> None:
    """Tries that began before it was avoided learn nothing new."""
    bench = Bench()
    bench.see(0, *[ABSENT] * 50, ago_s=0.1)
    assert bench.healths[0].strikes == 1
    assert bench.standing(0) is Standing.AVOIDED


def test_a_draining_endpoint_is_avoided_and_never_ejected() -> None:
    bench = Bench()
    bench.see(0, AWAY)
    for _ in range(20):
        assert bench.asked() == [1]
        bench.now_s += bench.healths[0].left_s(bench.now_s)
        assert bench.probe(AWAY) == 0
    assert bench.healths[0].times_ejected == 0


@pytest.mark.parametrize("sign", [ABSENT, BAD])
def test_one_request_at_a_time_probes(sign: Sign) -> None:
    bench = Bench()
    bench.see(0, *[sign] * 5)
    bench.now_s += bench.healths[0].left_s(bench.now_s)
    take = bench.detector.take_probe
    assert take(bench.healths, bench.now_s, is_safe=True) == 0
    assert take(bench.healths, bench.now_s, is_safe=True) == -1
    assert bench.asked() == [1]
    assert bench.standing(0) is Standing.PROBING


def test_a_good_probe_brings_it_back() -> None:
    bench = Bench()
    bench.see(0, *[BAD] * 5)
    bench.now_s += 30
    assert bench.probe(GOOD) == 0
    assert bench.asked() == [0, 1]
    assert not bench.detector.is_any_out
    assert bench.moves[-1] == ("e0", Standing.HEALTHY, Reason.RETURNED)


def test_a_lost_probe_runs_out() -> None:
    bench = Bench()
    bench.see(0, ABSENT)
    bench.now_s += 1
    assert bench.detector.take_probe(bench.healths, bench.now_s, is_safe=True) == 0
    bench.now_s += 15
    assert bench.probe(GOOD) == 0


def test_a_probe_that_proves_nothing_makes_room_for_the_next() -> None:
    bench = Bench()
    bench.see(0, ABSENT)
    bench.now_s += 1
    assert bench.probe(Sign.NEUTRAL) == 0
    assert bench.probe(GOOD) == 0


def test_what_may_not_be_sent_twice_does_not_probe_who_failed_on_requests() -> None:
    """Unless nothing safe came for a second; who was absent any may probe."""
    bench = Bench()
    bench.see(0, *[BAD] * 5)
    bench.now_s += 30
    assert bench.probe(GOOD, is_safe=False) == -1
    bench.now_s += 1
    assert bench.probe(GOOD, is_safe=False) == 0
    bench.see(0, ABSENT)
    bench.now_s += 1
    assert bench.probe(GOOD, is_safe=False) == 0


def test_a_straggler_neither_returns_nor_ejects() -> None:
    bench = Bench()
    bench.see(0, *[BAD] * 5)
    bench.see(0, GOOD, ABSENT, ago_s=5)
    assert 0 < bench.healths[0].left_s(bench.now_s) < 30
    assert bench.healths[0].times_ejected == 1


def test_who_is_avoided_is_asked_when_there_is_nobody_else() -> None:
    bench = Bench()
    for index in range(2):
        bench.see(index, ABSENT)
    assert bench.asked() == [0, 1]
    assert bench.detector.is_panic(bench.healths, bench.now_s)
    bench.see(1, GOOD)
    assert bench.asked() == [1]


def test_who_is_ejected_comes_before_who_is_absent() -> None:
    """It answers, at least."""
    bench = Bench()
    bench.see(0, *[BAD] * 5)
    bench.see(1, ABSENT)
    assert bench.asked() == [0]
    bench.see(0, GOOD)
    assert bench.standing(0) is Standing.EJECTED


def test_asked_for_want_of_others_it_is_not_avoided_for_longer() -> None:
    bench = Bench()
    for sign in [ABSENT] * 100:
        bench.see(0, sign)
        bench.see(1, sign)
    assert all(0 < h.left_s(bench.now_s) < 1 for h in bench.healths)
    assert bench.moves == [(n, Standing.AVOIDED, Reason.ABSENT) for n in ("e0", "e1")]


def test_all_down_may_fail_at_once() -> None:
    bench = Bench(is_panicking=False)
    for index in range(2):
        bench.see(index, ABSENT)
    assert bench.asked() == []
    assert not bench.detector.is_panic(bench.healths, bench.now_s)
    bench.now_s += 1
    assert bench.probe(GOOD) == 0


def test_panic_asks_the_ejected_when_too_few_are_left() -> None:
    bench = Bench(4, max_ejected_ratio=1.0)
    for index in range(2):
        bench.see(index, *[BAD] * 5)
    assert bench.asked() == [2, 3]
    bench.see(2, *[BAD] * 5)
    assert sorted(bench.asked()) == [0, 1, 2, 3]
    assert bench.detector.is_panic(bench.healths, bench.now_s)


def test_absence_is_no_reason_to_panic() -> None:
    """What refuses connections would only cost a retry each time."""
    bench = Bench(5)
    for index in range(4):
        bench.see(index, ABSENT)
    assert bench.asked() == [4]


SHARES = [(200, 0)] * 5 + [(100, 100)]


def test_a_success_rate_far_below_the_others_ejects() -> None:
    bench = Bench(6)
    bench.interval(*SHARES)
    assert bench.moves == [("e5", Standing.EJECTED, Reason.SUCCESS_RATE)]
    assert "50.0%" in bench.healths[5].cause


@pytest.mark.parametrize(
    ("limits", "shares"),
    [
        ({}, SHARES[2:]),  # Four.
        ({}, [(200, 0)] * 5 + [(49, 50)]),  # 99 requests.
        ({"success_rate_stdev": 0.0}, SHARES),
        ({}, [(100, 100)] * 6),  # All alike.
    ],
)
def test_too_little_to_compare_ejects_nobody(
    limits: dict[str, Any], shares: list[tuple[int, int]]
) -> None:
    bench = Bench(len(shares), **limits)
    bench.interval(*shares)
    assert not bench.moves


def test_counts_are_of_one_interval() -> None:
    bench = Bench(6)
    bench.interval(*[(60, 0)] * 6)
    bench.interval(*[(60, 0)] * 5, (0, 60))
    assert not bench.moves


def test_by_hand_it_is_out_whatever_the_caps_say() -> None:
    bench = Bench(3)
    for health in bench.healths[:2]:
        bench.detector.hold(health, bench.now_s, bench.now_s + 60)
    assert bench.asked() == [2]
    assert not bench.detector.is_panic(bench.healths, bench.now_s)
    bench.see(0, GOOD)
    assert bench.standing(0) is Standing.EJECTED
    bench.detector.release(bench.healths[0])
    assert bench.asked() == [0, 2]
    bench.now_s += 60
    assert bench.probe(GOOD) == 1


STEPS = st.tuples(
    st.integers(0, 5), st.sampled_from([*Sign, None]), st.sampled_from([0, 0.5, 5, 40])
)


@given(
    count=st.integers(2, 6),
    steps=st.lists(STEPS, max_size=80),
    ratio=st.floats(0.01, 1),
)
def test_there_is_always_somebody_to_ask_and_the_last_is_never_ejected(
    count: int, steps: list[tuple[int, Sign | None, float]], ratio: float
) -> None:
    """Whatever happens, lost probes too; and then all come back by good answers."""
    bench = Bench(count, max_ejected_ratio=ratio, jitter_ratio=0.1)
    for index, sign, gap_s in steps:
        bench.now_s += gap_s
        bench.detector.tick(bench.healths, bench.now_s)
        probed = bench.detector.take_probe(bench.healths, bench.now_s, is_safe=True)
        if sign is not None and probed < 0:
            bench.see(index % count, sign)
        assert bench.asked()
        ejected = sum(h.was_ejected for h in bench.healths)
        assert ejected <= max(1, int(ratio * count + 1e-9))
        assert ejected < count
        assert bench.detector.is_any_out == any(h.is_out for h in bench.healths)
    bench.now_s += 400
    while bench.probe(GOOD) >= 0:
        pass
    assert bench.asked() == list(range(count))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=20))
def test_endpoints_may_come_and_go(counts: list[int]) -> None:
    """The one that was out may be gone; then nobody is out any more."""
    bench = Bench(2)
    bench.see(0, *[BAD] * 5)
    for count in counts:
        bench.healths = [Health(f"n{n}") for n in range(count)]
        assert bench.asked() == list(range(count))
        assert not bench.detector.is_any_out
