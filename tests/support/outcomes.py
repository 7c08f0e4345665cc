"""Outcomes and attempts, plain unless a test says otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sidecar.faults.catalogue import FaultCode
from sidecar.model import (
    Attempt,
    Fault,
    Outcome,
    Phase,
    Processed,
    TimeoutKind,
    TraceContext,
)
from sidecar.settings.load import load_text

if TYPE_CHECKING:
    from sidecar.faults.spec import FaultSpec
    from sidecar.settings.snapshot import Snapshot

TRACE_ID = 0x0AF7651916CD43DD8448EB211C80319C
NOON_NS = 1_700_000_000_000_000_000
MANY = (
    FaultCode.CONN_RESET,
    FaultCode.TIMEOUT_ERR,
    FaultCode.UPSTREAM_5XX,
    FaultCode.CLIENT_ABORT,
)


def outcome(**fields: Any) -> Outcome:
    """Return a request that went well, but for `fields`."""
    plain = Outcome(
        listener="inbound",
        route="all",
        upstream="app",
        method="GET",
        path=b"/orders/1",
        path_template="/orders/*",
        authority=b"shop.test:8080",
        client="10.0.0.9",
        status=200,
        fault=None,
        start_s=1000.0,
        start_wall_ns=NOON_NS,
        duration_s=0.02,
        request_bytes=3,
        response_bytes=5,
        attempts=(attempt(),),
        retry_skipped="",
        trace=trace(),
        request_id="req-1",
        is_upgraded=False,
    )
    return replace(plain, **fields)


def attempt(**fields: Any) -> Attempt:
    plain = Attempt(
        n=1,
        endpoint="127.0.0.1:8080",
        start_s=1000.0,
        duration_s=0.01,
        status=200,
        fault=None,
        phase=Phase.BODY,
        processed=Processed.YES,
        is_reused=False,
        span_id=0xA1,
    )
    return replace(plain, **fields)


def trace(**fields: Any) -> TraceContext:
    plain: dict[str, Any] = {
        "trace_id": TRACE_ID,
        "parent_id": 0xB7AD6B7169203331,
        "span_id": 0x53,
        "sampled": True,
        "state": b"",
    }
    return TraceContext(**(plain | fields))


def fault(code: FaultCode | FaultSpec, **fields: Any) -> Fault:
    spec = code.spec if isinstance(code, FaultCode) else code
    plain = Fault(
        spec,
        "018bcfe5680012345678",
        spec.origin,
        Phase.WAIT,
        Processed.UNKNOWN,
        "as a test has it",
    )
    return replace(plain, **fields)


def failed(code: FaultCode | FaultSpec = FaultCode.TIMEOUT_ERR, **fields: Any) -> Any:
    """Return a request that met a fault."""
    timeout = TimeoutKind.REQUEST if code is FaultCode.TIMEOUT_ERR else None
    spec = code.spec if isinstance(code, FaultCode) else code
    given = {
        "status": spec.status or 500,
        "fault": fault(code, timeout=timeout),
        "attempts": (attempt(fault=spec, status=0, phase=Phase.WAIT),),
    }
    return outcome(**(given | fields))


def snapshot(telemetry: str = "", routes: int = 1, faults: str = "{}") -> Snapshot:
    """Return a configuration of so many routes, the first of them named "all"."""
    names = ["all", *(f"r{number}" for number in range(1, routes))]
    lines = [
        f"  - {{name: {name}, upstream: app, matches: [{{path: {{value: /{name}}}}}]}}"
        for name in names
    ]
    text = [
        "upstreams: {app: {endpoints: ['127.0.0.1:8080']}}",
        "routes:",
        *lines,
        f"telemetry: {{{telemetry}}}",
        f"faults: {faults}",
    ]
    return load_text("\n".join(text)).snapshot
