"""A P2 becomes a P1: on over 5 % of a route's traffic, for a minute."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.faults.catalogue import FaultCode
from sidecar.faults.spec import Severity
from sidecar.record.escalation import Escalation

P2 = FaultCode.TIMEOUT_WRITE.spec
SLICE_S = 10.0


class Traffic:
    """Requests of one route, so many before each fault."""

    def __init__(self) -> None:
        self.requests = 0
        self.escalation = Escalation(lambda _: self.requests)

    def slice(self, number: int, requests: int, faults: int) -> Severity:
        """Let ten seconds pass; return the severity of the last fault."""
        severity = Severity.P2
        for index in range(faults):
            now_s = number * SLICE_S + index * SLICE_S / (faults + 1)
            severity = self.escalation.severity_of(P2, "all", now_s)
        self.requests += requests
        return severity


def test_after_a_minute_of_too_many_it_is_a_p1() -> None:
    traffic = Traffic()
    told = [traffic.slice(number, 100, 10) for number in range(8)]
    assert told == [Severity.P2] * 6 + [Severity.P1] * 2


def test_at_5_percent_it_stays_a_p2() -> None:
    traffic = Traffic()
    told = {traffic.slice(number, 100, 5) for number in range(20)}
    assert told == {Severity.P2}


def test_one_good_slice_begins_the_minute_anew() -> None:
    traffic = Traffic()
    for number in range(5):
        traffic.slice(number, 100, 10)
    traffic.slice(5, 100, 1)
    told = [traffic.slice(number, 100, 10) for number in range(6, 12)]
    assert told == [Severity.P2] * 6


def test_ten_seconds_without_a_fault_begin_it_anew() -> None:
    traffic = Traffic()
    for number in range(6):
        traffic.slice(number, 100, 10)
    assert traffic.slice(7, 100, 10) is Severity.P2


@given(st.sampled_from(list(FaultCode)), st.floats(0.0, 1e6))
def test_any_other_severity_is_as_the_catalogue_has_it(
    code: FaultCode, now_s: float
) -> None:
    severity = Escalation(lambda _: 0).severity_of(code.spec, "all", now_s)
    assert severity is code.spec.severity
