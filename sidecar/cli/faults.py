"""sidecar faults: the catalogue, or one entry of it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sidecar.faults.catalogue import FaultCode, find, proxy_error_of


def command(
    code: Annotated[
        str | None, typer.Argument(help="Such as 316-CONN-REFUSED.")
    ] = None,
) -> None:
    """Show the catalogue of 316 codes, or one of them.

    Example: sidecar faults 316-CONN-STALE
    """
    if code is None:
        for entry in FaultCode:
            spec = entry.spec
            status = spec.status or "-"
            row = f"{spec.code:<30}{spec.severity.name}  {status:<5}{spec.title}\n"
            sys.stdout.write(row)
        return
    name = code.upper() if code.upper().startswith("316-") else f"316-{code.upper()}"
    found = find(name)
    if found is None:
        _complain(name)
    else:
        sys.stdout.write(_entry(found))


def _entry(code: FaultCode) -> str:
    spec = code.spec
    rows = {
        "code": spec.code,
        "title": spec.title,
        "severity": f"{spec.severity.name}: {spec.severity.value}",
        "layer": spec.layer.value,
        "trigger": spec.trigger.value,
        "HTTP status": spec.status or "as it came",
        "gRPC status": spec.grpc_status,
        "retry": spec.replay.value,
        "Proxy-Status": proxy_error_of(spec) or "-",
        "Envoy flag": spec.envoy_flag or "-",
        "meaning": spec.cause,
        "fix": spec.fix,
    }
    return "".join(f"{name:<14}{value}\n" for name, value in rows.items())


def _complain(name: str) -> None:
    from rapidfuzz import fuzz, process  # noqa: PLC0415 - only after a mistake

    known = [entry.spec.code for entry in FaultCode]
    best = process.extractOne(name, known, scorer=fuzz.ratio, score_cutoff=50)
    hint = f"; did you mean {best[0]}?" if best else ""
    sys.stderr.write(f"no code {name}{hint}\n")
    sys.exit(1)
