"""Each failure behind the proxy has one name, the same wherever it is told.

In `x-316-code`, in `Proxy-Status`, in the body, in /faults and in /metrics.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.observe import fault_of, faults_of, metric_of
from tests.support.proxy import (
    OK,
    Proxy,
    Talk,
    body_of,
    header_of,
    proxied,
    status_of,
)
from tests.support.scripts import DEAD, hang_up, reset, saying, stall

if TYPE_CHECKING:
    from tests.support.scripts import Script

ONCE: dict[str, Any] = {"retry": {"preset": "off"}}


async def is_named(proxy: Proxy, answer: bytes, code: str, status: int) -> None:
    """Assert that everybody is told the same of the newest failure."""
    assert status_of(answer) == status
    assert header_of(answer, "x-316-code") == code
    assert f'details="{code}"' in str(header_of(answer, "proxy-status"))
    record = await fault_of(proxy)
    assert record["code"] == code
    assert record["status"] == status
    assert record["fault_id"] == header_of(answer, "x-316-fault-id")
    assert await metric_of(proxy, "app_316_fault_total", error_code=code) == 1


# The connection.


async def test_refused() -> None:
    async with proxied(endpoints=[DEAD], **ONCE) as proxy:
        await is_named(proxy, await proxy.get(), "316-CONN-REFUSED", 502)
        assert (await fault_of(proxy))["phase"] == "connect"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (reset, "316-CONN-RESET"),
        (hang_up, "316-CONN-TERMINATED"),
        (saying(b"HTTP/1.1 200 O"), "316-CONN-TERMINATED"),
    ],
    ids=["reset", "closed", "closed in the head"],
)
async def test_a_connection_that_ends_too_soon(script: Script, code: str) -> None:
    async with proxied(script, **ONCE) as proxy:
        await is_named(proxy, await proxy.get(), code, 502)


@pytest.mark.parametrize(
    ("timeouts", "code", "kind"),
    [
        ({"request": "100ms"}, "316-TIMEOUT-ERR", "request"),
        ({"per_try": "100ms"}, "316-TIMEOUT-TRY", "per_try"),
    ],
)
async def test_a_stall(timeouts: dict[str, str], code: str, kind: str) -> None:
    async with proxied(stall, timeouts=timeouts, **ONCE) as proxy:
        await is_named(proxy, await proxy.get(), code, 504)
        assert (await fault_of(proxy))["timeout_kind"] == kind
        assert await metric_of(proxy, "sidecar_timeouts_total", kind=kind) == 1


@pytest.mark.parametrize(
    ("timeouts", "code"),
    [
        ({"stream_idle": "100ms"}, "316-TIMEOUT-IDLE"),
        ({"per_try_idle": "100ms"}, "316-TIMEOUT-READ"),
        ({"request": "100ms"}, "316-TIMEOUT-ERR"),
    ],
)
async def test_a_stall_within_a_body_ends_it_unfinished(
    timeouts: dict[str, str], code: str
) -> None:
    async def half(talk: Talk) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await asyncio.Event().wait()

    async with proxied(half, timeouts=timeouts) as proxy:
        answer = await proxy.get()
        assert body_of(answer) == b"abc"
        assert (await fault_of(proxy))["code"] == code


# What the upstream says.


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "316-PROTO-UPSTREAM"),
        (b"\x15\x03\x03\x00\x02\x02\x0a\r\n\r\n", "316-PROTO-UPSTREAM"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "316-PROTO-UPSTREAM"),
        (b"HTTP/1.1 200 OK\r\nA b\r\n\r\n", "316-PROTO-UPSTREAM"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "316-PROTO-UPSTREAM"),
        (b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", "316-PROTO-UPSTREAM"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
            "316-PROTO-UPSTREAM",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "316-PROTO-UPSTREAM",
        ),
        (
            b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
            "316-DATA-RESP-HEADER-SIZE",
        ),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "316-PROTO-UPSTREAM"),
    ],
    ids=lambda value: value[:32].decode("latin-1") if isinstance(value, bytes) else "",
)
async def test_an_answer_that_is_not_http(raw: bytes, code: str) -> None:
    async with proxied(saying(raw), **ONCE) as proxy:
        await is_named(proxy, await proxy.get(), code, 502)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"Content-Length: 9\r\n\r\nabc", "316-DATA-TRUNCATED"),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc", "316-DATA-TRUNCATED"),
        (
            b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n",
            "316-DATA-TRANSFER-CODING",
        ),
        (
            b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
            "316-DATA-TRANSFER-CODING",
        ),
    ],
    ids=["length", "chunk", "bad size", "chunk too long"],
)
async def test_a_body_that_breaks_off_never_looks_whole(raw: bytes, code: str) -> None:
    async with proxied(saying(b"HTTP/1.1 200 OK\r\n" + raw)) as proxy:
        answer = await proxy.get()
        assert not answer.endswith(b"0\r\n\r\n")
        assert len(body_of(answer)) < 9
        assert (await fault_of(proxy))["code"] == code
        assert len(proxy.origin.requests) == 1


async def test_an_application_names_its_own_failure() -> None:
    raw = (
        b"HTTP/1.1 409 No\r\nx-316-code: 316-ORDER-SUBMIT-ERR\r\n"
        b"Content-Length: 3\r\n\r\nwhy"
    )
    async with proxied(saying(raw)) as proxy:
        answer = await proxy.get()
        await is_named(proxy, answer, "316-ORDER-SUBMIT-ERR", 409)
        assert body_of(answer) == b"why"
        assert answer.count(b"x-316-code") == 1


NO_CODES = ["nonsense", "316-lower", "316-", "316-" + "A" * 99]


@pytest.mark.parametrize("value", NO_CODES)
async def test_a_name_that_is_no_code_is_ignored(value: str) -> None:
    raw = f"HTTP/1.1 200 OK\r\nx-316-code: {value}\r\nContent-Length: 0\r\n\r\n"
    async with proxied(saying(raw.encode())) as proxy:
        assert status_of(await proxy.get()) == 200
        assert await faults_of(proxy) == []


@pytest.mark.parametrize("value", NO_CODES)
async def test_a_name_that_is_no_code_is_counted(value: str) -> None:
    raw = f"HTTP/1.1 200 OK\r\nx-316-code: {value}\r\nContent-Length: 0\r\n\r\n"
    async with proxied(saying(raw.encode())) as proxy:
        await proxy.get()
        assert await metric_of(proxy, "sidecar_malformed_codes_total") == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
async def test_a_5xx_of_the_application_is_tagged_and_untouched(status: int) -> None:
    body = b'{"error": "mine"}'
    raw = b"HTTP/1.1 %d Mine\r\nContent-Length: %d\r\n\r\n%b" % (
        *(status, len(body)),
        body,
    )
    async with proxied(saying(raw)) as proxy:
        answer = await proxy.get()
        await is_named(proxy, answer, "316-UPSTREAM-5XX", status)
        assert body_of(answer) == body
        told = str(header_of(answer, "proxy-status"))
        assert f"received-status={status}" in told
        assert "error=" not in told
        assert header_of(answer, "x-316-processed") is None


# What the proxy itself refuses.


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/html;q=0.1, text/plain", "text/plain; charset=utf-8"),
        ("image/png", "application/problem+json"),
    ],
)
async def test_no_route_is_told_as_the_client_reads(accept: str, kind: str) -> None:
    async with proxied(hosts=["elsewhere.test"]) as proxy:
        answer = await proxy.get("/<b>", f"Accept: {accept}")
        await is_named(proxy, answer, "316-ROUTE-NOT-FOUND", 404)
        assert header_of(answer, "content-type") == kind
        assert b"316-ROUTE-NOT-FOUND" in body_of(answer)
        if kind.startswith("text/html"):
            assert b"<b>" not in body_of(answer)
        if kind.endswith("json"):
            problem = json.loads(body_of(answer))
            assert problem["status"] == 404
            assert problem["type"].startswith("https://")
            assert problem["title"]


async def test_an_open_circuit_says_when_to_come_again() -> None:
    breaker = {"min_requests": 2, "open": "1h", "open_max": "1h"}
    async with proxied(
        saying(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
        circuit_breaker=breaker,
    ) as proxy:
        for _ in range(2):
            await proxy.get()
        answer = await proxy.post()
        await is_named(proxy, answer, "316-CIRCUIT-OPEN", 503)
        assert int(str(header_of(answer, "retry-after"))) > 60
        assert header_of(answer, "x-316-processed") == "no"
        assert len(proxy.origin.requests) == 2


@pytest.mark.parametrize(
    "pool", [{"max_connections": 1, "max_pending": 0}, {"max_requests": 1}]
)
async def test_an_exhausted_pool(pool: dict[str, int]) -> None:
    served = asyncio.Event()

    async def slow(talk: Talk) -> None:
        while await talk.request():
            await served.wait()
            await talk.send(OK)

    async with proxied(slow, upstream={"pool": pool}) as proxy:
        first = asyncio.ensure_future(proxy.get())
        while not proxy.origin.requests:
            await asyncio.sleep(0)
        answer = await proxy.post()
        await is_named(proxy, answer, "316-POOL-EXHAUSTED", 503)
        assert header_of(answer, "x-316-processed") == "no"
        assert header_of(answer, "retry-after")
        served.set()
        assert status_of(await first) == 200
        assert status_of(await proxy.post()) == 200


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_over_the_limit(framing: str) -> None:
    """What is left of it is not the next request, whatever it looks like."""
    body = b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n" * 50
    if framing == "length":
        head, sent = b"Content-Length: %d" % len(body), body
    else:
        head = b"Transfer-Encoding: chunked"
        sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    last = b"GET /next HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"

    async with proxied(read_on, body_max="1KiB") as proxy:
        raw = b"POST / HTTP/1.1\r\nHost: test\r\n%b\r\n\r\n%b%b" % (head, sent, last)
        answer = await proxy.ask(raw)
        await is_named(proxy, answer, "316-DATA-REQ-SIZE", 413)
        assert not any(b"smuggled" in seen for seen in proxy.origin.requests)


async def read_on(talk: Talk) -> None:
    """Answer what has no body; of what has one, its end never comes."""
    while head := await talk.reader.readuntil(b"\r\n\r\n"):
        talk._origin.requests.append(head)
        if head.startswith(b"GET"):
            await talk.send(OK)


async def test_a_deadline_that_is_spent_is_not_even_tried() -> None:
    async with proxied(stall) as proxy:
        answer = await proxy.get("/", "x-316-deadline-ms: 0")
        await is_named(proxy, answer, "316-DEADLINE-EXPIRED", 504)
        assert header_of(answer, "x-316-processed") == "no"
        assert proxy.origin.connections == 0


async def test_a_deadline_that_is_spent_on_the_way() -> None:
    async with proxied(stall) as proxy:
        answer = await proxy.get("/", "x-316-deadline-ms: 100")
        await is_named(proxy, answer, "316-DEADLINE-EXPIRED", 504)
        assert header_of(answer, "x-316-processed") is None
        assert len(proxy.origin.requests) == 1


async def test_a_request_that_comes_back_is_a_loop() -> None:
    """The proxy stands behind itself, as wrong interception rules put it."""
    async with proxied() as outer:
        via = header_of(await _seen(outer), "via")
        answer = await outer.get("/", f"Via: {via}")
        await is_named(outer, answer, "316-PROXY-LOOP", 502)


async def _seen(proxy: Proxy) -> bytes:
    await proxy.get()
    return proxy.origin.requests[-1]


@pytest.mark.parametrize(
    ("route", "code", "status"),
    [
        ({"endpoints": [DEAD]}, "316-CONN-REFUSED", "14"),
        ({"hosts": ["elsewhere.test"]}, "316-ROUTE-NOT-FOUND", "12"),
        ({"script": stall, "timeouts": {"request": "50ms"}}, "316-TIMEOUT-ERR", "4"),
        ({"script": saying(b"nonsense\r\n\r\n")}, "316-PROTO-UPSTREAM", "13"),
    ],
    ids=["refused", "no route", "timeout", "nonsense"],
)
async def test_grpc_gets_a_trailers_only_answer(
    route: dict[str, Any], code: str, status: str
) -> None:
    async with proxied(**route, **ONCE) as proxy:
        answer = await proxy.post(b"", "/a.B/C", "Content-Type: application/grpc+proto")
        await is_named(proxy, answer, code, 200)
        assert str(header_of(answer, "content-type")).startswith("application/grpc")
        assert header_of(answer, "grpc-status") == status
        assert header_of(answer, "grpc-message") == code
        assert body_of(answer) == b""
