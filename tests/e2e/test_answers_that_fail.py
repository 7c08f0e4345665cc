"""Which request may be sent again: of twelve cases, those with an answer.

Cases 7 to 12; the others are in `test_keep_alive_race.py`. What proves a case is
what the origin saw.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.support.observe import fault_of, faults_of, metric_of
from tests.support.proxy import OK, Talk, body_of, header_of, proxied, status_of
from tests.support.scripts import DEAD, QUICK, answering, ask, empty, let_go

BOTH = pytest.mark.parametrize("method", ["GET", "POST"])


# 7: 425 says itself that nothing was done (RFC 8470, 5.2).


@BOTH
async def test_7_too_early_is_tried_again(method: str) -> None:
    async with proxied(answering(empty("425 Too Early"), OK)) as proxy:
        assert status_of(await ask(proxy, method)) == 200
        assert len(proxy.origin.requests) == 2


@BOTH
async def test_7_but_only_once(method: str) -> None:
    async with proxied(answering(empty("425 Too Early"))) as proxy:
        assert status_of(await ask(proxy, method)) == 425
        assert len(proxy.origin.requests) == 2


# 8: another sidecar says that the request went nowhere.


@BOTH
async def test_8_a_peer_that_did_nothing_is_left_for_another(method: str) -> None:
    async with (
        proxied() as alive,
        proxied(endpoints=[DEAD], retry={"preset": "off"}) as peer,
    ):
        endpoints = [f"127.0.0.1:{port}" for port in (peer.port, alive.origin.port)]
        async with proxied(endpoints=endpoints) as proxy:
            for _ in range(4):
                assert status_of(await ask(proxy, method)) == 200
            assert len(alive.origin.requests) == 4
            refused = await faults_of(peer)
            assert {r["code"] for r in refused} == {"316-CONN-REFUSED"}


@BOTH
async def test_8_what_a_peer_last_said_is_the_answer(method: str) -> None:
    async with proxied(endpoints=[DEAD], retry={"preset": "off"}) as peer:
        endpoints = [f"127.0.0.1:{peer.port}"]
        retry = {"max_retries": 1, "backoff": QUICK}
        async with proxied(endpoints=endpoints, retry=retry) as proxy:
            answer = await ask(proxy, method)
            assert status_of(answer) == 502
            assert b"316-CONN-REFUSED" in body_of(answer)
            assert len(await faults_of(peer)) == 2
            assert len((await fault_of(proxy))["attempts"]) == 2


# 9: 408 as the first bytes on a reused connection is word of an idle-close.

LATE = empty("408 Request Timeout", "Connection: close")


@BOTH
async def test_9_a_408_on_a_reused_connection_is_tried_again(method: str) -> None:
    async with proxied(answering(OK, LATE, OK)) as proxy:
        for _ in range(2):
            assert status_of(await ask(proxy, method)) == 200
        assert len(proxy.origin.requests) == 3


@BOTH
async def test_9_a_408_on_a_fresh_connection_is_the_answer(method: str) -> None:
    async with proxied(answering(LATE)) as proxy:
        assert status_of(await ask(proxy, method)) == 408
        assert len(proxy.origin.requests) == 1


@BOTH
async def test_9_a_408_that_nobody_asked_for_is_nobodys_answer(method: str) -> None:
    said = asyncio.Event()

    async def close_idle(talk: Talk) -> None:
        await talk.request()
        await talk.send(OK)
        if talk.number == 1:
            await talk.send(LATE)
            said.set()
        else:
            await talk.request()

    async with proxied(close_idle) as proxy:
        assert status_of(await ask(proxy, method)) == 200
        await said.wait()
        assert status_of(await ask(proxy, method)) == 200
        assert len(proxy.origin.requests) == 2


# 10: the limit of one try. The application may still be at work.


async def stall_first(talk: Talk) -> None:
    while await talk.request():
        if len(talk._origin.requests) == 1:
            await asyncio.Event().wait()
        await talk.send(OK)


TRY_LIMIT = {"request": "5s", "per_try": "100ms"}


async def test_10_get_is_tried_again_where_the_route_wants_it() -> None:
    retry = {"preset": "idempotent", "backoff": QUICK}
    async with proxied(stall_first, retry=retry, timeouts=TRY_LIMIT) as proxy:
        assert status_of(await proxy.get()) == 200
        assert len(proxy.origin.requests) == 2


@pytest.mark.parametrize(
    ("method", "preset"), [("GET", "safe"), ("POST", "safe"), ("POST", "idempotent")]
)
async def test_10_else_its_limit_is_the_end(method: str, preset: str) -> None:
    retry = {"preset": preset}
    async with proxied(stall_first, retry=retry, timeouts=TRY_LIMIT) as proxy:
        answer = await ask(proxy, method)
        assert status_of(answer) == 504
        assert header_of(answer, "x-316-code") == "316-TIMEOUT-TRY"
        assert len(proxy.origin.requests) == 1
        assert (await fault_of(proxy))["timeout_kind"] == "per_try"
        assert await metric_of(proxy, "sidecar_timeouts_total", kind="per_try") == 1


# 11: an answer of the application, by the route's list.


@pytest.mark.parametrize("status", ["500 No", "502 No", "503 No", "429 Slow"])
@BOTH
async def test_11_no_status_is_tried_again_by_default(method: str, status: str) -> None:
    async with proxied(answering(empty(status), OK)) as proxy:
        assert status_of(await ask(proxy, method)) == int(status[:3])
        assert len(proxy.origin.requests) == 1


@pytest.mark.parametrize(
    ("retry", "status"),
    [
        ({"preset": "idempotent"}, "503 No"),
        ({"preset": "custom", "codes": [429]}, "429 Slow"),
        ({"preset": "custom", "on": ["5xx"]}, "500 No"),
    ],
)
@BOTH
async def test_11_a_listed_status_is_if_the_method_is_idempotent(
    method: str, retry: dict[str, object], status: str
) -> None:
    retry = {**retry, "backoff": QUICK}
    async with proxied(answering(empty(status), OK), retry=retry) as proxy:
        is_retried = method == "GET"
        answer = await ask(proxy, method)
        assert status_of(answer) == (200 if is_retried else int(status[:3]))
        assert len(proxy.origin.requests) == 1 + is_retried


# 12: the response had begun. What is missing must be missed by the client, too.


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize(
    ("framing", "part"),
    [("Content-Length: 10", b"abc"), ("Transfer-Encoding: chunked", b"3\r\nabc\r\n")],
)
@BOTH
async def test_12_a_response_that_breaks_off_is_passed_on_as_broken(
    method: str, framing: str, part: bytes, end: str
) -> None:
    head = f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode()
    seen = asyncio.Event()

    async def break_off(talk: Talk) -> None:
        await talk.request()
        await talk.send(head + part)
        await seen.wait()
        let_go(talk, end)

    async with proxied(break_off) as proxy:
        reader, writer = await proxy.connect()
        length = "" if method == "GET" else "Content-Length: 0\r\n"
        writer.write(f"{method} / HTTP/1.1\r\nHost: a\r\n{length}\r\n".encode())
        begun = await reader.readuntil(b"abc")
        seen.set()
        rest = await rest_of(reader)
        assert status_of(begun) == 200
        assert rest in (b"", b"\r\n")
        record = await fault_of(proxy)
        assert record["code"] == "316-DATA-TRUNCATED"
        assert record["processed"] == "yes"
        assert len(proxy.origin.requests) == len(record["attempts"]) == 1
        writer.close()


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the end, be it an orderly one or a reset."""
    rest = b""
    try:
        while data := await reader.read(1000):
            rest += data
    except ConnectionResetError:
        pass
    return rest


# An answer that comes before all of the request was sent.


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_an_early_answer_is_not_lost_with_its_connection(end: str) -> None:
    """After a failed write the answer may be there already: read first."""
    no = b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 4\r\n\r\nmine"

    async def refuse_at_the_head(talk: Talk) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await talk.send(no)
        let_go(talk, end)

    async with proxied(refuse_at_the_head, circuit_breaker="off") as proxy:
        for _ in range(20):
            answer = await proxy.post(bytes(4_000_000))
            assert status_of(answer) == 413
            assert body_of(answer) == b"mine"
        assert proxy.origin.connections == 20
        assert await faults_of(proxy) == []


@pytest.mark.parametrize(("version", "is_told"), [("1.1", True), ("1.0", False)])
async def test_hints_go_to_clients_that_know_of_them(
    version: str, *, is_told: bool
) -> None:
    """HTTP/1.0 has no interim responses (RFC 9110, 15.2)."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    async with proxied(answering(hints + OK)) as proxy:
        answer = await proxy.ask(
            f"GET / HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
        )
        assert (b" 103 Early Hints\r\nLink: </a.css>" in answer) is is_told
        assert body_of(answer).endswith(b"ok")
