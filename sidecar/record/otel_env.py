"""What the OTEL_* variables say where the configuration says nothing.

Everything about the connection to the collector (headers, certificates, timeout,
compression) and OTEL_RESOURCE_ATTRIBUTES is read by the exporter itself; here is
what the configuration has a key for, and what the queue needs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sidecar.settings.snapshot import Tracing

_PROTOCOLS = ("grpc", "http/protobuf")
_SAMPLERS = {  # What each does with the argument; all of them end up parent-based.
    "always_on": 1.0,
    "parentbased_always_on": 1.0,
    "always_off": 0.0,
    "parentbased_always_off": 0.0,
    "traceidratio": None,
    "parentbased_traceidratio": None,
}
_UNNAMED = "app"  # The service of a configuration that names none.


@dataclass(frozen=True, slots=True)
class Batching:
    """How spans are gathered before they go."""

    delay_s: float = 1.0
    max_spans: int = 512


def from_environment(
    tracing: Tracing, given: Collection[str], environ: Mapping[str, str]
) -> Tracing:
    """Return `tracing` with its gaps filled.

    Args:
        tracing: As configured, defaults included.
        given: The keys of it that the configuration really has; they stay.
        environ: The environment. A value that cannot be read is as if it were
            not set, as OpenTelemetry asks for.
    """
    said = _said(environ)
    said = {key: value for key, value in said.items() if key not in given}
    if _is_true(environ.get("OTEL_SDK_DISABLED", "")):
        said["enabled"] = False
    return replace(tracing, **said)  # type: ignore[arg-type]  # Keys of Tracing.


def batching(environ: Mapping[str, str]) -> Batching:
    """Return how to batch, as the OTEL_BSP_* variables say."""
    plain = Batching()
    delay_ms = _number(environ.get("OTEL_BSP_SCHEDULE_DELAY", ""))
    spans = _number(environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", ""))
    return Batching(
        plain.delay_s if delay_ms is None else delay_ms / 1000,
        plain.max_spans if spans is None else max(1, int(spans)),
    )


def service_name(service: str, environ: Mapping[str, str]) -> str:
    """Return the name under which spans are told."""
    named = environ.get("OTEL_SERVICE_NAME", "").strip()
    return named if named and service == _UNNAMED else service


def _said(environ: Mapping[str, str]) -> dict[str, object]:
    """Return what the environment has to say, by key of the configuration."""
    said: dict[str, object] = {}
    endpoint = _signal(environ, "ENDPOINT")
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter == "none":
        said["enabled"] = False
    elif endpoint or exporter == "otlp":
        said["enabled"] = True
    protocol = _signal(environ, "PROTOCOL").lower()
    if protocol in _PROTOCOLS:
        said["protocol"] = protocol
    ratio = _sample_ratio(environ)
    if ratio is not None:
        said["sample_ratio"] = ratio
    queue = _number(environ.get("OTEL_BSP_MAX_QUEUE_SIZE", ""))
    if queue is not None:
        said["queue_spans"] = max(1, int(queue))
    return said


def _signal(environ: Mapping[str, str], name: str) -> str:
    """Return a variable of the exporter: that for traces goes first."""
    for prefix in ("OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"):
        value = environ.get(prefix + name, "").strip()
        if value:
            return value
    return ""


def _sample_ratio(environ: Mapping[str, str]) -> float | None:
    sampler = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if sampler not in _SAMPLERS:
        return None
    fixed = _SAMPLERS[sampler]
    if fixed is not None:
        return fixed
    ratio = _number(environ.get("OTEL_TRACES_SAMPLER_ARG", "1"))
    return 1.0 if ratio is None else min(1.0, ratio)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0.0 <= number < float("inf") else None


def _is_true(text: str) -> bool:
    return text.strip().lower() == "true"
