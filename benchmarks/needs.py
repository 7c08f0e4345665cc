"""What a pod should ask for, as it follows from measurements. Pure but for `read`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.plan import OURS
from benchmarks.report import aligned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PER_S = 1000  # Requests, paced.
CONNECTIONS = 10_000  # Idle, kept alive.
IN_FLIGHT = 5000  # Requests that the origin has not answered.

IDLE, PACED, CONNECTED, WAITING, LOADED = (
    "idle",
    f"{PER_S:,} requests/s",
    f"{CONNECTIONS:,} idle connections",
    f"{IN_FLIGHT:,} requests that wait",
    "as fast as it can, 256 connections",
)

# The rule. Half as much again: fragments of the heap, and loads that are not these.
LIMIT_TIMES = 1.5
MEMORY_STEP_MIB = 16
CPU_STEP_MILLIS = 50

_MIB = 1 << 20
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Measured:
    """One build in one situation. What could not be measured is None."""

    build: str
    situation: str
    rss_mib: float
    pss_mib: float | None  # Pages that others use as well count in part.
    uss_mib: float | None  # Pages that nobody else uses.
    kernel_mib: float | None
    cpu_percent: float | None  # Of one core.
    cpu_us: float | None  # A request.
    per_s: float | None

    @property
    def memory_mib(self) -> float:
        """Return what counts in a pod."""
        return self.rss_mib + (self.kernel_mib or 0.0)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a pod should ask for, and where it should end."""

    memory_request_mib: int
    memory_limit_mib: int
    cpu_request_millis: int


@dataclass(frozen=True, slots=True)
class Costs:
    """What `sidecar.capacity` goes by, in bytes.

    Attributes:
        base: What there is once it has served.
        connection: What an idle one adds.
        request: What one that waits for its answer adds, both connections included.
    """

    base: float
    connection: float
    request: float


def request_and_limit(measured: Sequence[Measured]) -> Needs:
    """Return what follows from the measurements, for the worst of the builds.

    Memory: the request is what 1,000 requests/s take, the limit half as much again as
    the worst of all situations; both rounded up to 16 MiB. CPU: the request is what
    1,000 requests/s take in the build that an image has, rounded up to 50 m; there is
    no limit.
    """
    paced = [each for each in measured if each.situation == PACED]
    worst_mib = max(each.memory_mib for each in measured)
    image = [each for each in paced if each.build == OURS] or paced
    cpu_percent = max(each.cpu_percent or 0.0 for each in image)
    return Needs(
        _up(max(each.memory_mib for each in paced), MEMORY_STEP_MIB),
        _up(worst_mib * LIMIT_TIMES, MEMORY_STEP_MIB),
        _up(cpu_percent * 10, CPU_STEP_MILLIS),
    )


def costs(measured: Sequence[Measured]) -> Costs:
    """Return what there is at least, and what each connection and request adds."""

    def worst_bytes(situation: str) -> float:
        found = [m.memory_mib for m in measured if m.situation == situation]
        return max(found) * _MIB

    idle = worst_bytes(IDLE)
    return Costs(
        worst_bytes(PACED),  # More than idle: what the first requests load stays.
        (worst_bytes(CONNECTED) - idle) / CONNECTIONS,
        (worst_bytes(WAITING) - idle) / IN_FLIGHT,
    )


def _up(value: float, step: int) -> int:
    return math.ceil(value / step) * step


def table(measured: Sequence[Measured]) -> str:
    """Return the measurements as an aligned Markdown table."""
    rows: list[Sequence[str]] = [
        (
            "build", "situation", "RSS MiB", "PSS", "USS", "kernel MiB", "in all MiB",
            "CPU, % of a core", "µs a request", "requests/s",
        )
    ]  # fmt: skip
    rows += [
        (
            each.build,
            each.situation,
            *(
                "-" if value is None else text.format(value)
                for value, text in (
                    (each.rss_mib, "{:.1f}"),
                    (each.pss_mib, "{:.1f}"),
                    (each.uss_mib, "{:.1f}"),
                    (each.kernel_mib, "{:.1f}"),
                    (each.memory_mib, "{:.1f}"),
                    (each.cpu_percent, "{:.1f}"),
                    (each.cpu_us, "{:.0f}"),
                    (each.per_s, "{:,.0f}"),
                )
            ),
        )
        for each in measured
    ]
    return aligned(rows, left=(0, 1))


def told(measured: Sequence[Measured]) -> str:
    """Return what the page says of a run: the table, and what follows from it."""
    needs, each = request_and_limit(measured), costs(measured)
    return (
        f"{table(measured)}\n\n"
        f"- memory: request {needs.memory_request_mib}Mi, "
        f"limit {needs.memory_limit_mib}Mi\n"
        f"- CPU: request {needs.cpu_request_millis}m, no limit\n"
        f"- one more idle connection: {each.connection / _KIB:.1f} KiB\n"
        f"- one more request that waits for its answer: {each.request / _KIB:.1f} KiB"
    )


def read(path: Path) -> list[Measured]:
    """Return the measurements of the file that a run has written."""
    rows: list[Mapping[str, object]] = json.loads(path.read_text())["measured"]
    return [Measured(**row) for row in rows]  # type: ignore[arg-type]
