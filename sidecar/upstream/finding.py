"""What is known of the endpoints of one source: written by who asks it.

It outlives the upstreams that go by it: a reload that changes their caps begins
with the endpoints that are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.model import Phase

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Address

CHANGED: Final = "changed"
UNCHANGED: Final = "unchanged"
FAILED: Final = "failed"
_PHASES: Final = {
    FaultCode.DNS_ERR: Phase.DNS,
    FaultCode.DNS_TIMEOUT: Phase.DNS,
}


class Finding:
    """The last answer, and what came of asking.

    Attributes:
        addresses: The endpoints to use.
        unused: How many more there are: not ready, or of another zone.
        answered_s: When the last good answer came, on the steady clock.
        counts: How often it was asked, by what came of it.
        failure: Why the last question had no good answer; empty if it had.
        code: What a request fails with if there is no endpoint.
    """

    __slots__ = ("addresses", "answered_s", "code", "counts", "failure", "unused")

    def __init__(self) -> None:
        self.addresses: tuple[Address, ...] = ()
        self.unused = 0
        self.answered_s: float | None = None
        self.counts = {CHANGED: 0, UNCHANGED: 0, FAILED: 0}
        self.failure = ""
        self.code = FaultCode.UPSTREAM_UNHEALTHY

    def no_endpoint(self, upstream: str) -> ProxyFault:
        """Return the fault of a request while there is none to send it to."""
        reason = self.failure or (
            "it is not known yet"
            if self.answered_s is None
            else f"none of {self.unused} may be used"
        )
        msg = f"upstream {upstream} has no endpoint: {reason}"
        return ProxyFault(self.code, msg, phase=_PHASES.get(self.code, Phase.REQUEST))
