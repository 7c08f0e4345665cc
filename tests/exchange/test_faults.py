"""Each failure is named: code, status, headers, body, record, metric."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.support.proxy import (
    OK,
    Proxy,
    Talk,
    always_ok,
    body_of,
    header_of,
    proxied,
    status_of,
)

DEAD = ["127.0.0.1:1"]
NO_RETRY = {"preset": "off"}


async def test_nothing_listens() -> None:
    async with proxied(endpoints=DEAD, retry=NO_RETRY) as proxy:
        answer = await proxy.get()
        assert status_of(answer) == 502
        assert header_of(answer, "x-316-code") == "316-CONN-REFUSED"
        assert header_of(answer, "x-316-processed") == "no"
        assert header_of(answer, "proxy-status") == (
            'sidecar; error=connection_refused; details="316-CONN-REFUSED"'
        )
        problem = json.loads(body_of(answer))
        assert problem["code"] == "316-CONN-REFUSED"
        assert problem["instance"].endswith(str(header_of(answer, "x-316-fault-id")))
        assert problem["fix"]


async def test_retries_of_what_was_never_processed_are_exhausted() -> None:
    async with proxied(endpoints=DEAD) as proxy:
        answer = await proxy.post()
        assert header_of(answer, "x-316-code") == "316-RETRY-EXHAUSTED"
        codes = [attempt["code"] for attempt in proxy.faults[0]["attempts"]]
        assert codes == ["316-CONN-REFUSED"] * 3


async def test_no_route() -> None:
    async with proxied(hosts=["elsewhere.test"]) as proxy:
        answer = await proxy.get("/x")
        assert status_of(answer) == 404
        assert header_of(answer, "x-316-code") == "316-ROUTE-NOT-FOUND"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/html,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("*/*", "application/problem+json"),
    ],
)
async def test_a_fault_speaks_as_the_client_likes(accept: str, kind: str) -> None:
    async with proxied(endpoints=DEAD, retry=NO_RETRY) as proxy:
        answer = await proxy.get("/", f"Accept: {accept}")
        assert header_of(answer, "content-type") == kind
        assert b"316-CONN-REFUSED" in body_of(answer)


async def test_grpc_gets_a_trailers_only_answer() -> None:
    async with proxied(endpoints=DEAD, retry=NO_RETRY) as proxy:
        answer = await proxy.get("/", "Content-Type: application/grpc")
        assert status_of(answer) == 200
        assert header_of(answer, "grpc-status") == "14"
        assert header_of(answer, "grpc-message") == "316-CONN-REFUSED"


async def test_at_the_edge_addresses_and_fixes_stay_inside() -> None:
    top = {"faults": {"expose": "minimal"}}
    async with proxied(endpoints=DEAD, retry=NO_RETRY, top=top) as proxy:
        answer = await proxy.get()
        assert b"127.0.0.1" not in body_of(answer)
        assert "fix" not in json.loads(body_of(answer))


async def never(talk: Talk) -> None:
    await talk.request()
    await asyncio.Event().wait()


async def test_the_request_limit() -> None:
    async with proxied(never, timeouts={"request": "50ms"}) as proxy:
        answer = await proxy.get()
        assert status_of(answer) == 504
        assert header_of(answer, "x-316-code") == "316-TIMEOUT-ERR"
        assert proxy.faults[0]["timeout_kind"] == "request"


async def test_the_callers_deadline() -> None:
    async with proxied(never) as proxy:
        answer = await proxy.get("/", "x-316-deadline-ms: 50")
        assert header_of(answer, "x-316-code") == "316-DEADLINE-EXPIRED"
        spent = await proxy.get("/", "x-316-deadline-ms: 0")
        assert header_of(spent, "x-316-processed") == "no"
        assert len(proxy.origin.requests) == 1


async def test_what_is_left_of_the_deadline_is_handed_on() -> None:
    async with proxied() as proxy:
        await proxy.get("/", "x-316-deadline-ms: 5000")
        left = header_of(proxy.origin.requests[0], "x-316-deadline-ms")
        assert 0 < int(str(left)) <= 5000


async def test_a_bad_control_header() -> None:
    async with proxied() as proxy:
        answer = await proxy.get("/", "x-316-deadline-ms: soon")
        assert status_of(answer) == 400
        assert header_of(answer, "x-316-code") == "316-PROTO-CONTROL-HEADER"


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (b"garbage\r\n\r\n", "316-PROTO-UPSTREAM"),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "316-PROTO-UPSTREAM"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n",
            "316-PROTO-UPSTREAM",
        ),
        (
            b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
            "316-DATA-RESP-HEADER-SIZE",
        ),
    ],
)
async def test_an_answer_that_is_not_http(response: bytes, code: str) -> None:
    async def lie(talk: Talk) -> None:
        await talk.request()
        await talk.send(response)

    async with proxied(lie) as proxy:
        answer = await proxy.get()
        assert status_of(answer) == 502
        assert header_of(answer, "x-316-code") == code


async def test_more_bytes_than_declared_never_reach_the_next_response() -> None:
    """Response splitting: such a connection is not used again."""

    async def split(talk: Talk) -> None:
        while await talk.request():
            await talk.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    async with proxied(split) as proxy:
        for _ in range(3):
            assert body_of(await proxy.get()) == b"ok"


async def test_an_application_names_its_own_failure() -> None:
    async def named(talk: Talk) -> None:
        await talk.request()
        await talk.send(
            b"HTTP/1.1 409 No\r\nx-316-code: 316-ORDER-SUBMIT-ERR\r\n"
            b"Content-Length: 3\r\n\r\nwhy"
        )

    async with proxied(named) as proxy:
        answer = await proxy.get()
        assert status_of(answer) == 409
        assert body_of(answer) == b"why"
        assert header_of(answer, "x-316-code") == "316-ORDER-SUBMIT-ERR"
        assert proxy.faults[0]["layer"] == "application"
        assert proxy.faults[0]["origin"] == "upstream"


async def failing(talk: Talk) -> None:
    while await talk.request():
        await talk.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")


async def test_an_open_circuit_refuses_without_touching_the_upstream() -> None:
    breaker = {"min_requests": 3, "open": "1h", "open_max": "1h"}
    async with proxied(failing, circuit_breaker=breaker, retry=NO_RETRY) as proxy:
        for _ in range(3):
            await proxy.get()
        seen = len(proxy.origin.requests)
        answer = await proxy.get()
        assert status_of(answer) == 503
        assert header_of(answer, "x-316-code") == "316-CIRCUIT-OPEN"
        assert int(str(header_of(answer, "retry-after"))) > 60
        assert header_of(answer, "x-316-processed") == "no"
        assert len(proxy.origin.requests) == seen


async def test_a_full_pool_with_no_place_to_wait() -> None:
    pool = {"max_connections": 1, "max_pending": 0}
    async with proxied(never, upstream={"pool": pool}, retry=NO_RETRY) as proxy:
        first = asyncio.ensure_future(proxy.get())
        while not proxy.origin.requests:
            await asyncio.sleep(0)
        answer = await proxy.get()
        assert header_of(answer, "x-316-code") == "316-POOL-EXHAUSTED"
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_who_waits_for_a_connection_gets_it() -> None:
    async with proxied(always_ok, upstream={"pool": {"max_connections": 1}}) as proxy:
        answers = await asyncio.gather(*(proxy.get() for _ in range(20)))
        assert {status_of(answer) for answer in answers} == {200}
        assert proxy.origin.connections <= 2


async def test_a_slow_client_gets_408() -> None:
    top = {"limits": {"request_headers": "50ms"}}
    async with proxied(top=top) as proxy:
        answer = await proxy.ask(b"GET / HTTP/1.1\r\nHos")
        assert status_of(answer) == 408
        assert header_of(answer, "x-316-code") == "316-CLIENT-SLOW"


async def test_one_connection_too_many() -> None:
    top = {"limits": {"connections": 1}}
    async with proxied(top=top) as proxy:
        _, writer = await proxy.connect()
        while not proxy.app.acceptors[0].connections:
            await asyncio.sleep(0)
        answer = await proxy.get()
        assert status_of(answer) == 503
        assert header_of(answer, "x-316-code") == "316-OVERLOAD"
        writer.close()


def leftovers(proxy: Proxy) -> list[int]:
    """Return what a leak would leave: slots, busy connections, retries."""
    upstream = proxy.app.runtime.upstreams["app"]
    return [
        upstream.requests.count,
        upstream.pool.pending,
        *(endpoint.busy for endpoint in upstream.pool.endpoints),
        *(route.in_flight for route in proxy.app.runtime.routes),
    ]


async def test_nothing_is_left_behind_by_failures() -> None:
    async def all_ways(talk: Talk) -> None:
        while await talk.request():
            match len(talk._origin.requests) % 4:
                case 0:
                    talk.reset()
                    return
                case 1:
                    await talk.send(OK)
                case 2:
                    await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
                    return
                case _:
                    await talk.send(b"nonsense\r\n\r\n")
                    return

    async with proxied(
        all_ways, timeouts={"request": "2s"}, circuit_breaker="off"
    ) as proxy:
        await asyncio.gather(*(proxy.get() for _ in range(40)))
        await asyncio.gather(*(proxy.post() for _ in range(40)))
        assert set(leftovers(proxy)) == {0}


def stop_reading(writer: asyncio.StreamWriter) -> None:
    transport: Any = writer.transport  # Of a socket, so it can be paused, too.
    transport.pause_reading()


async def test_a_client_that_does_not_read_holds_nothing_for_long() -> None:
    async def flood(talk: Talk) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await talk.send(b"x" * 65536)

    async with proxied(flood, timeouts={"downstream_write": "100ms"}) as proxy:
        _, writer = await proxy.connect()
        stop_reading(writer)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        while not proxy.faults:
            await asyncio.sleep(0.01)
        assert proxy.faults[0]["code"] == "316-CLIENT-SLOW"
        assert proxy.faults[0]["timeout_kind"] == "downstream_write"
        assert set(leftovers(proxy)) == {0}
        writer.transport.abort()


async def test_an_upstream_that_does_not_read_is_told_from_a_slow_client() -> None:
    async def deaf(talk: Talk) -> None:
        stop_reading(talk.writer)
        await asyncio.Event().wait()

    async with proxied(deaf, timeouts={"stream_idle": "100ms"}) as proxy:
        answer = await proxy.post(b"x" * 16_000_000)
        assert header_of(answer, "x-316-code") == "316-TIMEOUT-WRITE"
