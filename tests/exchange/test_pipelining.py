"""Several requests on one connection: answered in order, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

ONLY_A = [{"path": {"value": "/a"}}]
NOT_FOUND = b"HTTP/1.1 404"  # Made here, at once: no origin is needed.


def saying(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)


def test_requests_that_came_together_are_answered_in_order(wire: FakeWire) -> None:
    client = wire.client()
    client.send(b"".join(get(f"/{n}") for n in range(5)))
    for n in range(5):
        assert wire.origin().take().startswith(b"GET /%d " % n)
        wire.origin().send(saying(b"<%d>" % n))
    answers = client.take()
    assert [answers.index(b"<%d>" % n) for n in range(5)] == sorted(
        answers.index(b"<%d>" % n) for n in range(5)
    )
    assert len(wire.origins) == 1


def test_the_second_is_not_sent_before_the_first_is_answered(wire: FakeWire) -> None:
    """RFC 9112, 9.3.2: what the first does may decide what the second means."""
    client = wire.client()
    client.send(get("/1") + get("/2"))
    wire.origin().send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhal")
    assert wire.origin().take().count(b"GET /") == 1
    wire.origin().send(b"f")
    assert wire.origin().take().startswith(b"GET /2")
    wire.origin().send(OK)
    assert client.take().count(b"HTTP/1.1 200") == 2


def test_what_follows_a_body_is_the_next_request(wire: FakeWire) -> None:
    client = wire.client()
    client.send(post(b"GET /evil HTTP/1.1", "/1") + get("/2"))
    first = wire.origin().take()
    assert first.endswith(b"\r\n\r\nGET /evil HTTP/1.1")
    wire.origin().send(OK)
    assert wire.origin().take().startswith(b"GET /2 ")
    wire.origin().send(OK)
    assert client.take().count(b"\r\n\r\nok") == 2


def test_a_refusal_in_between_does_not_end_the_row(make: MakeWire) -> None:
    wire = make(matches=ONLY_A)
    client = wire.client()
    client.send(get("/a") + get("/b") + get("/a"))
    wire.origin().send(OK)
    wire.origin().send(OK)
    statuses = [part[:3] for part in client.take().split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"404", b"200"]


def test_after_a_close_nothing_more_is_served(wire: FakeWire) -> None:
    """RFC 9112, 9.6: what is behind it was not to be processed."""
    client = wire.client()
    client.send(get("/1", "Connection: close") + get("/2"))
    wire.origin().send(OK)
    assert client.take().count(b"HTTP/1.1") == 1
    assert client.is_closed
    assert b"/2" not in wire.origin().received


def test_empty_lines_before_a_request_are_skipped(wire: FakeWire) -> None:
    """RFC 9112, 2.2: also one by one, and behind a body."""
    client = wire.client()
    client.send(b"\r\n\r\n", 1)
    client.send(post(b"x") + b"\r\n" + get("/2"))
    wire.origin().send(OK)
    wire.origin().send(OK)
    assert client.take().count(b"HTTP/1.1 200") == 2


def test_sixteen_in_a_row_then_it_is_the_turn_of_others(make: MakeWire) -> None:
    """One client with a thousand requests in a piece does not stop the loop."""
    wire = make(matches=ONLY_A)
    client = wire.client()
    client.transport.protocol.data_received(get("/b") * 40)
    assert client.received.count(NOT_FOUND) == 16
    wire.turn()
    assert client.received.count(NOT_FOUND) == 40


def test_who_does_not_read_answers_is_not_served_on(make: MakeWire) -> None:
    """Each answer would wait in our memory."""
    wire = make(matches=ONLY_A)
    client = wire.client()
    client.stop_taking()
    client.send(get("/b") * 1000)
    served = client.received.count(NOT_FOUND)
    assert client.transport.unread < 128 * 1024
    assert 0 < served < 1000
    while client.received.count(NOT_FOUND) < 1000:
        client.take_all()
    assert client.received.count(NOT_FOUND) == 1000


def test_who_does_not_read_answers_is_not_read_on(make: MakeWire) -> None:
    """What it sends would wait in our memory instead."""
    wire = make(matches=ONLY_A)
    client = wire.client()
    client.stop_taking()
    client.send(get("/b") * 30_000, 16 * 1024)
    assert client.unsent
    assert len(client.transport.protocol.buffer) < 256 * 1024


def test_who_never_reads_answers_is_let_go(make: MakeWire) -> None:
    wire = make(matches=ONLY_A)
    client = wire.client()
    client.stop_taking()
    client.send(get("/b") * 1000)
    wire.clock.advance(59.9)
    assert not client.is_closed
    wire.clock.advance(0.2)
    assert client.transport.is_lost


def test_while_a_request_is_under_way_its_client_is_read_only_so_far(
    wire: FakeWire,
) -> None:
    """64 KiB of what follows wait here, the rest in the client."""
    client = wire.client()
    client.send(get() * 10_000, 16 * 1024)
    assert not client.is_read
    assert len(client.transport.protocol.buffer) <= (64 + 16) * 1024
    assert client.unsent > 10


def test_a_connection_serves_only_so_many(make: MakeWire) -> None:
    wire = make(matches=ONLY_A, top={"limits": {"requests_per_connection": 3}})
    client = wire.client()
    client.send(get("/b") * 5)
    assert client.received.count(NOT_FOUND) == 3
    assert client.is_closed


def test_the_last_answer_of_a_connection_says_so(make: MakeWire) -> None:
    """RFC 9112, 9.6: else the client sends on, and does not know what was done."""
    wire = make(matches=ONLY_A, top={"limits": {"requests_per_connection": 2}})
    client = wire.client()
    client.send(get("/b"))
    assert b"\r\nConnection: close\r\n" not in client.take()
    client.send(get("/b"))
    assert b"\r\nConnection: close\r\n" in client.take()


def test_an_idle_connection_ends_without_a_word(wire: FakeWire) -> None:
    """From its beginning, and from its last answer; no fault of anybody."""
    client = wire.client()
    wire.clock.advance(74)
    client.send(get())
    wire.origin().send(OK)
    wire.clock.advance(74.9)
    assert not client.is_closed
    client.take()
    wire.clock.advance(0.2)
    assert client.is_closed
    assert client.take() == b""
    assert wire.codes == []


def test_what_follows_is_not_done_for_who_was_cut_for_not_reading(
    wire: FakeWire,
) -> None:
    client = wire.client()
    client.stop_taking()
    client.send(get("/1") + get("/2"))
    wire.origin().send(saying(b"x" * 200_000))
    wire.clock.advance(59.9)
    wire.ask(get("/other"), OK)  # So there is a connection at hand.
    wire.clock.advance(0.2)
    assert client.is_closed
    assert not any(b"GET /2" in origin.received for origin in wire.origins)
