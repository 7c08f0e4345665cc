"""The catalogue as a page for people: `python -m sidecar.faults.docs`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sidecar.faults.catalogue import (
    ENVOY_FLAGS,
    PROXY_ERRORS,
    FaultCode,
    proxy_error_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_INTRO = """# The 316 codes

Made from the catalogue by `make docs`. `sidecar faults CODE` shows one entry.

Severity: **P0** proxy or whole upstream down, security, configuration; **P1** users
see the failure; **P2** degraded or healing by itself; **P3** caused by the client,
injected, or information. *Retry* tells when a request that met the fault may be
sent again; HTTP "-" is the status as it came.
"""


def catalogue_markdown() -> str:
    """Return docs/faults.md."""
    parts = [_INTRO, _table()]
    parts += [_section(code) for code in FaultCode]
    parts.append(_mapping("Envoy response flags", "flag", ENVOY_FLAGS))
    parts.append(_mapping("RFC 9209 error types", "error", PROXY_ERRORS))
    return "\n".join(parts)


def _table() -> str:
    rows = [
        "| code | severity | layer | HTTP | gRPC | retry |",
        "|---|---|---|---|---|---|",
    ]
    for code in FaultCode:
        spec = code.spec
        anchor = spec.code.lower()
        rows.append(
            f"| [{spec.code}](#{anchor}) | {spec.severity.name} | {spec.layer.value} "
            f"| {spec.status or '-'} | {spec.grpc_status} | {spec.replay.value} |"
        )
    return "\n".join(rows) + "\n"


def _section(code: FaultCode) -> str:
    spec = code.spec
    lines = [
        f"## {spec.code}",
        "",
        f"**{spec.title}.** {spec.cause}",
        "",
        f"- *What to do:* {spec.fix}",
        f"- *Severity:* {spec.severity.name}, {spec.severity.value}",
        f"- *Layer:* {spec.layer.value}; usually {spec.trigger.value}",
        f"- *HTTP:* {spec.status or 'as it came'} (Envoy's profile: "
        f"{spec.envoy_status or 'as it came'}); *gRPC:* {spec.grpc_status}",
        f"- *Retry:* {spec.replay.value}",
        f"- *Caused by:* {spec.origin.value}; counts for the breaker: "
        f"{'yes' if spec.blames_endpoint else 'no'}",
        f"- *Proxy-Status error:* {proxy_error_of(spec) or 'none'}; "
        f"*Envoy flag:* {spec.envoy_flag or 'none'}",
        "",
    ]
    return "\n".join(lines)


def _mapping(title: str, what: str, table: Mapping[str, FaultCode | None]) -> str:
    rows = [f"## {title}", "", f"| {what} | code |", "|---|---|"]
    for name, code in sorted(table.items()):
        rows.append(f"| {name} | {code.spec.code if code else 'not a failure'} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(catalogue_markdown())
