"""What a watch tells: it goes to the finding, the runtime and the log."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from sidecar.faults.catalogue import FaultCode
from sidecar.upstream.finding import CHANGED, FAILED, UNCHANGED

if TYPE_CHECKING:
    from sidecar.clock import Clock
    from sidecar.runtime import Runtime
    from sidecar.settings.snapshot import Address, Source

_log = logging.getLogger(__name__)

_MOST_TOLD: Final = 5  # Addresses in a line of the log.


class Feed:
    """The answers about one source.

    Attributes:
        answered: Set by the first answer, or when nobody is to wait for it any more.
    """

    def __init__(self, source: Source, runtime: Runtime, clock: Clock) -> None:
        self._source = source
        self._runtime = runtime
        self._finding = runtime.finding_of(source)
        self.now_s = clock.now_s
        self.answered = asyncio.Event()

    def found(self, addresses: tuple[Address, ...], unused: int = 0) -> None:
        """Go to these addresses.

        Args:
            addresses: Those to use.
            unused: How many more there are.
        """
        finding, is_first = self._finding, not self.answered.is_set()
        self.heard()
        finding.unused = unused
        is_new = self._go_to(addresses)
        finding.counts[CHANGED if is_new else UNCHANGED] += 1
        if is_first and not addresses:
            _log.warning("discovery: %s: there is no endpoint to use", self._source)
        self.answered.set()

    def heard(self) -> None:
        """Nothing has changed up to now, says who is asked."""
        finding = self._finding
        if finding.failure:
            _log.info("discovery: %s: it answers again", self._source)
        finding.failure = ""
        finding.code = FaultCode.UPSTREAM_UNHEALTHY
        finding.answered_s = self.now_s()

    def failed(
        self,
        detail: str,
        code: FaultCode = FaultCode.UPSTREAM_UNHEALTHY,
        known: tuple[Address, ...] | None = None,
        *,
        is_answer: bool = False,
    ) -> None:
        """Tell of a failure, once until it is another one.

        Args:
            detail: What happened, and what to do.
            code: What requests fail with if there is no endpoint.
            known: Those that are still to be used; None: all.
            is_answer: That there is none is the answer: nobody is to wait for another.
        """
        finding = self._finding
        if detail != finding.failure:
            _log.warning("discovery: %s: %s", self._source, detail)
        finding.failure, finding.code = detail, code
        finding.counts[FAILED] += 1
        if known is not None:
            self._go_to(known)
        if is_answer:
            self.answered.set()

    def _go_to(self, addresses: tuple[Address, ...]) -> bool:
        """Use these; tell whether they are others than before."""
        before, after = set(self._finding.addresses), set(addresses)
        if before == after:
            return False
        self._finding.addresses = addresses
        self._runtime.on_found(self._source)
        _log.info(
            "discovery: %s: %d endpoints%s%s",
            *(self._source, len(after)),
            *(_words(", new: ", after - before), _words(", gone: ", before - after)),
        )
        return True


def _words(title: str, addresses: set[Address]) -> str:
    if not addresses:
        return ""
    names = sorted(map(str, addresses))
    more = len(names) - _MOST_TOLD
    rest = f" and {more} more" if more > 0 else ""
    return title + ", ".join(names[:_MOST_TOLD]) + rest
