"""What the OTEL_* variables say where the configuration says nothing.

Everything about the connection to the collector (headers, certificates, timeout,
compression) and OTEL_RESOURCE_ATTRIBUTES is read by the exporter itself; here is
what the configuration has a key for, and what the queue needs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sidecar.settings.snapshot import LogExport, Tracing

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
class Signal:
    """What there is to send, and how its variables are called."""

    name: str
    batch: str  # Its batch processor.
    queue_key: str  # Of the configuration.
    is_implied: bool  # An endpoint for all signals is one for it.


TRACES: Final = Signal("TRACES", "BSP", "queue_spans", is_implied=True)
# A collector of spans need not take logs: nobody who has one is to get them unasked.
LOGS: Final = Signal("LOGS", "BLRP", "queue", is_implied=False)
S = TypeVar("S", "Tracing", "LogExport")


@dataclass(frozen=True, slots=True)
class Batching:
    """How they are gathered before they go."""

    delay_s: float = 1.0
    max_items: int = 512


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
    said = _said(environ, TRACES)
    ratio = _sample_ratio(environ)
    if ratio is not None:
        said["sample_ratio"] = ratio
    return _filled(tracing, said, given, environ)


def logs_from_environment(
    logs: LogExport, given: Collection[str], environ: Mapping[str, str]
) -> LogExport:
    """Return `logs` with its gaps filled, as `from_environment` does for traces."""
    return _filled(logs, _said(environ, LOGS), given, environ)


def _filled(
    told: S,
    said: dict[str, object],
    given: Collection[str],
    environ: Mapping[str, str],
) -> S:
    said = {key: value for key, value in said.items() if key not in given}
    if _is_true(environ.get("OTEL_SDK_DISABLED", "")):
        said["enabled"] = False
    return replace(told, **said)  # type: ignore[arg-type]  # Keys of both.


def batching(environ: Mapping[str, str], signal: Signal) -> Batching:
    """Return how to batch, as the OTEL_BSP_* or OTEL_BLRP_* variables say."""
    plain = Batching()
    delay_ms = _number(environ.get(f"OTEL_{signal.batch}_SCHEDULE_DELAY", ""))
    size = f"OTEL_{signal.batch}_MAX_EXPORT_BATCH_SIZE"
    items = _number(environ.get(size, ""))
    return Batching(
        plain.delay_s if delay_ms is None else delay_ms / 1000,
        plain.max_items if items is None else max(1, int(items)),
    )


def service_name(service: str, environ: Mapping[str, str]) -> str:
    """Return the name under which all is told."""
    named = environ.get("OTEL_SERVICE_NAME", "").strip()
    return named if named and service == _UNNAMED else service


def _said(environ: Mapping[str, str], signal: Signal) -> dict[str, object]:
    """Return what the environment has to say, by key of the configuration."""
    said: dict[str, object] = {}
    own = environ.get(f"OTEL_EXPORTER_OTLP_{signal.name}_ENDPOINT", "").strip()
    of_all = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    exporter = environ.get(f"OTEL_{signal.name}_EXPORTER", "").strip().lower()
    if exporter == "none":
        said["enabled"] = False
    elif exporter == "otlp" or own or (of_all and signal.is_implied):
        said["enabled"] = True
    protocol = _exporter(environ, signal, "PROTOCOL").lower()
    if protocol in _PROTOCOLS:
        said["protocol"] = protocol
    queue = _number(environ.get(f"OTEL_{signal.batch}_MAX_QUEUE_SIZE", ""))
    if queue is not None:
        said[signal.queue_key] = max(1, int(queue))
    return said


def _exporter(environ: Mapping[str, str], signal: Signal, name: str) -> str:
    """Return a variable of the exporter: that for the signal goes first."""
    for prefix in (f"OTEL_EXPORTER_OTLP_{signal.name}_", "OTEL_EXPORTER_OTLP_"):
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
