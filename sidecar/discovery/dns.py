"""Endpoints by DNS: A and AAAA, or SRV with the port of each.

resolv.conf is heeded (name servers, search, ndots), and read anew for each question;
/etc/hosts is not: what stands there does not change, so `endpoints` does for it.
Of SRV the records of the lowest priority are used, alike whatever their weight.
"""

from __future__ import annotations

import asyncio
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
    from random import Random

    from dns.rdtypes.IN.SRV import SRV

    from sidecar.discovery.feed import Feed
    from sidecar.settings.snapshot import DnsSource

    Found = tuple[list[Address], float]  # With the TTL.

_FAMILIES: Final = ("A", "AAAA")


class LookupFailedError(Exception):
    """There is no answer."""

    def __init__(self, code: FaultCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class DnsWatch:
    """Asks for one name, again and again."""

    def __init__(self, source: DnsSource, feed: Feed, rng: Random) -> None:
        self._source = source
        self._feed = feed
        self._rng = rng
        self._known = StaleIfError(source.min_ttl_s, source.stale_s)
        self._backoff = Backoff(min(1.0, source.min_ttl_s), source.min_ttl_s)
        self._failures = 0

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            failures = await self._ask()
            now_s, retry_s = self._feed.now_s(), None
            known = self._known.addresses(now_s)
            if len(failures) < len(self._source.types):
                self._feed.found(known)
            else:
                self._feed.failed(str(failures[0]), failures[0].code, known)
            self._failures = self._failures + 1 if failures else 0
            if failures:
                retry_s = self._backoff.delay_s(self._failures, self._rng)
            await asyncio.sleep(self._known.wait_s(now_s, retry_s))

    async def _ask(self) -> list[LookupFailedError]:
        """Ask once for each type; return what failed."""
        failures: list[LookupFailedError] = []
        for kind in self._source.types:
            try:
                addresses, ttl_s = await _look_up(self._source, kind)
            except LookupFailedError as error:
                failures.append(error)
            else:
                self._known.answered(kind, addresses, ttl_s, self._feed.now_s())
        return failures


def _resolver(source: DnsSource) -> dns.asyncresolver.Resolver:
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


async def _look_up(source: DnsSource, kind: str) -> Found:
    """Return the addresses that records of one type come to.

    Raises:
        LookupFailedError: There is no answer; "no such record" is one.
    """
    resolver = _resolver(source)
    answer = await _resolve(resolver, source.name, kind)
    ttl_s = _ttl_s(answer, source)
    if kind != "SRV":
        assert source.port is not None  # noqa: S101 - the settings are checked
        return [Address(host, source.port) for host in _hosts(answer)], ttl_s
    records: list[SRV] = list(answer.rrset or ())
    best = min((record.priority for record in records), default=0)
    addresses = []
    for record in records:
        target = record.target.to_text()
        if record.priority != best or target == ".":
            continue
        hosts, target_ttl_s = _beside(answer, target)
        if not hosts:
            hosts, target_ttl_s = await _addresses_of(resolver, source, target)
        ttl_s = min(ttl_s, target_ttl_s)
        addresses += [Address(host, record.port) for host in hosts]
    return addresses, ttl_s


async def _addresses_of(
    resolver: dns.asyncresolver.Resolver, source: DnsSource, target: str
) -> tuple[list[str], float]:
    """Return the addresses of a host: IPv4 if it has such."""
    ttl_s = source.min_ttl_s
    for family in _FAMILIES:
        answer = await _resolve(resolver, target, family)
        ttl_s = _ttl_s(answer, source)
        if hosts := _hosts(answer):
            return hosts, ttl_s
    return [], ttl_s


def _beside(answer: dns.resolver.Answer, target: str) -> tuple[list[str], float]:
    """Return the addresses of a host that came along with the answer."""
    for family in _FAMILIES:
        for rrset in answer.response.additional:
            is_it = rrset.rdtype == dns.rdatatype.from_text(family)
            if is_it and rrset.name.to_text().lower() == target.lower():
                return [record.address for record in rrset], rrset.ttl
    return [], 0.0


async def _resolve(
    resolver: dns.asyncresolver.Resolver, name: str, kind: str
) -> dns.resolver.Answer:
    try:
        return await resolver.resolve(
            name, kind, raise_on_no_answer=False, lifetime=resolver.lifetime
        )
    except dns.exception.Timeout:
        detail = f"{name} {kind}: no name server answers within {resolver.lifetime:g} s"
        raise LookupFailedError(FaultCode.DNS_TIMEOUT, detail) from None
    except dns.resolver.NXDOMAIN:
        detail = f"{name} {kind}: NXDOMAIN, nobody has this name"
        raise LookupFailedError(FaultCode.DNS_ERR, detail) from None
    except (dns.exception.DNSException, OSError) as error:
        raise LookupFailedError(FaultCode.DNS_ERR, f"{name} {kind}: {error}") from None


def _hosts(answer: dns.resolver.Answer) -> list[str]:
    return [record.address for record in answer.rrset or ()]


def _ttl_s(answer: dns.resolver.Answer, source: DnsSource) -> float:
    """Return how long an answer holds; "there is none" is asked again soon."""
    if answer.rrset is None:
        return source.min_ttl_s
    return float(answer.chaining_result.minimum_ttl)
