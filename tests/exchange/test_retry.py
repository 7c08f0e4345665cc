"""When a request is sent again, and when it is not (the table of twelve)."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.proxy import OK, Talk, body_of, header_of, proxied, status_of

BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"


async def fail_once_by_reset(talk: Talk) -> None:
    """The first connection is reset after the request; the others answer."""
    await talk.request()
    if talk.number == 1:
        talk.reset()
        return
    await talk.send(OK)


async def test_a_refused_connection_is_tried_again_for_any_method() -> None:
    """Nothing was sent, so even a POST may go to another endpoint."""
    dead = "127.0.0.1:1"
    async with proxied() as alive:
        live = f"127.0.0.1:{alive.origin.port}"
        async with proxied(endpoints=[dead, live]) as proxy:
            answers = [await proxy.post() for _ in range(4)]
            assert {status_of(answer) for answer in answers} == {200}
            assert len(alive.origin.requests) == 4


async def test_get_is_sent_again_after_a_reset() -> None:
    async with proxied(fail_once_by_reset) as proxy:
        assert status_of(await proxy.get()) == 200
        assert len(proxy.origin.requests) == 2


async def test_post_is_never_sent_again_after_a_reset() -> None:
    """The application may have acted on it."""
    async with proxied(fail_once_by_reset) as proxy:
        answer = await proxy.post()
        assert status_of(answer) == 502
        assert header_of(answer, "x-316-code") == "316-CONN-RESET"
        assert header_of(answer, "x-316-processed") is None
        assert len(proxy.origin.requests) == 1
        assert proxy.faults[0]["retry_skipped_reason"] == "method"


async def test_a_get_survives_an_idle_connection_that_was_just_closed() -> None:
    """The keep-alive race: the origin closes after each answer without a word."""

    async def close_silently(talk: Talk) -> None:
        await talk.request()
        await talk.send(OK)

    async with proxied(close_silently) as proxy:
        for _ in range(20):
            assert status_of(await proxy.get()) == 200


async def test_each_attempt_tells_its_number_and_the_same_trace() -> None:
    async with proxied(fail_once_by_reset) as proxy:
        await proxy.get("/")
        first, second = proxy.origin.requests
        assert header_of(first, "x-316-attempt") == "1"
        assert header_of(second, "x-316-attempt") == "2"
        trace = [str(header_of(r, "traceparent")).split("-") for r in (first, second)]
        assert trace[0][1] == trace[1][1]
        assert trace[0][2] != trace[1][2]


async def test_a_status_is_not_retried_by_default() -> None:
    async def busy(talk: Talk) -> None:
        while await talk.request():
            await talk.send(BUSY)

    async with proxied(busy) as proxy:
        answer = await proxy.get()
        assert status_of(answer) == 503
        assert body_of(answer) == b"busy"
        assert header_of(answer, "x-316-code") == "316-UPSTREAM-5XX"
        assert len(proxy.origin.requests) == 1


async def test_the_last_real_answer_is_the_final_one() -> None:
    """When retries are used up the client gets the application's own words."""

    async def busy(talk: Talk) -> None:
        while await talk.request():
            await talk.send(BUSY)

    retry = {"preset": "idempotent", "max_retries": 2, "backoff": {"base": "1ms"}}
    async with proxied(busy, retry=retry, timeouts={"per_try": "5s"}) as proxy:
        answer = await proxy.get()
        assert status_of(answer) == 503
        assert body_of(answer) == b"busy"
        assert header_of(answer, "x-316-code") == "316-RETRY-EXHAUSTED"
        assert header_of(answer, "x-316-retry") == "exhausted"
        assert [a["status"] for a in proxy.faults[0]["attempts"]] == [503, 503, 503]


async def test_425_is_tried_again_for_any_method() -> None:
    async def too_early_once(talk: Talk) -> None:
        while await talk.request():
            early = len(talk._origin.requests) == 1
            await talk.send(
                b"HTTP/1.1 425 Too Early\r\nContent-Length: 0\r\n\r\n" if early else OK
            )

    async with proxied(too_early_once) as proxy:
        assert status_of(await proxy.post()) == 200
        assert len(proxy.origin.requests) == 2


