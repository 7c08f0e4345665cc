"""Own resources that run short: told once when they do, again after they eased.

below ----- over 80 % -----> told ----- under 70 % -----> below
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sidecar import descriptors
from sidecar.faults.catalogue import FaultCode
from sidecar.record.sources import connections_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.faults.spec import FaultSpec
    from sidecar.record.sources import RuntimeState

_log = logging.getLogger(__name__)

_HIGH_RATIO = 0.8
_EASED_RATIO = 0.7
_RAISE = "raise the limit (ulimit -n, LimitNOFILE), or lower limits.connections"


class Pressure:
    """Remembers what has been told; looked at about once a second."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def rises(self, what: str, used: float, limit: float | None) -> bool:
        """Tell whether `what` has just come over 80 % of its limit."""
        if not limit:
            return False
        ratio = used / limit
        if what in self._told:
            if ratio < _EASED_RATIO:
                self._told.discard(what)
            return False
        if ratio <= _HIGH_RATIO:
            return False
        self._told.add(what)
        return True

    def is_high(self, what: str) -> bool:
        """Tell whether `what` ran short when last looked at, and has not eased."""
        return what in self._told

    def look(
        self, runtime: RuntimeState | None, rss_bytes: int, limit_bytes: int | None
    ) -> Iterator[tuple[FaultSpec, str, str]]:
        """Yield code, upstream and detail of what runs short since the last look."""
        if self.rises("memory", rss_bytes, limit_bytes):
            detail = f"{rss_bytes} bytes resident, the limit is {limit_bytes}"
            yield FaultCode.MEM_PRESSURE.spec, "", detail
        used, most = descriptors.at_least_used(), descriptors.limit()
        if self.rises("descriptors", used, most):
            detail = f"{used} of {most} files are open; {_RAISE}"
            _log.warning("%s", detail)
            yield FaultCode.OVERLOAD.spec, "", detail
        upstreams = {} if runtime is None else runtime.upstreams
        for name, upstream in upstreams.items():
            most = upstream.settings.max_connections
            _, busy = connections_of(upstream)
            if self.rises(f"pool {name}", busy, most):
                detail = f"{busy} of {most} connections are busy"
                yield FaultCode.POOL_PRESSURE.spec, name, detail
