"""The limits of retries: count, time, budget, body, client, and other hops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.exchange.again import (
    IDEMPOTENT,
    PEER,
    REFUSAL,
    TWO,
    answer,
    ask,
    go_on,
)
from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire


def test_the_last_real_answer_is_the_final_one(make: MakeWire) -> None:
    """In the application's own words, and upper hops are told to leave it."""
    wire = make(retry=IDEMPOTENT)
    told = wire.ask(get(), answer(503), answer(503), answer(503))
    assert status_of(told) == 503
    assert body_of(told) == b"busy"
    assert header_of(told, "x-316-code") == "316-RETRY-EXHAUSTED"
    assert header_of(told, "x-316-retry") == "exhausted"
    assert header_of(told, "proxy-status") == (
        'sidecar; received-status=503; details="316-RETRY-EXHAUSTED"'
    )
    assert [a["status"] for a in wire.faults[0]["attempts"]] == [503, 503, 503]


def test_tries_that_never_reached_anything_are_told_as_unprocessed(
    make: MakeWire,
) -> None:
    wire = make(retry={"backoff": {"base": "0s"}})
    wire.refuse()
    told = wire.ask(post())
    assert header_of(told, "x-316-code") == "316-RETRY-EXHAUSTED"
    assert header_of(told, "x-316-retry") == "exhausted"
    assert header_of(told, "x-316-processed") == "no"
    codes = [a["code"] for a in wire.faults[0]["attempts"]]
    assert codes == ["316-CONN-REFUSED"] * 3


def test_one_try_that_may_have_been_processed_is_enough(make: MakeWire) -> None:
    """The last was refused, the first was not: nobody can say that nothing was done."""
    wire = make(retry={"max_retries": 1, "backoff": {"base": "0s"}})
    client = ask(wire, get())
    wire.refuse()
    wire.origin().leave()
    assert header_of(client.take(), "x-316-processed") is None


def test_an_empty_budget_stops_retries(make: MakeWire) -> None:
    budget = {"ratio": "0%", "min_per_sec": 0, "min_concurrent": 0}
    wire = make(upstream={"retry_budget": budget}, retry=IDEMPOTENT)
    told = wire.ask(get(), answer(503))
    assert header_of(told, "x-316-code") == "316-RETRY-BUDGET"
    assert body_of(told) == b"busy"
    assert wire.faults[0]["retry_skipped_reason"] == "budget"


def test_a_budget_bounds_retries_at_once(make: MakeWire) -> None:
    budget = {"ratio": "0%", "min_per_sec": 100, "min_concurrent": 1}
    wire = make(upstream={"retry_budget": budget}, retry=IDEMPOTENT)
    first, second = ask(wire, get()), ask(wire, get())
    one, two = wire.origins
    one.send(answer(503))
    two.send(answer(503))
    assert header_of(second.take(), "x-316-code") == "316-RETRY-BUDGET"
    one.send(OK)
    assert first.take().endswith(b"ok")


def test_a_wait_grows_and_is_never_over_its_cap(make: MakeWire) -> None:
    """U(0, base), U(0, 3 base), ... up to the cap; time moves only here."""
    backoff = {"base": "100ms", "max": "200ms"}
    wire = make(retry={**IDEMPOTENT, "max_retries": 3, "backoff": backoff})
    client = ask(wire, get())
    waits = []
    for _ in range(3):
        wire.origin().send(answer(503))
        begin_s, count = wire.clock.now_s(), len(wire.origin().received)
        while len(wire.origins) == 1 and len(wire.origin().received) == count:
            wire.clock.advance(0.001)
        waits.append(wire.clock.now_s() - begin_s)
        wire.origins[:] = wire.origins[-1:]
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")
    assert 0 < waits[0] <= 0.101
    assert all(wait <= 0.201 for wait in waits)
    assert len(set(waits)) == 3


@pytest.mark.parametrize("value", ["1", "Tue, 14 Nov 2023 22:13:21 GMT"])
def test_retry_after_is_waited_for(make: MakeWire, value: str) -> None:
    """In both of its forms (RFC 9110, 10.2.3)."""
    wire = make(retry=IDEMPOTENT)
    client = ask(wire, get())
    wire.origin().send(answer(503, f"Retry-After: {value}"))
    wire.clock.advance(0.999)
    assert len(wire.origins) == 1
    assert wire.origin().received.count(b"GET") == 1
    wire.clock.advance(0.002)
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")


