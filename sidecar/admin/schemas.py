"""What the admin API returns, as JSON Schema: names and types of the fault feed.

Further members may come: who reads them ignores what it does not know.
"""

from __future__ import annotations

from typing import Any, Final

from sidecar.faults.spec import Layer, Severity, Trigger
from sidecar.model import Origin, Phase, Processed
from sidecar.policy.breaker import State as BreakerState
from sidecar.policy.health import HealthState, Sign
from sidecar.record.feed.group import State, Trend
from sidecar.record.traffic import KEPT

_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_NUMBER: Final = {"type": "number"}
_FLAG: Final = {"type": "boolean"}
_TIME: Final = {"type": "string", "format": "date-time"}
_CODE: Final = {"type": "string", "pattern": "^316(-[A-Z0-9]+)+$"}
_BREAKERS: Final = [state.value for state in BreakerState]
_SEVERITY: Final = {"enum": [severity.name for severity in Severity]}


def ref(name: str) -> dict[str, Any]:
    """Return what stands for a schema elsewhere in the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _words(enum: Any) -> dict[str, Any]:
    return {"enum": [member.value for member in enum]}


def _object(required: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": required | optional,
        "required": sorted(required),
    }


_ATTEMPT = _object(
    {
        "n": {"type": "integer", "minimum": 1},
        "endpoint": _TEXT,
        "code": _TEXT,
        "status": _COUNT,
        "phase": _words(Phase),
        "processed": _words(Processed),
        "at_ms": _NUMBER,
        "ms": _NUMBER,
        "reused": _FLAG,
    },
    {"connection_age_ms": _NUMBER, "connection_served": _COUNT},
)
_EVENT = _object(
    {
        "seq": {"type": "integer", "minimum": 1},
        "time": _TIME,
        "kind": _TEXT,
        "subject": _TEXT,
        "upstream": _TEXT,
        "detail": _TEXT,
    },
    {
        "from": _TEXT,
        "to": _TEXT,
        "state": _TEXT,  # These are of alerts.
        "severity": _SEVERITY,
        "group": _TEXT,
        "receivers": {"type": "array", "items": _TEXT},
        "notices": _COUNT,
    },
)
_FAULT = _object(
    {
        "event": {"const": "316_FAULT"},
        "fault_id": _TEXT,
        "time": _TIME,
        "code": _CODE,
        "title": _TEXT,
        "severity": _SEVERITY,
        "layer": _words(Layer),
        "trigger": _words(Trigger),
        "fix": _TEXT,
        "detail": _TEXT,
        "origin": _words(Origin),
        "phase": _words(Phase),
        "processed": _words(Processed),
        "listener": _TEXT,
        "route": _TEXT,
        "upstream": _TEXT,
        "endpoint": _TEXT,
        "group": _TEXT,
        "method": _TEXT,
        "path_template": _TEXT,
        "status": _COUNT,
        "duration_ms": _NUMBER,
        "attempts": {"type": "array", "items": ref("Attempt")},
        "retry_skipped_reason": _TEXT,
        "timeout_kind": _TEXT,
        "trace_id": _TEXT,
        "span_id": _TEXT,
        "request_id": _TEXT,
        "service": _TEXT,
        "host": _TEXT,
        "pid": _COUNT,
        "config_version": _TEXT,
        "loop_lag_ms": _NUMBER,
        "rss_bytes": _COUNT,
        "in_flight": _COUNT,
        "process": {"type": "object"},
    },
    {
        "route_in_flight": _COUNT,
        "breaker_state": _TEXT,
        "pool": {"type": "object"},
        "headers": {"type": "object"},
        "stack": {"type": "array", "items": _TEXT},
        "events": {"type": "array", "items": ref("Event")},
        "build": {"type": "object"},
        "repeat": {"type": ["string", "null"]},
    },
)
_CHECKED = _object(
    {"time": _TIME, "result": _words(Sign), "reason": _TEXT, "ms": _NUMBER}, {}
)
_HOOK_RUN = _object(
    {
        "time": _TIME,
        "result": {"enum": ["succeeded", "failed", "skipped"]},
        "detail": _TEXT,
    },
    {},
)
_APPLICATION = _object(
    {
        "state": {"enum": ["off", *(state.value for state in HealthState)]},
        "check": _TEXT,
        "since_s": _NUMBER,
        "failures_in_a_row": _COUNT,
        "wants_restart": _FLAG,
        "memory_bytes": {"type": ["integer", "null"]},
        "memory_problem": _TEXT,
        "checks": {"type": "array", "items": ref("Checked")},
        "hooks": {"type": "array", "items": ref("HookRun")},
    },
    {},
)
_GROUP = _object(
    {
        "id": _TEXT,
        "code": _CODE,
        "title": _TEXT,
        "fix": _TEXT,
        "severity": _SEVERITY,
        "layer": _words(Layer),
        "route": _TEXT,
        "upstream": _TEXT,
        "endpoint": _TEXT,
        "phase": _words(Phase),
        "cause": _TEXT,
        "state": _words(State),
        "first_seen": _TIME,
        "last_seen": _TIME,
        "count": {"type": "integer", "minimum": 1},
        "last_minute": _COUNT,
        "rate_per_s": _NUMBER,
        "trend": _words(Trend),
        "share_of_traffic": {"type": "number", "minimum": 0, "maximum": 1},
        "recovery_s": {"type": ["number", "null"]},
        "earlier_recoveries_s": {"type": "array", "items": _NUMBER},
        "regressions": _COUNT,
        "examples": {"type": "array", "items": _TEXT},
    },
    {"records": {"type": "array", "items": ref("Fault")}},
)

_MAYBE: Final = {"type": ["number", "null"]}
_QUANTILES: Final = {"p50_s": _MAYBE, "p95_s": _MAYBE, "p99_s": _MAYBE}
_NOW: Final = {"in_flight": _COUNT, "breaker": {"enum": [*_BREAKERS, "off"]}}
_TRAFFIC = _object(
    {
        "route": _TEXT,
        "listener": _TEXT,
        "upstream": _TEXT,
        "requests_per_s": _NUMBER,
        "success_ratio": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        **_QUANTILES,
        **_NOW,
    },
    {},
)
_FIGURES: Final = {"requests": _COUNT, "failures": _COUNT, **_QUANTILES}
_INTERVAL = _object(
    {
        "time": _TIME,
        "interval_s": _NUMBER,
        "total": _object(_FIGURES, {}),
        "routes": {
            "type": "array",
            "items": _object({"route": _TEXT, **_FIGURES, **_NOW}, {}),
        },
    },
    {},
)
_COLUMNS: Final = {
    name: {"type": "array", "items": kind, "maxItems": KEPT}
    for name, kind in _FIGURES.items()
}
_HISTORY = _object(
    {
        "interval_s": _NUMBER,
        "end": _TIME,
        "total": _object(_COLUMNS, {}),
        "routes": {"type": "array", "items": _object({"route": _TEXT, **_COLUMNS}, {})},
    },
    {},
)
_TEXTS: Final = {"type": "array", "items": _TEXT, "maxItems": 100}
_SELECTION: Final = {
    "codes": {"type": "array", "items": _CODE, "maxItems": 100},
    "families": _TEXTS,
    "severities": {"type": "array", "items": _SEVERITY, "maxItems": 4},
    "routes": _TEXTS,
    "upstreams": _TEXTS,
}
_ALERTS = _object(
    {
        "firing": {"type": "array", "items": {"type": "object"}},
        "receivers": {"type": "array", "items": {"type": "object"}},
        "silences": {"type": "array", "items": ref("Silence")},
        "notices": {"type": "array", "items": {"type": "object"}},
    },
    {},
)

SCHEMAS: Final[dict[str, Any]] = {
    "Application": _APPLICATION,
    "Alerts": _ALERTS,
    "Attempt": _ATTEMPT,
    "Checked": _CHECKED,
    "Error": _object({"error": _TEXT}, {}),
    "Event": _EVENT,
    "Fault": _FAULT,
    "FaultGroup": _GROUP,
    "HookRun": _HOOK_RUN,
    "Hold": _object(
        {"state": {"enum": ["open", "closed", "auto"]}},
        {"for_s": {"type": "number", "exclusiveMinimum": 0, "maximum": 3600}},
    ),
    "EndpointHold": _object(
        {"state": {"enum": ["ejected", "auto"]}},
        {"for_s": {"type": "number", "exclusiveMinimum": 0, "maximum": 3600}},
    ),
    "Traffic": _TRAFFIC,
    "TrafficHistory": _HISTORY,
    "TrafficInterval": _INTERVAL,
    "Silence": _object(
        {
            "id": _TEXT,  # Empty: of the file, and not to be deleted here.
            "until": _TIME,
            "starts": _TIME,
            "comment": _TEXT,
            **_SELECTION,
        },
        {},
    ),
    "NewSilence": _object(
        {"for_s": {"type": "number", "minimum": 1, "maximum": 604800}},
        {"comment": {"type": "string", "maxLength": 200}, **_SELECTION},
    ),
    "LogLevel": _object({"level": {"enum": ["debug", "info", "warning", "error"]}}, {}),
}
