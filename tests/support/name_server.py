"""A name server on loopback, by UDP and TCP, that answers what a test says."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LENGTH_BYTES = 2  # Before each message by TCP (RFC 1035, 4.2.2).


class NameServer:
    """Answers by name and type.

    Attributes:
        records: Texts of the records, by name (with the last dot) and type.
        ttl_s: Of all of them.
        rcodes: Answer so instead, by type; "*": whatever the type.
        is_silent: Answer nothing.
        silent: Types, or names, that get no answer.
        is_truncating: Answer by UDP that there is more by TCP.
        beside: Records to add to each answer, beside it: name, type, text.
        asked: How often, by type and transport.
    """

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.ttl_s = 0
        self.rcodes: dict[str, dns.rcode.Rcode] = {}
        self.is_silent = False
        self.silent: set[str] = set()
        self.is_truncating = False
        self.beside: list[tuple[str, str, str]] = []
        self.asked: Counter[tuple[str, str]] = Counter()
        self.port = 0
        self._changed = asyncio.Event()

    async def until_asked(self, kind: str, more: int = 1) -> None:
        """Wait until it was asked so many times more by UDP."""
        wanted = self.asked[kind, "udp"] + more
        while self.asked[kind, "udp"] < wanted:
            self._changed.clear()
            await self._changed.wait()

    def answer(self, raw: bytes, transport: str) -> bytes | None:
        query = dns.message.from_wire(raw)
        (question,) = query.question
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked[kind, transport] += 1
        self._changed.set()
        name = question.name.to_text()
        if self.is_silent or self.silent & {kind, name}:
            return None
        response = dns.message.make_response(query)
        rcode = self.rcodes.get(kind, self.rcodes.get("*"))
        while alias := self.records.get((name, "CNAME")):
            response.answer.append(
                dns.rrset.from_text(name, self.ttl_s, "IN", "CNAME", *alias)
            )
            (name,) = alias
        texts = self.records.get((name, kind))
        is_known = any(known == name for known, _ in self.records)
        if rcode is not None:
            response.set_rcode(rcode)
        elif not is_known:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif self.is_truncating and transport == "udp":
            response.flags |= dns.flags.TC
        elif texts:
            response.answer.append(
                dns.rrset.from_text(name, self.ttl_s, "IN", kind, *texts)
            )
            for where, other, text in self.beside:
                response.additional.append(
                    dns.rrset.from_text(where, self.ttl_s, "IN", other, text)
                )
        return response.to_wire()

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
            answer = self.answer(await reader.readexactly(length), "tcp")
            if answer is not None:
                writer.write(len(answer).to_bytes(_LENGTH_BYTES, "big") + answer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._server.answer(data, "udp")
        if answer is not None:
            self._transport.sendto(answer, addr)


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    """Run one, on the same port of UDP and TCP."""
    found = NameServer()
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(found), local_addr=("127.0.0.1", found.port)
    )
    try:
        yield found
    finally:
        transport.close()
        server.close()
        await server.wait_closed()