async def test_a_body_is_sent_again_whole() -> None:
    async def refuse_once(talk: Talk) -> None:
        while await talk.request():
            first = len(talk._origin.requests) == 1
            no = b"HTTP/1.1 503 No\r\nx-316-processed: no\r\nContent-Length: 0\r\n\r\n"
            await talk.send(no if first else OK)

    async with proxied(refuse_once) as proxy:
        body = bytes(range(256)) * 16
        assert status_of(await proxy.post(body)) == 200
        assert [body_of(request) for request in proxy.origin.requests] == [body, body]


async def test_a_body_over_the_buffer_is_not_sent_again_and_says_so() -> None:
    async def refuse(talk: Talk) -> None:
        while await talk.request():
            no = b"HTTP/1.1 503 No\r\nx-316-processed: no\r\nContent-Length: 0\r\n\r\n"
            await talk.send(no)

    async with proxied(refuse, retry={"body_buffer": "1KiB"}) as proxy:
        assert status_of(await proxy.post(b"x" * 5000)) == 503
        assert len(proxy.origin.requests) == 1
        assert proxy.faults[0]["retry_skipped_reason"] == "body_too_large"


async def test_retry_after_beyond_the_limit_is_handed_on_at_once() -> None:
    async def later(talk: Talk) -> None:
        while await talk.request():
            head = b"HTTP/1.1 503 Later\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n"
            await talk.send(head)

    async with proxied(later, retry={"preset": "idempotent"}) as proxy:
        answer = await proxy.get()
        assert header_of(answer, "retry-after") == "30"
        assert proxy.faults[0]["retry_skipped_reason"] == "retry_after_too_long"


async def test_an_empty_budget_stops_retries() -> None:
    async def busy(talk: Talk) -> None:
        while await talk.request():
            await talk.send(BUSY)

    budget = {"ratio": "0%", "min_per_sec": 0, "min_concurrent": 0}
    async with proxied(
        busy, upstream={"retry_budget": budget}, retry={"preset": "idempotent"}
    ) as proxy:
        answer = await proxy.get()
        assert header_of(answer, "x-316-code") == "316-RETRY-BUDGET"
        assert len(proxy.origin.requests) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_per_try_timeout_is_retried_only_if_idempotent(method: str) -> None:
    async def stall_once(talk: Talk) -> None:
        while await talk.request():
            if len(talk._origin.requests) > 1:
                await talk.send(OK)
            else:
                await asyncio.Event().wait()

    async with proxied(
        stall_once,
        retry={"preset": "idempotent"},
        timeouts={"request": "5s", "per_try": "50ms"},
    ) as proxy:
        answer = await proxy.get(method=method)
        assert status_of(answer) == (200 if method == "GET" else 504)
        if method == "POST":
            assert header_of(answer, "x-316-code") == "316-TIMEOUT-TRY"
            assert proxy.faults[0]["timeout_kind"] == "per_try"


async def test_a_refusal_of_this_proxy_is_not_tried_again() -> None:
    """An open circuit answers at once, in its own name."""
    breaker = {"min_requests": 1, "open": "1h", "open_max": "1h"}
    retry = {"preset": "idempotent"}
    async with proxied(
        endpoints=["127.0.0.1:1"], circuit_breaker=breaker, retry=retry
    ) as proxy:
        await proxy.get()
        answer = await proxy.get()
        assert header_of(answer, "x-316-code") == "316-CIRCUIT-OPEN"
        assert len(proxy.faults[0]["attempts"]) == 1


async def test_slow_answers_are_no_connection_failures() -> None:
    """Five timeouts in a row are not five lost connections."""

    async def never(talk: Talk) -> None:
        await talk.request()
        await asyncio.Event().wait()

    async with proxied(never, timeouts={"per_try": "10ms"}) as proxy:
        for _ in range(6):
            await proxy.post()
        codes = {record["code"] for record in proxy.faults}
        assert codes == {"316-TIMEOUT-TRY"}
