"""The window against a list of everything that was ever counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.window import BUCKETS, Window

# Eighths of a second are exact in binary, so both sides round alike.
GAPS_S = st.integers(0, 200).map(lambda eighths: eighths / 8)


@given(st.lists(GAPS_S, max_size=80))
def test_the_window_is_what_the_last_buckets_counted(gaps_s: list[float]) -> None:
    window = Window(10.0, (0,))
    now_s, base = 500.0, 0
    counted_s: list[float] = []
    for total, gap_s in enumerate(gaps_s):
        now_s += gap_s
        if now_s >= window.next_turn_s:
            (base,) = window.turn(now_s, (total,))
        counted_s.append(now_s)
        oldest = int(now_s) - BUCKETS + 1
        assert total + 1 - base == sum(int(at_s) >= oldest for at_s in counted_s)


@given(st.lists(GAPS_S, min_size=1, max_size=40), st.integers(0, 39))
def test_a_restart_forgets_all_that_came_before(gaps_s: list[float], at: int) -> None:
    window = Window(10.0, (0,))
    now_s, restarted_at, base = 500.0, 0, 0
    for total, gap_s in enumerate(gaps_s):
        now_s += gap_s
        if total == at:
            window.restart((total,))
            base = restarted_at = total
        if now_s >= window.next_turn_s:
            (base,) = window.turn(now_s, (total,))
        assert base >= restarted_at


@given(
    window_s=st.floats(0.001, 3600), start_s=st.floats(0, 1e9), steps=st.integers(1, 99)
)
def test_time_that_stands_still_changes_nothing(
    window_s: float, start_s: float, steps: int
) -> None:
    window = Window(window_s, (0,))
    first = window.turn(start_s, (steps,))
    assert first == (0,) or start_s >= window_s / BUCKETS
    assert window.turn(start_s, (2 * steps,)) == first