@pytest.mark.parametrize("value", ["2", "Tue, 14 Nov 2023 23:13:21 GMT"])
def test_retry_after_beyond_its_limit_is_handed_on(make: MakeWire, value: str) -> None:
    wire = make(retry=IDEMPOTENT)
    told = wire.ask(get(), answer(503, f"Retry-After: {value}"))
    assert header_of(told, "retry-after") == value
    assert wire.faults[0]["retry_skipped_reason"] == "retry_after_too_long"


def test_no_wait_is_begun_that_the_deadline_ends(make: MakeWire) -> None:
    wire = make(retry=IDEMPOTENT)
    request = get("/", "x-316-deadline-ms: 500")
    told = wire.ask(request, answer(503, "Retry-After: 1"))
    assert status_of(told) == 503
    assert wire.faults[0]["retry_skipped_reason"] == "deadline"


def test_no_try_is_begun_that_could_not_even_connect(make: MakeWire) -> None:
    """Semantics, 2.2: less is left than it usually takes to connect."""
    wire = make(retry=IDEMPOTENT)
    wire.is_holding = True
    client = ask(wire, get("/", "x-316-deadline-ms: 5000"))
    wire.clock.advance(3)
    wire.open_next()
    wire.origin().send(answer(503))
    assert status_of(client.take()) == 503
    assert wire.faults[0]["retry_skipped_reason"] == "deadline"


def test_another_endpoint_comes_first(make: MakeWire) -> None:
    three = {"endpoints": [f"10.0.0.{n}:80" for n in (1, 2, 3)]}
    wire = make(upstream=three, retry=IDEMPOTENT)
    ask(wire, get())
    for _ in range(3):
        wire.origin().send(answer(503))
    names = [a["endpoint"] for a in wire.faults[0]["attempts"]]
    assert sorted(names) == three["endpoints"]


def test_a_wait_is_spared_only_if_nothing_was_sent(make: MakeWire) -> None:
    wire = make(upstream=TWO, retry={"preset": "idempotent"})
    wire.refuse("10.0.0.1:80")
    client = ask(wire, get())
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")


def test_a_retry_never_meets_a_second_pooled_connection(make: MakeWire) -> None:
    """It would be dead in the same way."""
    wire = make()
    clients = [ask(wire, get()) for _ in range(3)]
    for origin in list(wire.origins):
        origin.send(OK)
    client = ask(wire, get())
    wire.origins[-1].leave()
    go_on(wire)
    assert len(wire.origins) == 4
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")
    assert all(c.take().endswith(b"ok") for c in clients)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_is_sent_again_whole(make: MakeWire, *, is_chunked: bool) -> None:
    body = bytes(range(256)) * 4
    request = post(body)
    if is_chunked:
        head = get("/", "Transfer-Encoding: chunked", method="POST")
        request = head + b"400\r\n" + body + b"\r\n0\r\nX-T: y\r\n\r\n"
    wire = make(upstream=PEER)
    ask(wire, request)
    wire.origin().send(REFUSAL)
    wire.origin().take()
    go_on(wire)
    first, _, second = (
        wire.origin().received.partition(b"POST / ")[2].partition(b"POST / ")
    )
    if not second:
        first, second = wire.origin(0).received, wire.origin().received
    assert body_of(first) == body_of(second) == body_of(request)
    wire.origin().send(OK)


def test_a_body_that_is_still_coming_is_sent_again_as_it_comes(
    make: MakeWire,
) -> None:
    wire = make(upstream=PEER)
    client = ask(wire, post(b"12345678")[:-4])
    wire.origin().send(REFUSAL)
    client.send(b"56")
    go_on(wire)
    assert body_of(wire.origin().received) == b"123456"
    client.send(b"78")
    assert body_of(wire.origin().received) == b"12345678"
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")


@pytest.mark.parametrize(("size", "is_repeated"), [(64, True), (65, False)])
def test_a_body_is_kept_up_to_64_kib(
    make: MakeWire, size: int, *, is_repeated: bool
) -> None:
    wire = make(upstream=PEER)
    client = ask(wire, post(b"x" * size * 1024))
    wire.origin().send(REFUSAL)
    go_on(wire)
    sent = sum(origin.received.count(b"POST") for origin in wire.origins)
    assert sent == 1 + is_repeated
    if is_repeated:
        wire.origin().send(OK)
    else:
        assert wire.faults[0]["retry_skipped_reason"] == "body_too_large"
    assert status_of(client.take()) == (200 if is_repeated else 503)


