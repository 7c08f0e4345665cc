"""Own resources that run short: told once when they do, again after they eased.

below ----- over the limit -----> told ----- a tenth below it -----> below

The limits of memory and of descriptors are those at which `policy.overload` begins
to refuse work; that of a pool is 80 % of its connections. Of a quota of CPU it is a
fifth of the time without any: what is late for that reason is refused as late.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.faults.catalogue import FaultCode
from sidecar.record.sources import busiest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.faults.spec import FaultSpec
    from sidecar.policy.overload import OverloadLimits
    from sidecar.record.sources import RuntimeState

_log = logging.getLogger(__name__)

_POOL_RATIO = 0.8
_THROTTLED_RATIO = 0.2
_EASED_BELOW = 0.1  # As a part of the whole, below the limit.
_RAISE = "raise the limit (ulimit -n, LimitNOFILE), or lower limits.connections"


@dataclass(frozen=True, slots=True)
class Usage:
    """What this process uses; a limit of None is none."""

    rss_bytes: int
    memory_limit_bytes: int | None
    descriptors: int
    descriptor_limit: int
    kernel_bytes: int = 0  # Held for it: sockets, and what they hold.
    throttled_ratio: float = 0.0  # Of the last seconds, without CPU for want of quota.
    cpus: float | None = None  # That quota.

    @property
    def memory_ratio(self) -> float:
        """Return which part of the memory is used; 0 without a limit."""
        limit = self.memory_limit_bytes
        return (self.rss_bytes + self.kernel_bytes) / limit if limit else 0.0

    @property
    def descriptor_ratio(self) -> float:
        """Return which part of the descriptors is used."""
        return self.descriptors / self.descriptor_limit


class Pressure:
    """Remembers what has been told; looked at about once a second.

    Attributes:
        limits: Of memory and descriptors.
    """

    def __init__(self, limits: OverloadLimits) -> None:
        self.limits = limits
        self._told: set[str] = set()

    def rises(self, what: str, ratio: float, limit_ratio: float) -> bool:
        """Tell whether `what` has just come over its limit.

        Args:
            what: Which resource.
            ratio: Which part of it is used.
            limit_ratio: Which part may be.
        """
        if what in self._told:
            if ratio < limit_ratio - _EASED_BELOW:
                self._told.discard(what)
            return False
        if ratio <= limit_ratio:
            return False
        self._told.add(what)
        return True

    def is_high(self, what: str) -> bool:
        """Tell whether `what` ran short when last looked at, and has not eased."""
        return what in self._told

    def look(
        self, runtime: RuntimeState | None, usage: Usage
    ) -> Iterator[tuple[FaultSpec, str, str]]:
        """Yield code, upstream and detail of what runs short since the last look."""
        if self.rises("memory", usage.memory_ratio, self.limits.memory_ratio):
            detail = (
                f"{usage.rss_bytes} bytes resident, {usage.kernel_bytes} held by the "
                f"kernel for it, the limit is {usage.memory_limit_bytes}"
            )
            yield FaultCode.MEM_PRESSURE.spec, "", detail
        most_ratio = self.limits.descriptor_ratio
        if self.rises("descriptors", usage.descriptor_ratio, most_ratio):
            used, most = usage.descriptors, usage.descriptor_limit
            detail = f"{used} of {most} files are open; {_RAISE}"
            _log.warning("%s", detail)
            yield FaultCode.OVERLOAD.spec, "", detail
        if self.rises("cpu", usage.throttled_ratio, _THROTTLED_RATIO):
            detail = (
                f"the CPU limit of {usage.cpus or 0:g} cores was used up for "
                f"{usage.throttled_ratio:.0%} of the last seconds, and every request "
                "waited: raise it, or take it away (requests.cpu is enough), or scale"
            )
            _log.warning("%s", detail)
            yield FaultCode.OVERLOAD.spec, "", detail
        upstreams = {} if runtime is None else runtime.upstreams
        for name, upstream in upstreams.items():
            most = upstream.settings.max_connections
            busy = busiest_of(upstream)
            if self.rises(f"pool {name}", busy / most, _POOL_RATIO):
                detail = f"{busy} of {most} connections are busy"
                yield FaultCode.POOL_PRESSURE.spec, name, detail
