"""What an admin API says, as it says it."""

from __future__ import annotations

from typing import Any

from sidecar.terminal.board import Seen


def row(route: str = "all", **fields: Any) -> dict[str, Any]:
    plain = {
        "route": route,
        "listener": "inbound",
        "upstream": "app",
        "in_flight": 1,
        "breaker": "closed",
        "requests_per_s": 2.5,
        "success_ratio": 1.0,
        "p50_s": 0.004,
        "p95_s": 0.02,
        "p99_s": 0.09,
    }
    return plain | fields


def group(number: int = 1, **fields: Any) -> dict[str, Any]:
    plain = {
        "id": f"g{number}",
        "code": "316-CONN-RESET",
        "title": "connection reset",
        "fix": "Look at the application's log at this time.",
        "severity": "P1",
        "route": "all",
        "upstream": "app",
        "endpoint": "10.0.0.1:8080",
        "cause": "",
        "state": "ongoing",
        "first_seen": "2026-01-31T11:59:00.000Z",
        "last_seen": f"2026-01-31T12:00:{number:02}.000Z",
        "count": 7,
        "rate_per_s": 0.5,
        "trend": "rising",
        "share_of_traffic": 0.25,
    }
    return plain | fields


def record(**fields: Any) -> dict[str, Any]:
    plain = {
        "fault_id": "018bcfe5680012345678",
        "time": "2026-01-31T12:00:01.250Z",
        "code": "316-RETRY-EXHAUSTED",
        "severity": "P1",
        "fix": "See attempts.",
        "detail": "2 attempts",
        "route": "all",
        "upstream": "app",
        "endpoint": "10.0.0.2:8080",
        "status": 502,
        "duration_ms": 100.0,
        "attempts": [
            attempt(1, at_ms=0.0, ms=20.0, endpoint="10.0.0.1:8080"),
            attempt(2, at_ms=60.0, ms=40.0, code="", status=502),
        ],
        "trace_id": "c7f4e22736d2731a11283a85bd511b8e",
        "span_id": "582329036ae0b5d8",
    }
    return plain | fields


def attempt(n: int, **fields: Any) -> dict[str, Any]:
    plain = {"n": n, "endpoint": "10.0.0.2:8080", "code": "316-CONN-RESET", "status": 0}
    return plain | fields


def endpoint(number: int, state: str = "ejected") -> dict[str, Any]:
    return {
        "address": f"10.0.0.{number}:8080",
        "state": state,
        "cause": "5 failures in a row",
        "left_s": 12.3,
    }


def seen(routes: int = 3, groups: int = 2, out: int = 1) -> Seen:
    return Seen(
        index={
            "service": "shop",
            "version": "0.1.0",
            "ready": True,
            "config_version": "a8accf008a47",
        },
        traffic=[row(f"r{number}") for number in range(routes)],
        total={
            "requests": [10, 0, 20],
            "failures": [0, 0, 3],
            "p95_s": [0.1, None, 0.2],
        },
        interval_s=2,
        upstreams=[
            {
                "name": "app",
                "endpoints": [
                    endpoint(0, "healthy"),
                    *(endpoint(number + 1) for number in range(out)),
                ],
            }
        ],
        groups=[group(number) for number in range(groups)],
    )