def test_an_upgrade_is_not_asked_for_again(make: MakeWire) -> None:
    wire = make(retry=IDEMPOTENT)
    request = get("/", "Connection: Upgrade", "Upgrade: echo")
    assert status_of(wire.ask(request, answer(503))) == 503
    assert wire.faults[0]["retry_skipped_reason"] == "upgrade"


def test_nothing_is_tried_for_a_client_that_is_gone(make: MakeWire) -> None:
    wire = make(retry={"preset": "idempotent", "backoff": {"base": "100ms"}})
    client = ask(wire, get())
    wire.origin().send(answer(503))
    client.leave()
    wire.clock.advance(10)
    assert wire.origin().received.count(b"GET") == 1
    assert wire.codes == ["316-CLIENT-ABORT"]


def test_what_an_upper_hop_tries_again_is_not_tried_again_here(
    make: MakeWire,
) -> None:
    """Of statuses: else tries multiply from hop to hop."""
    wire = make(retry=IDEMPOTENT)
    told = wire.ask(get("/", "x-316-attempt: 2"), answer(503))
    assert status_of(told) == 503
    assert wire.faults[0]["retry_skipped_reason"] == "upper_hop"


def test_what_a_lower_hop_tried_in_vain_is_not_tried_again_here(
    make: MakeWire,
) -> None:
    """If it is a peer: of anybody else the field means nothing."""
    wire = make(retry=IDEMPOTENT, upstream=PEER)
    told = wire.ask(get(), answer(503, "x-316-retry: exhausted"))
    assert status_of(told) == 503
    assert header_of(told, "x-316-retry") == "exhausted"
    assert wire.faults[0]["retry_skipped_reason"] == "lower_hop"


def test_425_to_early_data_is_handed_on(wire: FakeWire) -> None:
    """RFC 8470, 5.2: only who sent it early can send it late."""
    client = ask(wire, get("/", "Early-Data: 1"))
    wire.origin().send(answer(425))
    go_on(wire)
    assert status_of(client.take()) == 425


def test_each_try_tells_its_number_in_the_same_trace(make: MakeWire) -> None:
    wire = make(retry=IDEMPOTENT)
    ask(wire, get())
    wire.origin().leave()
    first, second = (origin.received for origin in wire.origins)
    assert header_of(first, "x-316-attempt") == "1"
    assert header_of(second, "x-316-attempt") == "2"
    assert header_of(first, "x-request-id") == header_of(second, "x-request-id")
    traces = [str(header_of(raw, "traceparent")).split("-") for raw in (first, second)]
    assert traces[0][1] == traces[1][1]
    assert traces[0][2] != traces[1][2]
    wire.origin().send(OK)


def test_an_answer_that_is_dropped_frees_its_connection(make: MakeWire) -> None:
    """Whole, it is kept; else it is closed, and nothing waits for its end."""
    wire = make(retry=IDEMPOTENT)
    client = ask(wire, get())
    wire.origin().send(b"HTTP/1.1 503 X\r\nContent-Length: 9999999\r\n\r\nhalf")
    assert wire.origin(0).is_closed
    wire.origin().send(OK)
    assert body_of(client.take()) == b"ok"


def test_a_real_answer_beats_a_later_failure(make: MakeWire) -> None:
    """Semantics, 2.2: the last real response, not an invented one."""
    wire = make(retry={**IDEMPOTENT, "max_retries": 1})
    client = ask(wire, get())
    wire.refuse()
    wire.origin().send(answer(503, "Connection: close"))
    told = client.take()
    assert status_of(told) == 503
    assert body_of(told) == b"busy"
    assert header_of(told, "x-316-code") == "316-RETRY-EXHAUSTED"
    codes = [a["code"] for a in wire.faults[0]["attempts"]]
    assert codes == ["", "316-CONN-REFUSED"]


def test_the_last_words_of_a_connection_that_broke_are_read(wire: FakeWire) -> None:
    """Who refuses a long body answers and closes; the rest of it is reset."""
    client = ask(wire, post(b"x" * 100_000)[:50_000])
    wire.origin().leave_unread(b"HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nwhy")
    wire.origin().leave(BrokenPipeError())
    assert body_of(client.take()) == b"why"
    assert wire.codes == []
