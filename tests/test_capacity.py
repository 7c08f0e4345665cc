"""A configuration is bounded by what there is memory and CPU for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import capacity
from tests.support.outcomes import snapshot

MIB = 1 << 20
PLAIN = snapshot()


def test_without_a_limit_everything_is_as_the_file_has_it() -> None:
    assert capacity.fitted(PLAIN, None) is PLAIN
    assert capacity.shortages(PLAIN, None) == []


def test_with_much_memory_only_requests_are_bounded() -> None:
    fitted = capacity.fitted(PLAIN, 4096 * MIB)
    assert fitted.limits == PLAIN.limits
    assert PLAIN.overload.in_flight is None
    assert (fitted.overload.in_flight or 0) > 10_000
    assert capacity.shortages(PLAIN, 4096 * MIB) == []


def test_clients_fit_into_the_memory_and_it_is_told() -> None:
    most = capacity.fitted(PLAIN, 128 * MIB).limits.connections
    assert 100 < most < PLAIN.limits.connections
    (told,) = capacity.shortages(PLAIN, 128 * MIB)
    assert f"limits.connections is {PLAIN.limits.connections}" in told
    assert f"the memory limit is 128 MiB: serving {most} clients at most" in told


def test_less_memory_than_it_needs_is_told_with_how_much_that_is() -> None:
    first, _ = capacity.shortages(PLAIN, 64 * MIB)
    assert first.startswith("the memory limit is 64 MiB")
    words = first.split()
    enough = int(words[words.index("to") + 1])
    assert len(capacity.shortages(PLAIN, enough * MIB)) == 1
    assert len(capacity.shortages(PLAIN, (enough - 1) * MIB)) == 2


def test_what_the_file_says_of_requests_holds() -> None:
    said = replace(PLAIN, overload=replace(PLAIN.overload, in_flight=77))
    assert capacity.fitted(said, 128 * MIB).overload.in_flight == 77


@given(
    st.integers(1, 1 << 36),
    st.integers(1, 100_000),
    st.integers(1024, 1 << 24),
    st.floats(0.01, 1.0),
)
def test_buffers_of_all_requests_fit_into_their_share(
    memory_bytes: int, connections: int, buffer_bytes: int, ratio: float
) -> None:
    given_ = replace(
        PLAIN,
        limits=replace(
            PLAIN.limits, connections=connections, buffer_bytes=buffer_bytes
        ),
        overload=replace(PLAIN.overload, memory_ratio=ratio),
    )
    fitted = capacity.fitted(given_, memory_bytes)
    most, in_flight = fitted.limits.connections, fitted.overload.in_flight
    assert in_flight is not None
    assert min(64, connections) <= most <= connections
    assert in_flight >= 64
    share_bytes = memory_bytes * ratio
    assert in_flight == 64 or in_flight * buffer_bytes <= share_bytes
    assert most <= 64 or most * capacity.CONNECTION_BYTES <= share_bytes
    told = capacity.shortages(given_, memory_bytes)
    assert any("serving" in each for each in told) is (most < connections)


@pytest.mark.parametrize(
    ("cpus", "cores", "threads"),
    [(None, 2, 6), (None, 64, 32), (0.5, 64, 5), (2.5, 64, 7), (8.0, 2, 6)],
)
def test_threads_are_for_the_quota_not_for_the_machine(
    cpus: float | None, cores: int, threads: int
) -> None:
    assert capacity.threads(cpus, cores) == threads
