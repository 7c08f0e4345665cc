"""Bounds on what a client may send and hold: each has its answer and its count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sidecar.accept.listener import Acceptor, network_of
from sidecar.model import Limit
from sidecar.settings.models import (
    LimitSettings,
    PoolSettings,
    RouteSettings,
    TimeoutSettings,
)
from tests.support.proxy import header_of, status_of
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.exchange.conftest import MakeWire
    from tests.support.ends import End
    from tests.support.wire import FakeWire

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"30000\r\n" + b"x" * 0x30000 + b"\r\n"
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
)
EXPECT = "Expect: 100-continue"


def hits(wire: FakeWire) -> dict[str, int]:
    """Return how often which limit was hit."""
    return {k: n for k, n in wire.recorder.store.limit_hits.items() if n}


def limited(make: MakeWire, **limits: Any) -> FakeWire:
    return make(top={"limits": limits})


# Each of them once.


def fill_client(wire: FakeWire) -> End:
    return fill_client_of(wire, -1)


def fill_client_of(wire: FakeWire, n: int) -> End:
    client = wire.client()
    client.send(get())
    client.stop_taking()
    wire.origin(n).send(CHUNKED + CHUNK)
    return client


def talk(wire: FakeWire, data: bytes, pass_s: float = 0.0) -> End:
    client = wire.client()
    if data:
        client.send(data)
    wire.clock.advance(pass_s)
    return client


def be_one_of_many_that_are_full(wire: FakeWire) -> End:
    client = fill_client(wire)
    wire.clock.advance(2.1)
    return client


def be_full(wire: FakeWire) -> End:
    client = fill_client(wire)
    wire.clock.advance(60.1)
    return client


def one_after_the_other(wire: FakeWire) -> End:
    client = wire.client()
    client.send(get())
    wire.origin().send(OK)
    client.take()
    wire.clock.advance(75.1)
    return client


def one_too_many(wire: FakeWire) -> End:
    wire.client()
    return wire.client()


def one_of_one(wire: FakeWire) -> End:
    client = talk(wire, get())
    wire.origin().send(OK)
    return client


MANY_LINES = [f"A{n}: b" for n in range(100)]
HITS: dict[Limit, tuple[dict[str, Any], Callable[[FakeWire], End], int]] = {
    Limit.REQUEST_LINE: ({}, lambda wire: talk(wire, get("/" + "x" * 8192)), 414),
    Limit.HEADERS: ({}, lambda wire: talk(wire, get("/", "A: " + "x" * 65536)), 431),
    Limit.HEADER_COUNT: ({}, lambda wire: talk(wire, get("/", *MANY_LINES)), 431),
    Limit.BODY_MAX: ({}, lambda wire: talk(wire, post(b"x" * 1001)), 413),
    Limit.CONNECTIONS: ({"connections": 1}, one_too_many, 503),
    Limit.CONNECTIONS_PER_CLIENT: ({"connections_per_client": 1}, one_too_many, 503),
    Limit.REQUESTS_PER_CONNECTION: ({"requests_per_connection": 1}, one_of_one, 200),
    Limit.FIRST_BYTE: ({"first_byte": "7s"}, lambda wire: talk(wire, b"", 7.1), 0),
    Limit.KEEP_ALIVE: ({}, one_after_the_other, 0),
    Limit.REQUEST_HEADERS: ({}, lambda wire: talk(wire, b"GET", 10.1), 408),
    Limit.REQUEST_BODY_IDLE: ({}, lambda wire: talk(wire, post()[:-1], 60.1), 408),
    Limit.DOWNSTREAM_WRITE: ({}, be_full, 200),
    Limit.MAX_STALLED: ({}, be_one_of_many_that_are_full, 200),
}
CODES = {
    413: "316-DATA-REQ-SIZE",
    414: "316-VALIDATION-ERR",
    431: "316-VALIDATION-ERR",
    408: "316-CLIENT-SLOW",
    503: "316-OVERLOAD",
}


@pytest.mark.parametrize("limit", Limit)
def test_who_hits_a_limit_is_told_and_counted(make: MakeWire, limit: Limit) -> None:
    limits, hit, status = HITS[limit]
    pool = {"max_stalled": 0} if limit is Limit.MAX_STALLED else {}
    top = {"limits": limits, "defaults": {"body_max": 1000}}
    wire = make(top=top, upstream={"pool": pool})
    answer = hit(wire).take()
    assert hits(wire) == {limit.value: 1}
    assert (status_of(answer) if answer else 0) == status
    assert header_of(answer, "x-316-code") == CODES.get(status)


def test_a_limit_is_counted_by_the_name_of_its_setting() -> None:
    models = (LimitSettings, TimeoutSettings, RouteSettings, PoolSettings)
    keys = {key for model in models for key in model.model_fields}
    assert {limit.value for limit in Limit} <= keys


# Sizes.


@pytest.mark.parametrize("piece_bytes", [0, 1])
@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [(50, 60, 200), (51, 60, 414), (50, 61, 431), (20, 61, 431), (51, 10, 414)],
)
def test_a_head_may_be_as_large_as_it_says_and_no_larger(
    make: MakeWire, line: int, fields: int, status: int, piece_bytes: int
) -> None:
    """Also if the header section may be hardly larger than the request line."""
    wire = limited(make, request_line=50, headers=60)
    path = "/" + "x" * (line - len("GET / HTTP/1.1"))
    more = "A: " + "x" * (fields - len("Host: test\r\nA: "))
    client = wire.client()
    client.send(get(path, more) if fields > 20 else get(path), piece_bytes)
    if status == 200:
        wire.origin().send(OK)
    assert status_of(client.take()) == status


@pytest.mark.parametrize("piece_bytes", [0, 1])
def test_headers_may_be_limited_below_the_request_line(
    make: MakeWire, piece_bytes: int
) -> None:
    wire = limited(make, request_line="8KiB", headers=100)
    client = wire.client()
    client.send(get("/", "A: " + "x" * 100), piece_bytes)
    assert status_of(client.take()) == 431


def test_a_head_is_refused_before_all_of_it_is_here(make: MakeWire) -> None:
    wire = limited(make, request_line=50, headers=60)
    assert status_of(talk(wire, b"GET /" + b"x" * 50).take()) == 414
    assert status_of(talk(wire, b"GET / HTTP/1.1\r\n" + b"x" * 64).take()) == 431


@pytest.mark.parametrize(
    ("default", "own", "status"),
    [
        (None, None, 200),
        (1000, None, 413),
        (1000, 2000, 200),
        (2000, 1000, 413),
        (1000, "off", 200),
        (None, 0, 413),
    ],
)
def test_a_route_has_the_default_body_limit_unless_it_has_its_own(
    make: MakeWire, default: int | None, own: int | str | None, status: int
) -> None:
    wire = make(top={"defaults": {"body_max": default}}, body_max=own)
    client = wire.client()
    client.send(post(b"x" * 1500))
    if status == 200:
        wire.origin().send(OK)
    assert status_of(client.take()) == status


# Connections.


def test_one_too_many_reads_its_answer_although_it_has_sent_a_request(
    make: MakeWire,
) -> None:
    """Closed at once, its system would be told by a reset, and drop the answer."""
    wire = limited(make, connections=1)
    wire.client()
    second = wire.client()
    second.send(get())
    assert status_of(second.take()) == 503
    assert second.has_eof
    assert not second.is_closed
    second.send_eof()
    assert second.is_closed
    assert wire.origins == []


@pytest.mark.parametrize("linger_s", [3, 5])
def test_one_too_many_may_not_take_for_ever(make: MakeWire, linger_s: int) -> None:
    wire = limited(make, connections=1, linger=f"{linger_s}s")
    wire.client()
    second = wire.client()
    wire.clock.advance(linger_s - 0.01)
    assert not second.is_closed
    wire.clock.advance(0.02)
    assert second.is_closed


def test_of_those_too_many_only_so_many_may_take_their_time(make: MakeWire) -> None:
    wire = limited(make, connections=1)
    wire.client()
    refused = [wire.client() for _ in range(100)]
    assert all(status_of(client.take()) == 503 for client in refused)
    assert sum(not client.is_closed for client in refused) == 64
    for client in refused[:64]:
        client.leave()
    assert not wire.client().is_closed


def test_connections_are_counted_over_all_listeners(make: MakeWire) -> None:
    wire = limited(make, connections=2)
    inbound, wire.acceptor = wire.acceptor, Acceptor("outbound", wire.runtime)
    first = wire.client()
    wire.acceptor = inbound
    wire.client()
    assert status_of(wire.client().take()) == 503
    first.leave()
    assert wire.client().take() == b""


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_a_client_is_an_address_or_a_network_of_ipv6(
    make: MakeWire, one: str, other: str, *, is_same: bool
) -> None:
    assert (network_of(one) == network_of(other)) is is_same
    wire = limited(make, connections_per_client=1)
    first = wire.client(one)
    assert bool(wire.client(other).take()) is is_same
    first.leave()
    assert wire.client(one).take() == b""


def test_who_has_its_answer_is_not_read_without_end(make: MakeWire) -> None:
    """It sends on and on, as fast as it can."""
    wire = make(body_max="1MiB")
    client = wire.client()
    client.send(get("/", f"Content-Length: {2**30}", method="POST"))
    assert status_of(client.take()) == 413
    client.send(b"x" * 2**24, 2**20)
    assert not client.is_closed
    client.send(b"x")
    assert client.is_closed


# Time.


def test_a_new_connection_may_wait_as_long_as_an_old_one(make: MakeWire) -> None:
    """A pool may connect before it has something to ask."""
    wire = limited(make, keep_alive="20s")
    client = wire.client()
    wire.clock.advance(19.9)
    client.send(get())
    wire.origin().send(OK)
    assert status_of(client.take()) == 200
    assert talk(wire, b"", 20.1).take() == b""
    assert hits(wire)["first_byte"] == 1


def test_the_first_byte_is_only_the_first(make: MakeWire) -> None:
    wire = limited(make, first_byte="5s", keep_alive="20s")
    client = wire.client()
    for _ in range(2):
        client.send(get())
        wire.origin().send(OK)
        assert status_of(client.take()) == 200
        wire.clock.advance(19.9)
    assert not client.is_closed
    silent = talk(wire, b"\r\n", 5.1)  # RFC 9112, 2.2: no byte of a request.
    assert silent.is_closed
    assert silent.take() == b""
    assert wire.codes == []


def test_a_client_that_reads_slowly_but_steadily_gets_all_of_it(
    make: MakeWire,
) -> None:
    """1 KiB a second: its buffer is never empty enough to be told of."""
    wire = make(timeouts={"downstream_write": "10s", "stream_idle": "5s"})
    client = fill_client(wire)
    for _ in range(100):
        wire.clock.advance(1)
        client.take_some(1024)
    assert wire.codes == []
    client.take_all()
    wire.origin().send(b"0\r\n\r\n")
    assert client.take().endswith(b"0\r\n\r\n")


def test_an_upstream_that_reads_slowly_but_steadily_gets_all_of_it(
    make: MakeWire,
) -> None:
    wire = make(timeouts={"stream_idle": "10s", "request": "20s"})
    client = wire.client()
    body = b"x" * 200_000
    client.send(post(body)[:-190_000])
    wire.origin().stop_taking()
    client.send(body[:189_999], 10_000)
    assert client.unsent
    for _ in range(60):
        wire.clock.advance(1)
        wire.origin().take_some(1000)
    assert wire.codes == []
    wire.origin().take_all()
    client.send(b"x")
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")


def close_unread(wire: FakeWire) -> End:
    """Leave the proxy with an answer of which the last is not read yet."""
    client = talk(wire, get("/", "Connection: close"))
    client.stop_taking()
    wire.origin().send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789")
    assert client.is_closed
    return client


def test_the_end_of_an_answer_is_there_as_long_as_it_is_read(make: MakeWire) -> None:
    wire = make(top={"defaults": {"timeouts": {"downstream_write": "7s"}}})
    client = close_unread(wire)
    for _ in range(5):
        wire.clock.advance(6.9)
        client.take_some(1)
    assert not client.transport.is_lost
    wire.clock.advance(14.1)
    assert client.transport.is_lost
    assert hits(wire) == {"downstream_write": 1}


def test_requests_behind_an_answer_wait_as_long_as_that_is_read(
    make: MakeWire,
) -> None:
    wire = make(top={"defaults": {"timeouts": {"downstream_write": "7s"}}})
    client = wire.client()
    client.stop_taking()
    client.send(get("/1") + get("/2"))
    size = 200_000
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode()
    wire.origin().send(head + b"x" * size)
    for _ in range(5):
        wire.clock.advance(6.9)
        client.take_some(1)
    assert not client.transport.is_lost
    wire.clock.advance(14.1)
    assert client.transport.is_lost
    assert b"/2" not in wire.origin().received


def test_who_does_not_read_lets_go_of_its_upstream(wire: FakeWire) -> None:
    be_full(wire)
    assert wire.origin().is_closed
    assert wire.upstream.pool.open_connections == 0
    assert wire.upstream.requests.count == 0


# Bodies that come slowly.


def uploading(wire: FakeWire, *lines: str) -> End:
    client = wire.client()
    client.send(post(b"1234", "/", *lines)[:-1])
    return client


def test_slow_bodies_take_half_of_an_upstream_at_most(make: MakeWire) -> None:
    wire = make(upstream={"pool": {"max_requests": 4}})
    slow = [uploading(wire) for _ in range(10)]
    assert len(wire.origins) == wire.upstream.requests.count == 2
    assert wire.ask(get(), OK).endswith(b"ok")
    slow[9].send(b"4")
    wire.origin().send(OK)
    assert slow[9].take().endswith(b"ok")
    assert wire.codes == []


def test_a_body_that_was_awaited_goes_on_when_it_is_whole(make: MakeWire) -> None:
    wire = make(upstream={"pool": {"max_uploads": 0}})
    client = uploading(wire)
    assert wire.origins == []
    client.send(b"4" + get("/next"))
    assert wire.origin().received.endswith(b"\r\n\r\n1234")
    wire.origin().send(OK)
    wire.origin().send(OK)
    assert client.take().count(b"\r\n\r\nok") == 2
    assert len(wire.origins) == 1


@pytest.mark.parametrize("piece_bytes", [0, 1000])
def test_a_long_body_that_was_awaited_goes_on_when_its_buffer_is_full(
    make: MakeWire, piece_bytes: int
) -> None:
    wire = make(upstream={"pool": {"max_uploads": 0}}, retry={"body_buffer": 5000})
    body = bytes(range(256)) * 100
    client = wire.client()
    client.send(post(body)[:-20_000], piece_bytes)
    assert len(wire.origins) == 1
    client.send(body[-20_000:], piece_bytes)
    assert wire.origin().received.endswith(body)
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")


def test_a_body_that_is_awaited_goes_on_when_there_is_room(make: MakeWire) -> None:
    wire = make(upstream={"pool": {"max_uploads": 1}})
    first, second = uploading(wire), uploading(wire)
    first.send(b"4")
    second.transport.protocol.data_received(b"")
    wire.turn()
    assert len(wire.origins) == 2
    wire.origin(0).send(OK)
    second.send(b"4")
    wire.origin(1).send(OK)
    assert first.take().endswith(b"ok")
    assert second.take().endswith(b"ok")


def test_an_upload_that_is_answered_early_gives_its_place_back(make: MakeWire) -> None:
    wire = make(upstream={"pool": {"max_uploads": 1}})
    for _ in range(3):
        client = uploading(wire)
        wire.origin().send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
        assert status_of(client.take()) == 401
    assert len(wire.origins) == 3


def test_a_body_that_waits_for_the_origins_word_cannot_be_awaited(
    make: MakeWire,
) -> None:
    """Nothing was sent, and the client has not begun: it may go elsewhere."""
    wire = make(upstream={"pool": {"max_uploads": 0}}, retry={"preset": "off"})
    answer = uploading(wire, EXPECT).take()
    assert header_of(answer, "x-316-code") == "316-POOL-EXHAUSTED"
    assert header_of(answer, "x-316-processed") == "no"


def test_clients_that_do_not_read_leave_places_to_others(make: MakeWire) -> None:
    """A slow one is served on, the connections of the stuck ones are closed."""
    wire = make(upstream={"pool": {"max_connections": 3, "max_stalled": 1}})
    stuck = [fill_client_of(wire, n) for n in range(2)]
    slow = fill_client_of(wire, 2)
    late = wire.client()
    late.send(get("/late"))
    wire.clock.advance(1.9)
    slow.take_some(10_000)
    assert len(wire.origins) == 3
    wire.clock.advance(0.2)
    assert [client.is_closed for client in (*stuck, slow)] == [True, True, False]
    wire.origin(3).send(OK)
    assert late.take().endswith(b"ok")
    assert wire.codes == ["316-CLIENT-SLOW"] * 2
    slow.take_all()
    wire.origin(2).send(b"0\r\n\r\n")
    assert slow.take().endswith(b"\r\n0\r\n\r\n")
    assert hits(wire) == {"max_stalled": 2}


def test_who_reads_again_does_not_count_any_more(make: MakeWire) -> None:
    wire = make(upstream={"pool": {"max_stalled": 1}})
    for n in range(5):
        client = fill_client_of(wire, n)
        wire.clock.advance(1)
        client.take_all()
        wire.clock.advance(1)
    wire.clock.advance(50)
    assert wire.codes == []


def test_a_tunnel_that_its_origin_has_ended_does_not_stall_when_it_is_read(
    make: MakeWire,
) -> None:
    wire = make(upstream={"pool": {"max_stalled": 0}})
    client = wire.client()
    client.send(get("/", "Connection: Upgrade", "Upgrade: echo"))
    client.stop_taking()
    wire.origin().send(SWITCH + b"x" * 100_000)
    wire.origin().send_eof()
    client.take_all()
    wire.clock.advance(60)
    client.send(b"more")
    assert wire.origin().received.endswith(b"more")
    assert wire.codes == []


@pytest.mark.parametrize("how", ["late", "gone", "ended", "bad", "large"])
def test_a_body_that_never_comes_leaves_nothing_behind(
    make: MakeWire, how: str
) -> None:
    wire = make(upstream={"pool": {"max_uploads": 0}}, body_max=100)
    client = wire.client()
    client.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"1\r\nx\r\n")
    if how == "late":
        wire.clock.advance(60.1)
    elif how == "gone":
        client.leave()
    elif how == "ended":
        client.send_eof()
    else:
        client.send(b"zz\r\n" if how == "bad" else b"ff\r\n" + b"x" * 255)
    codes = {
        "late": "316-CLIENT-SLOW",
        "bad": "316-VALIDATION-ERR",
        "large": "316-DATA-REQ-SIZE",
    }
    assert wire.codes == [codes.get(how, "316-CLIENT-ABORT")]
    assert wire.origins == []
    assert not {"requests", "uploads", "in flight"} & set(wire.leftovers)
