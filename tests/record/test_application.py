"""What is kept of the checks of the application."""

from __future__ import annotations

import jsonschema  # type: ignore[import-untyped]  # It ships no types.

from sidecar.admin.schemas import SCHEMAS, ref
from sidecar.policy.health import HealthLimits, HealthState, HealthTracker, Sign
from sidecar.record.application import ApplicationRecord, Checked, HookRun


def unhealthy_since(now_s: float, liveness_after_s: float) -> ApplicationRecord:
    record = ApplicationRecord()
    tracker = HealthTracker(HealthLimits(1, 1, 0.0), 0.0, HealthState.HEALTHY)
    tracker.observe(Sign.FAILED, now_s)
    record.begin("GET http://127.0.0.1:1/", tracker, liveness_after_s)
    return record


def test_a_restart_is_wanted_only_after_a_while() -> None:
    record = unhealthy_since(100.0, liveness_after_s=30.0)
    assert not record.wants_restart(129.9)
    assert record.wants_restart(130.0)
    assert record.tracker is not None
    record.tracker.observe(Sign.ABSENT, 131.0)  # It is being restarted.
    assert not record.wants_restart(132.0)
    assert record.wants_restart(161.0)
    record.tracker.observe(Sign.PASSED, 162.0)
    assert not record.wants_restart(999.0)


def test_nobody_restarts_what_is_not_checked() -> None:
    assert not ApplicationRecord().wants_restart(1e9)


def test_what_is_told_is_as_the_schema_says_and_the_newest_is_first() -> None:
    record = unhealthy_since(1.0, 0.0)
    for number in range(30):
        record.checked(Checked(number, Sign.FAILED, str(number), 0.001))
    record.helped(HookRun(0, "failed", "ended with 1"))
    told = record.as_record(2.0)
    components = {"components": {"schemas": SCHEMAS}}
    jsonschema.validate(told, ref("Application") | components)
    assert [check["reason"] for check in told["checks"][:2]] == ["29", "28"]
    assert len(told["checks"]) == 20
    assert record.results == {("failed",): 30}
    off = ApplicationRecord().as_record(0.0)
    jsonschema.validate(off, ref("Application") | components)
    assert off["state"] == "off"
