"""The caller's limits, as they come over the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.deadline import (
    ConnectTimes,
    parse_deadline_ms,
    parse_grpc_timeout,
)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"250", 0.25),
        (b"0", 0),
        (b"-1", None),
        (b"1s", None),
        (b"", None),
        (b"1.5", None),
        (b" 1", None),
        (b"1\n", None),
        (b"9" * 11, None),
    ],
)
def test_deadlines_in_milliseconds(value: bytes, seconds: float | None) -> None:
    assert parse_deadline_ms(value) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"2S", 2),
        (b"1M", 60),
        (b"1H", 3600),
        (b"5m", 0.005),
        (b"5", None),
        (b"5s", None),
        (b"123456789S", None),
        (b"S", None),
    ],
)
def test_deadlines_of_grpc(value: bytes, seconds: float | None) -> None:
    assert parse_grpc_timeout(value) == seconds


@given(st.binary(max_size=40) | st.from_regex(rb"[0-9]{1,40}[A-Za-z]?", fullmatch=True))
def test_no_bytes_break_the_parsers(value: bytes) -> None:
    for parse in (parse_deadline_ms, parse_grpc_timeout):
        seconds = parse(value)
        assert seconds is None or 0 <= seconds < float("inf")


@given(st.lists(st.floats(0, 60), max_size=80))
def test_connecting_takes_the_median_of_late(times_s: list[float]) -> None:
    """One slow connection does not hold retries back; a slow network does."""
    times = ConnectTimes()
    assert times.p50_s == 0.0
    for n, took_s in enumerate(times_s, 1):
        times.add(took_s)
        recent_s = sorted(times_s[max(0, n - 31) : n])
        assert times.p50_s == recent_s[len(recent_s) // 2]
