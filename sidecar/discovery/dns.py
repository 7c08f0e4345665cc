"""Endpoints by DNS: A and AAAA, or SRV with the port of each.

resolv.conf is heeded (name servers, search, ndots), and read anew for each question;
/etc/hosts is not: what stands there does not change, so `endpoints` does for it.
Of SRV the records of the lowest priority are used, alike whatever their weight.
Types, and targets of SRV, are asked for all at once: one that fails, or is silent,
takes nothing from the others.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rdatatype
import dns.resolver

from sidecar.discovery.stale import StaleIfError
from sidecar.faults.catalogue import FaultCode
from sidecar.policy.backoff import Backoff
from sidecar.settings.snapshot import Address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from random import Random

    from dns.asyncresolver import Resolver
    from dns.rdtypes.IN.SRV import SRV
    from dns.resolver import Answer

    from sidecar.discovery.feed import Feed
    from sidecar.settings.snapshot import DnsSource

    Found = tuple[list[Address], float]  # With the TTL.
    Question = Callable[[], Awaitable[Found]]
    Outcome = asyncio.Task["LookupFailedError | None"]

_FAMILIES: Final = ("A", "AAAA")
_GATHER_S: Final = 0.05  # What is answered within it is told together.
_MOST_AT_ONCE: Final = 32  # Questions about one name: each has a socket.


class LookupFailedError(Exception):
    """There is no answer, or nobody has the name.

    Attributes:
        code: What requests fail with if there is no endpoint.
        is_answer: A server said so: it is not that it could not tell.
    """

    def __init__(
        self, code: FaultCode, detail: str, *, is_answer: bool = False
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.is_answer = is_answer


class DnsWatch:
    """Asks for one name, again and again."""

    def __init__(self, source: DnsSource, feed: Feed, rng: Random) -> None:
        self._source = source
        self._feed = feed
        self._rng = rng
        self._known = StaleIfError(source.min_ttl_s, source.stale_s)
        self._backoff = Backoff(min(1.0, source.min_ttl_s), source.min_ttl_s)
        self._failures = 0
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            is_good, retry_s = await self._ask(), None
            self._failures = 0 if is_good else self._failures + 1
            if not is_good:
                retry_s = self._backoff.delay_s(self._failures, self._rng)
            await asyncio.sleep(self._known.wait_s(self._feed.now_s(), retry_s))

    async def _ask(self) -> bool:
        """Ask once, and tell what came of it; return whether nothing failed."""
        try:
            questions = await _questions(self._source)
        except LookupFailedError as error:
            self._tell([self._source.name], [error])
            return False
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._take_in(key, question))
                for key, question in questions.items()
            ]
            await self._tell_as_they_come(questions, tasks)
        return not any(task.result() for task in tasks)

    async def _take_in(self, key: str, question: Question) -> LookupFailedError | None:
        """Take in one answer; return why there is none."""
        try:
            async with self._places:
                addresses, ttl_s = await question()
        except LookupFailedError as error:
            return error
        self._known.answered(key, addresses, ttl_s, self._feed.now_s())
        return None

    async def _tell_as_they_come(
        self, keys: Collection[str], tasks: Collection[Outcome]
    ) -> None:
        """Tell of answers, at once if others let wait."""
        waiting = set(tasks)
        while waiting:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            _, waiting = await asyncio.wait(waiting, timeout=_GATHER_S)
            if waiting:
                self._tell(keys, [task.result() for task in tasks if task.done()])
        self._tell(keys, [task.result() for task in tasks])

    def _tell(
        self, keys: Collection[str], outcomes: list[LookupFailedError | None]
    ) -> None:
        """Tell what is known by now.

        No endpoint at all is told at the end alone: one family may well have none.

        Args:
            keys: Of what is asked.
            outcomes: What came of it up to now.
        """
        is_over = len(outcomes) == len(keys)
        has_answer = None in outcomes or not keys
        failures = [outcome for outcome in outcomes if outcome is not None]
        if has_answer:
            self._known.forget_others(keys)
        known = self._known.addresses(self._feed.now_s())
        if has_answer and (known or (is_over and not failures)):
            self._feed.found(known)
        elif is_over:
            self._feed.failed(
                *(str(failures[0]), failures[0].code, known),
                is_answer=all(failure.is_answer for failure in failures),
            )


async def _questions(source: DnsSource) -> dict[str, Question]:
    """Return what is to be asked at once, each by a name of its own.

    Raises:
        LookupFailedError: Of SRV, whose targets they are, there is no answer.
    """
    resolver = _resolver(source)
    if source.port is not None:
        return {
            kind: partial(_by_family, resolver, source, source.port, kind)
            for kind in source.types
        }
    answer = await _resolve(resolver, source.name, "SRV")
    records: list[SRV] = list(answer.rrset or ())
    best = min((record.priority for record in records), default=0)
    return {
        f"{record.target}:{record.port}".lower(): partial(
            _by_target, resolver, source, answer, record
        )
        for record in sorted(records)  # Else another failure is the first each time.
        if record.priority == best and record.target.to_text() != "."
    }


def _resolver(source: DnsSource) -> Resolver:
    """Return who asks: the servers of the settings, or those of the system.

    Raises:
        LookupFailedError: The system names none.
    """
    try:
        resolver = dns.asyncresolver.Resolver(configure=not source.nameservers)
    except (OSError, dns.exception.DNSException) as error:
        detail = f"no name server: {error}"
        raise LookupFailedError(FaultCode.DNS_ERR, detail) from None
    resolver.lifetime = source.timeout_s
    resolver.use_search_by_default = not source.nameservers
    if source.nameservers:
        resolver.nameservers = [
            dns.nameserver.Do53Nameserver(server.host, server.port)
            for server in source.nameservers
        ]
    return resolver


async def _by_family(
    resolver: Resolver, source: DnsSource, port: int, kind: str
) -> Found:
    """Return the addresses of a name in one family.

    Raises:
        LookupFailedError: There is no answer; "no such record" is one.
    """
    answer = await _resolve(resolver, source.name, kind)
    return [Address(host, port) for host in _hosts(answer)], _ttl_s(answer, source)


async def _by_target(
    resolver: Resolver, source: DnsSource, answer: Answer, record: SRV
) -> Found:
    """Return the addresses that one record of an answer of SRV comes to.

    Raises:
        LookupFailedError: As above.
    """
    target = record.target.to_text()
    hosts, ttl_s = _beside(answer, target)
    if not hosts:
        hosts, ttl_s = await _addresses_of(resolver, source, target)
    addresses = [Address(host, record.port) for host in hosts]
    return addresses, min(ttl_s, _ttl_s(answer, source))


async def _addresses_of(
    resolver: Resolver, source: DnsSource, target: str
) -> tuple[list[str], float]:
    """Return the addresses of a host: IPv4 if it has such."""
    ttl_s = source.min_ttl_s
    for family in _FAMILIES:
        answer = await _resolve(resolver, target, family)
        ttl_s = _ttl_s(answer, source)
        if hosts := _hosts(answer):
            return hosts, ttl_s
    return [], ttl_s


def _beside(answer: Answer, target: str) -> tuple[list[str], float]:
    """Return the addresses of a host that came along with the answer."""
    for family in _FAMILIES:
        for rrset in answer.response.additional:
            is_it = rrset.rdtype == dns.rdatatype.from_text(family)
            if is_it and rrset.name.to_text().lower() == target.lower():
                return [record.address for record in rrset], rrset.ttl
    return [], 0.0


async def _resolve(resolver: Resolver, name: str, kind: str) -> Answer:
    try:
        return await resolver.resolve(
            name, kind, raise_on_no_answer=False, lifetime=resolver.lifetime
        )
    except dns.exception.Timeout:
        detail = f"{name} {kind}: no name server answers within {resolver.lifetime:g} s"
        raise LookupFailedError(FaultCode.DNS_TIMEOUT, detail) from None
    except dns.resolver.NXDOMAIN:
        detail = f"{name} {kind}: NXDOMAIN, nobody has this name"
        raise LookupFailedError(FaultCode.DNS_ERR, detail, is_answer=True) from None
    except (dns.exception.DNSException, OSError) as error:
        raise LookupFailedError(FaultCode.DNS_ERR, f"{name} {kind}: {error}") from None


def _hosts(answer: Answer) -> list[str]:
    return [record.address for record in answer.rrset or ()]


def _ttl_s(answer: Answer, source: DnsSource) -> float:
    """Return how long an answer holds; "there is none" is asked again soon."""
    if answer.rrset is None:
        return source.min_ttl_s
    return float(answer.chaining_result.minimum_ttl)
