"""Endpoints by DNS, from a name server on loopback."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import dns.rcode
import pytest

from sidecar.faults.catalogue import FaultCode
from tests.support.discovered import discovered
from tests.support.name_server import NameServer, name_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from tests.support.discovered import Discovered

PAGES = "pages.test."


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with name_server() as found:
        yield found


def asking(server: NameServer, **dns: Any) -> AbstractAsyncContextManager[Discovered]:
    shared: dict[str, Any] = {"first_answer": dns.pop("first_answer", "5s")}
    settings = {"name": PAGES, "min_ttl": "20ms", "stale": "1m"} | dns
    if settings.get("type") != "SRV":
        settings.setdefault("port", 80)
    shared["nameservers"] = [f"127.0.0.1:{server.port}"]
    return discovered({"dns": settings}, shared)


async def test_each_address_of_a_name_is_an_endpoint(server: NameServer) -> None:
    server.records[PAGES, "A"] = ["10.0.0.1", "10.0.0.2"]
    async with asking(server) as found:
        assert found.names == ["10.0.0.1:80", "10.0.0.2:80"]


async def test_addresses_come_and_go_as_the_ttl_says(server: NameServer) -> None:
    server.records[PAGES, "A"] = ["10.0.0.1", "10.0.0.2"]
    async with asking(server) as found:
        (kept, _) = found.pool.endpoints
        server.records[PAGES, "A"] = ["10.0.0.3", "10.0.0.1"]
        await found.until_names("10.0.0.1:80", "10.0.0.3:80")
        assert kept in found.pool.endpoints


async def test_a_long_ttl_is_heeded(server: NameServer) -> None:
    """It is not asked for while another name is, again and again."""
    server.records[PAGES, "A"] = ["10.0.0.1"]
    server.records[PAGES, "AAAA"] = ["fd00::1"]
    server.ttl_s = 3600
    async with asking(server):
        server.ttl_s = 0
        async with asking(server, type="AAAA"):
            await server.until_asked("AAAA", 5)
        assert server.asked["A", "udp"] == 1


async def test_ipv6(server: NameServer) -> None:
    server.records[PAGES, "AAAA"] = ["fd00::1"]
    async with asking(server, type="AAAA") as found:
        assert found.names == ["[fd00::1]:80"]


async def test_both_families(server: NameServer) -> None:
    server.records[PAGES, "A"] = ["10.0.0.1"]
    server.records[PAGES, "AAAA"] = ["fd00::1"]
    async with asking(server, type="A+AAAA") as found:
        assert found.names == ["10.0.0.1:80", "[fd00::1]:80"]


async def test_srv_gives_the_ports_too(server: NameServer) -> None:
    name = "_http._tcp.pages.test."
    server.records[name, "SRV"] = ["0 50 8080 one.test.", "0 50 8081 two.test."]
    server.records["one.test.", "A"] = ["10.0.0.1"]
    server.records["two.test.", "AAAA"] = ["fd00::2"]
    async with asking(server, name=name, type="SRV") as found:
        assert found.names == ["10.0.0.1:8080", "[fd00::2]:8081"]


async def test_of_srv_the_lowest_priority_is_used(server: NameServer) -> None:
    server.records[PAGES, "SRV"] = ["1 1 80 one.test.", "2 1 80 two.test."]
    server.records["one.test.", "A"] = ["10.0.0.1"]
    server.records["two.test.", "A"] = ["10.0.0.2"]
    async with asking(server, type="SRV") as found:
        assert found.names == ["10.0.0.1:80"]


TWO_TARGETS = ["0 50 8080 one.test.", "0 50 8081 two.test."]


async def test_a_target_of_srv_that_is_gone_takes_nothing_from_the_others(
    server: NameServer,
) -> None:
    server.records[PAGES, "SRV"] = TWO_TARGETS
    server.records["one.test.", "A"] = ["10.0.0.1"]
    async with asking(server, type="SRV") as found:
        assert found.names == ["10.0.0.1:8080"]
        assert not found.finding.failure


async def test_what_was_known_of_such_a_target_is_used_for_a_while(
    server: NameServer,
) -> None:
    server.records[PAGES, "SRV"] = TWO_TARGETS
    server.records["one.test.", "A"] = ["10.0.0.1"]
    server.records["two.test.", "A"] = ["10.0.0.2"]
    async with asking(server, type="SRV") as found:
        del server.records["two.test.", "A"]
        server.records["one.test.", "A"] = ["10.0.0.3"]
        await found.until_names("10.0.0.3:8080", "10.0.0.2:8081")


async def test_but_no_longer_than_any_other_address(server: NameServer) -> None:
    server.records[PAGES, "SRV"] = TWO_TARGETS
    server.records["one.test.", "A"] = ["10.0.0.1"]
    server.records["two.test.", "A"] = ["10.0.0.2"]
    async with asking(server, type="SRV", stale="50ms") as found:
        del server.records["two.test.", "A"]
        await found.until_names("10.0.0.1:8080")
        assert not found.finding.failure


async def test_a_target_that_is_no_longer_in_srv_is_gone_at_once(
    server: NameServer,
) -> None:
    """Also while another one does not answer."""
    server.records[PAGES, "SRV"] = TWO_TARGETS
    server.records["one.test.", "A"] = ["10.0.0.1"]
    server.records["two.test.", "A"] = ["10.0.0.2"]
    async with asking(server, type="SRV", timeout="1m") as found:
        server.silent.add("three.test.")
        server.records[PAGES, "SRV"] = [TWO_TARGETS[0], "0 1 80 three.test."]
        await found.until_names("10.0.0.1:8080")


async def test_srv_fails_if_no_target_is_to_be_found(server: NameServer) -> None:
    """What was known is used for a while then, too."""
    server.records[PAGES, "SRV"] = TWO_TARGETS[:1]
    server.records["one.test.", "A"] = ["10.0.0.1"]
    async with asking(server, type="SRV") as found:
        server.records[PAGES, "SRV"] = ["0 1 80 three.test.", "0 1 80 four.test."]
        await found.until(lambda: found.finding.counts["failed"] > 1)
        assert found.names == ["10.0.0.1:8080"]
        assert "NXDOMAIN" in found.finding.failure


async def test_targets_of_srv_that_are_silent_hold_nobody_up(
    server: NameServer,
) -> None:
    server.silent = {f"{number}.silent.test." for number in range(5)}
    silent = [f"0 1 80 {name}" for name in server.silent]
    server.records[PAGES, "SRV"] = [*silent, "0 1 80 one.test."]
    server.records["one.test.", "A"] = ["10.0.0.1"]
    async with asking(server, type="SRV", timeout="1m") as found:
        assert found.names == ["10.0.0.1:80"]


async def test_srv_without_a_target_is_no_failure(server: NameServer) -> None:
    """So a dot says that the service is not to be had (RFC 2782)."""
    server.records[PAGES, "SRV"] = ["0 0 0 ."]
    async with asking(server, type="SRV") as found:
        assert found.names == []
        assert found.finding.no_endpoint("app").code is FaultCode.UPSTREAM_UNHEALTHY


async def test_addresses_beside_an_srv_record_are_not_asked_for(
    server: NameServer,
) -> None:
    server.records[PAGES, "SRV"] = ["0 1 80 one.test."]
    server.beside = [("one.test.", "A", "10.0.0.1")]
    async with asking(server, type="SRV") as found:
        assert found.names == ["10.0.0.1:80"]
    assert server.asked["A", "udp"] == 0


async def test_an_alias_is_followed(server: NameServer) -> None:
    server.records[PAGES, "CNAME"] = ["other.test."]
    server.records["other.test.", "A"] = ["10.0.0.1"]
    async with asking(server) as found:
        assert found.names == ["10.0.0.1:80"]


async def test_a_truncated_answer_is_asked_for_by_tcp(server: NameServer) -> None:
    server.records[PAGES, "A"] = [f"10.0.1.{number}" for number in range(1, 200)]
    server.is_truncating = True
    async with asking(server) as found:
        assert len(found.names) == 199
    assert server.asked["A", "tcp"]


@pytest.mark.parametrize(
    "rcode", [dns.rcode.SERVFAIL, dns.rcode.NXDOMAIN, dns.rcode.REFUSED]
)
async def test_while_the_server_fails_what_is_known_is_used(
    server: NameServer, rcode: dns.rcode.Rcode, caplog: pytest.LogCaptureFixture
) -> None:
    server.records[PAGES, "A"] = ["10.0.0.1"]
    async with asking(server) as found:
        server.rcodes["*"] = rcode
        await found.until(lambda: found.finding.counts["failed"] > 2)
        assert found.names == ["10.0.0.1:80"]
        assert dns.rcode.to_text(rcode) in found.finding.failure
        del server.rcodes["*"]
        server.records[PAGES, "A"] = ["10.0.0.2"]
        await found.until_names("10.0.0.2:80")
        assert not found.finding.failure
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1  # Not one a question.


async def test_but_not_beyond_the_time_that_is_set(server: NameServer) -> None:
    """Then requests fail by the name of the failure."""
    server.records[PAGES, "A"] = ["10.0.0.1"]
    async with asking(server, stale="50ms") as found:
        server.rcodes["*"] = dns.rcode.SERVFAIL
        await found.until_names()
        fault = found.finding.no_endpoint("app")
        assert fault.code is FaultCode.DNS_ERR
        assert "SERVFAIL" in fault.detail


async def test_a_name_without_such_records_has_no_endpoint(server: NameServer) -> None:
    """That is an answer, as of a Service without a ready pod: nothing stale is used."""
    server.records[PAGES, "A"] = ["10.0.0.1"]
    server.records[PAGES, "TXT"] = ['"it is there"']
    async with asking(server) as found:
        server.records[PAGES, "A"] = []
        await found.until_names()
        assert found.finding.no_endpoint("app").code is FaultCode.UPSTREAM_UNHEALTHY


async def test_one_family_that_fails_takes_nothing_from_the_other(
    server: NameServer,
) -> None:
    """And what is known of it is used for a while, too."""
    server.records[PAGES, "A"] = ["10.0.0.1"]
    server.records[PAGES, "AAAA"] = ["fd00::1"]
    async with asking(server, type="A+AAAA") as found:
        server.rcodes["AAAA"] = dns.rcode.SERVFAIL
        server.records[PAGES, "A"] = ["10.0.0.2"]
        await found.until_names("10.0.0.2:80", "[fd00::1]:80")
        assert not found.finding.failure


async def test_a_family_that_always_fails_is_done_without(server: NameServer) -> None:
    server.records[PAGES, "A"] = ["10.0.0.1"]
    server.rcodes["AAAA"] = dns.rcode.SERVFAIL
    async with asking(server, type="A+AAAA") as found:
        assert found.names == ["10.0.0.1:80"]


async def test_a_family_that_is_silent_holds_nobody_up(server: NameServer) -> None:
    """Neither the first answer nor a later one."""
    server.records[PAGES, "A"] = ["10.0.0.1"]
    server.silent = {"AAAA"}
    async with asking(server, type="A+AAAA", timeout="1m") as found:
        assert found.names == ["10.0.0.1:80"]


async def test_what_is_known_of_a_silent_family_is_used_for_a_while(
    server: NameServer,
) -> None:
    server.records[PAGES, "A"] = ["10.0.0.1"]
    server.records[PAGES, "AAAA"] = ["fd00::1"]
    async with asking(server, type="A+AAAA", timeout="1m") as found:
        server.silent = {"A"}
        server.records[PAGES, "AAAA"] = ["fd00::2"]
        await found.until_names("10.0.0.1:80", "[fd00::2]:80")


async def test_no_address_of_one_family_says_nothing_while_the_other_is_asked(
    server: NameServer,
) -> None:
    """Else a name with IPv6 alone would begin without an endpoint."""
    server.records[PAGES, "AAAA"] = ["fd00::1"]
    server.silent = {"AAAA"}
    settings = {"type": "A+AAAA", "timeout": "100ms", "first_answer": "300ms"}
    async with asking(server, **settings) as found:
        assert found.finding.answered_s is None
        assert found.finding.no_endpoint("app").code is FaultCode.DNS_TIMEOUT
        server.silent.clear()
        await found.until_names("[fd00::1]:80")


@pytest.mark.parametrize("kind", ["A", "A+AAAA", "SRV"])
async def test_a_name_that_nobody_has_is_not_waited_for(
    server: NameServer, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor are targets of SRV that nobody has: that is an answer."""
    if kind == "SRV":
        server.records[PAGES, "SRV"] = TWO_TARGETS
    async with asking(server, type=kind, first_answer="20s") as found:
        assert found.names == []
        assert found.finding.no_endpoint("app").code is FaultCode.DNS_ERR
    assert "NXDOMAIN" in caplog.text
    assert "no answer within" not in caplog.text


async def test_a_failure_of_the_server_is_waited_for(
    server: NameServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.rcodes["*"] = dns.rcode.SERVFAIL
    async with asking(server, first_answer="50ms"):
        assert "no answer within 0.05 s" in caplog.text


async def test_a_server_that_is_silent_holds_nobody_up(
    server: NameServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.is_silent = True
    async with asking(server, first_answer="50ms") as found:
        assert found.names == []
    assert "no answer within 0.05 s" in caplog.text


async def test_a_server_that_is_silent_is_a_failure_of_its_own_name(
    server: NameServer,
) -> None:
    server.is_silent = True
    async with asking(server, first_answer="50ms", timeout="50ms") as found:
        await found.until(lambda: found.finding.counts["failed"] > 0)
        assert found.finding.no_endpoint("app").code is FaultCode.DNS_TIMEOUT
        server.is_silent = False
        server.records[PAGES, "A"] = ["10.0.0.1"]
        await found.until_names("10.0.0.1:80")
