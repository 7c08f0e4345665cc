"""What one run does: which measurements, how long, on which cores."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

MEASUREMENTS = (
    "get",
    "traced",
    "post",
    "large",
    "stream",
    "backpressure",
    "startup",
    "policy",
    "routes",
    "faults",
    "overload",
)
PROXIES = ("nginx", "haproxy", "caddy", "aiohttp", "interpreted", "sidecar")
OURS = "sidecar"  # Compiled, as the image has it; "interpreted" is the same, not so.

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. Every load in it is bounded by a time or by a number of bytes."""

    folder: Path  # Of the run alone; gone when the run has ended.
    proxy_core: int
    load_core: int
    measurements: frozenset[str]
    proxies: tuple[str, ...]
    seconds: int  # Of one round; wrk counts whole ones.
    rounds: int  # Of the first load; the secondary loads have fewer.
    secondary_rounds: int
    stream_bytes: int
    starts: int

    @property
    def alone(self) -> tuple[str, ...]:
        """Proxies of the measurements without a contest: ours, or those named."""
        return (OURS,) if self.proxies == PROXIES else self.proxies


def make_plan(
    folder: Path, only: Collection[str], *, seconds: int, is_quick: bool
) -> Plan:
    """Plan a run of all that `only` names, or of everything if it names nothing.

    `only` may name measurements, proxies or both: the kind it says nothing
    about is not narrowed.
    """
    load_core, proxy_core = pick_cores(os.sched_getaffinity(0))
    return Plan(
        folder=folder,
        proxy_core=proxy_core,
        load_core=load_core,
        measurements=frozenset(_named(only, MEASUREMENTS)),
        proxies=_named(only, PROXIES),
        seconds=1 if is_quick else seconds,
        rounds=2 if is_quick else 9,
        secondary_rounds=1 if is_quick else 3,
        stream_bytes=(128 if is_quick else 1024) * _MIB,
        starts=2 if is_quick else 5,
    )


def pick_cores(allowed: Collection[int]) -> tuple[int, int]:
    """Return the core of load and origin, and that of the proxy.

    The last one is the proxy's: the first serves most interrupts. Both are the
    same where there is only one.
    """
    return min(allowed), max(allowed)


def _named(only: Collection[str], known: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in known if name in only) or known
