"""When an upstream that takes connections and answers nothing is told of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.faults.catalogue import FaultCode
from sidecar.model import Phase
from sidecar.record.silence import SilenceWatch
from tests.support.outcomes import attempt

if TYPE_CHECKING:
    from sidecar.model import Attempt

TIMEOUT_S = 5.0


def unanswered(start_s: float, duration_s: float = TIMEOUT_S, **fields: Any) -> Attempt:
    given: dict[str, Any] = {
        "start_s": start_s,
        "duration_s": duration_s,
        "status": 0,
        "fault": FaultCode.TIMEOUT_ERR.spec,
        "phase": Phase.WAIT,
    }
    return attempt(**(given | fields))


def looks(watch: SilenceWatch, *attempts: Attempt) -> list[str | None]:
    """Tell of one request an attempt."""
    return [watch.look("app", (one,), TIMEOUT_S) for one in attempts]


def test_three_in_vain_over_longer_than_the_timeout_are_told() -> None:
    told = looks(SilenceWatch(), *(unanswered(start) for start in (0.0, 4.0, 8.0)))
    assert told[:2] == [None, None]
    assert told[2] is not None
    assert "8.0 s" in told[2]
    assert "3 attempts" in told[2]


def test_a_silence_is_told_once() -> None:
    told = looks(
        SilenceWatch(), *(unanswered(float(start)) for start in range(0, 60, 6))
    )
    assert sum(one is not None for one in told) == 1


def test_what_the_check_has_told_the_traffic_does_not_tell_again() -> None:
    watch = SilenceWatch()
    assert watch.check_waited(["app", "other"], 0.0, 1)
    assert not watch.check_waited(["app", "other"], 1.0, 1)
    told = looks(watch, *(unanswered(start) for start in (0.0, 4.0, 8.0)))
    assert told == [None] * 3
    watch.check_answered(["other"])
    assert "other" not in watch.silences


def test_what_the_traffic_has_told_the_check_does_not_tell_again() -> None:
    """Nor ends it: what answers a check may be a thread that no request gets."""
    watch = SilenceWatch()
    looks(watch, *(unanswered(start) for start in (0.0, 4.0, 8.0)))
    assert not watch.check_waited(["app", "other"], 9.0, 1)
    watch.check_answered(["app"])
    assert watch.silences["app"].unanswered == 3


def test_what_answers_requests_is_not_silent_for_the_check() -> None:
    """It begins anew: so many checks in a row, and no answer in between."""
    watch = SilenceWatch()
    assert not watch.check_waited(["app"], 0.0, 3)
    assert not watch.check_waited(["app"], 5.0, 3)
    watch.answered("app")
    told = [watch.check_waited(["app"], 10.0 + n, 3) for n in range(4)]
    assert told == [False, False, True, False]


def test_not_longer_than_the_timeout_is_not_told() -> None:
    """Many at once that all end together are one slow moment."""
    watch = SilenceWatch()
    assert looks(watch, *(unanswered(0.0) for _ in range(50))) == [None] * 50


def test_short_limits_alone_do_not_make_a_silence() -> None:
    """Tries of 100 ms each: the route's own time counts."""
    watch = SilenceWatch()
    tries = [
        unanswered(n / 10, 0.1, fault=FaultCode.TIMEOUT_TRY.spec) for n in range(20)
    ]
    assert watch.look("app", tuple(tries), TIMEOUT_S) is None


@pytest.mark.parametrize(
    "between",
    [
        attempt(status=200),
        attempt(status=503, fault=FaultCode.UPSTREAM_5XX.spec),
        attempt(status=0, fault=FaultCode.CONN_RESET.spec, phase=Phase.WAIT),
        attempt(status=0, fault=FaultCode.CONN_REFUSED.spec, phase=Phase.CONNECT),
    ],
    ids=["answer", "error", "reset", "refused"],
)
def test_any_sign_of_life_or_death_ends_it(between: Attempt) -> None:
    watch = SilenceWatch()
    told = looks(watch, unanswered(0.0), unanswered(4.0), between, unanswered(8.0))
    assert told == [None] * 4


@pytest.mark.parametrize(
    "between",
    [
        attempt(status=0, fault=FaultCode.CIRCUIT_OPEN.spec, phase=Phase.QUEUE),
        attempt(status=0, fault=FaultCode.CLIENT_ABORT.spec, phase=Phase.WAIT),
    ],
    ids=["never sent", "client left"],
)
def test_what_says_nothing_of_the_application_changes_nothing(between: Attempt) -> None:
    told = looks(
        SilenceWatch(), unanswered(0.0), unanswered(4.0), between, unanswered(8.0)
    )
    assert told[-1] is not None


def test_a_success_ends_it_and_the_next_one_is_told_again() -> None:
    watch = SilenceWatch()
    assert looks(watch, *(unanswered(s) for s in (0.0, 4.0, 8.0)))[-1] is not None
    watch.answered("app")
    assert not watch.silences
    assert looks(watch, *(unanswered(s) for s in (20.0, 24.0, 28.0)))[-1] is not None


def test_each_upstream_has_its_own() -> None:
    watch = SilenceWatch()
    looks(watch, unanswered(0.0), unanswered(4.0))
    assert watch.look("other", (unanswered(8.0),), TIMEOUT_S) is None


@given(
    st.lists(st.sampled_from(["silent", "answer"]), max_size=40),
    st.floats(min_value=0.1, max_value=20.0),
)
def test_never_told_unless_the_last_three_were_in_vain(
    story: list[str], every_s: float
) -> None:
    watch = SilenceWatch()
    for number, what in enumerate(story):
        one = unanswered(number * every_s) if what == "silent" else attempt()
        if watch.look("app", (one,), TIMEOUT_S) is not None:
            assert story[number - 2 : number + 1] == ["silent"] * 3
