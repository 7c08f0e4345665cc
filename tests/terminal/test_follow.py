"""Following faults of a real sidecar: each once, none left out, over breaks."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.admin.door import DOOR
from sidecar.faults.catalogue import FaultCode
from sidecar.terminal.client import AdminClient, AdminError, Place, UnreachableError
from sidecar.terminal.follow import ALL, Follower, Told
from tests.admin.test_faults import fail, joined
from tests.support.admin import TOKEN
from tests.support.proxy import ANYWHERE, Proxy, proxied
from tests.terminal.samples import record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Heard:
    """What was told, in its order."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.notes: list[str] = []

    @property
    def details(self) -> list[str]:
        """Without those of the process: on a busy machine its loop may stand still."""
        return [told["detail"] for told in self.records if told["listener"]]

    async def until(self, count: int) -> None:
        while len(self.details) < count:
            await asyncio.sleep(0)


class Soon(random.Random):
    """No jitter: what is waited for comes at once."""

    def random(self) -> float:
        return 0.0


@asynccontextmanager
async def following(
    place: Place, since: str = "", most: int = ALL, **query: str
) -> AsyncIterator[Heard]:
    heard = Heard()
    async with AdminClient(place) as client:
        follower = Follower(
            client, query, since,
            tell=heard.records.append, note=heard.notes.append, rng=Soon(),
            most=most,
        )  # fmt: skip
        task = asyncio.create_task(follower.run())
        yield heard
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def place_of(proxy: Proxy) -> Place:
    host, port = proxy.app.addresses["admin"]
    return Place(f"http://{host}:{port}")


def cut(proxy: Proxy) -> None:
    """Cut every connection of the admin server."""
    assert proxy.app.servers is not None
    for _, runner in proxy.app.servers._running:
        for guest in list(runner.app[DOOR]._guests.values()):
            guest.cut()


def numbers(*found: int) -> list[str]:
    return [f"number {number}" for number in found]


async def test_the_last_few_come_first_then_each_as_it_happens() -> None:
    async with proxied() as proxy:
        for number in range(15):
            fail(proxy, number)
        async with following(place_of(proxy), route="all") as heard:
            await heard.until(10)
            fail(proxy, 15)
            await heard.until(11)
            assert heard.details == numbers(*range(5, 16))


async def test_since_when_is_said_all_of_them_come() -> None:
    async with proxied() as proxy:
        for number in range(15):
            fail(proxy, number)
        async with following(place_of(proxy), since="1h", route="all") as heard:
            await heard.until(15)
            assert heard.details == numbers(*range(15))


async def test_who_asks_for_more_than_are_told_at_once_hears_where_they_are() -> None:
    async with proxied() as proxy:
        for number in range(7):
            fail(proxy, number)
        told = following(place_of(proxy), since="1h", most=5, route="all")
        async with told as heard:
            await heard.until(5)
            assert heard.details == numbers(2, 3, 4, 5, 6)
            [note] = heard.notes
            assert note.startswith("there may be more than these 5: all that are kept")
            assert note.endswith(" at /faults?format=jsonl&since=1h")


async def test_only_what_is_asked_for_is_told() -> None:
    async with (
        proxied() as proxy,
        following(place_of(proxy), code="316-DNS-ERR") as heard,
    ):
        await joined(proxy)
        fail(proxy, 1)
        fail(proxy, 2, code=FaultCode.DNS_ERR)
        await heard.until(1)
        assert heard.details == numbers(2)


async def test_over_a_break_none_is_left_out_and_none_comes_twice() -> None:
    async with proxied() as proxy:
        fail(proxy, 0)
        async with following(place_of(proxy), route="all") as heard:
            await joined(proxy)
            fail(proxy, 1)
            await heard.until(2)
            cut(proxy)
            fail(proxy, 2)
            await heard.until(3)
            fail(proxy, 3)
            await heard.until(4)
            assert heard.details == numbers(0, 1, 2, 3)
            assert "trying again in 0.0 s" in heard.notes[0]
            assert heard.notes[-1].endswith("is back")


async def test_a_sidecar_that_starts_again_counts_anew_and_nothing_is_missed(
    tmp_path: Path,
) -> None:
    """Its numbers begin at 1 again: what was told is known by its id."""
    path = tmp_path / "admin.sock"
    top = {"admin": {"listen": ANYWHERE, "socket": str(path)}}
    async with proxied(top=top) as first:
        context = following(Place(socket=str(path)), route="all")
        heard = await context.__aenter__()
        for number in range(3):
            fail(first, number)
        await heard.until(3)
    async with proxied(top=top) as second:
        fail(second, 10)
        await heard.until(4)
        await context.__aexit__(None, None, None)
    assert heard.details == numbers(0, 1, 2, 10)
    assert any(note.endswith("drains") for note in heard.notes)


async def test_what_was_skipped_is_told() -> None:
    async with proxied() as proxy, following(place_of(proxy)) as heard:
        await joined(proxy)
        [listener] = proxy.app.recorder.book.hub.listeners
        listener._skipped = 7
        fail(proxy, 1)
        await heard.until(1)
        while not heard.notes:
            await asyncio.sleep(0)
        assert heard.notes == ["7 were skipped: they came faster than we read"]


def test_a_password_in_an_address_is_not_told() -> None:
    assert str(Place("http://me:s3cret@127.0.0.1:15000")) == "http://127.0.0.1:15000"
    assert str(Place("http://127.0.0.1:15000/")) == "http://127.0.0.1:15000/"


async def test_nobody_there_at_first_is_an_error() -> None:
    heard = Heard()
    async with AdminClient(Place("http://127.0.0.1:1")) as client:
        follower = Follower(
            client, {}, "", tell=heard.records.append, note=heard.notes.append,
            rng=Soon(),
        )  # fmt: skip
        with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1: Connection ref"):
            await follower.run()


async def test_errors_say_what_and_where() -> None:
    async with proxied() as proxy:
        async with AdminClient(place_of(proxy)) as client:
            with pytest.raises(AdminError, match="severity is 'P9'") as wrong:
                await client.get("/faults", {"severity": "P9"})
            assert wrong.value.is_of_call
        async with AdminClient(Place(f"http://127.0.0.1:{proxy.port}")) as client:
            with pytest.raises(AdminError, match="is no admin API of a sidecar"):
                await client.get("/")


async def test_a_token_is_sent_where_one_is_asked_for(tmp_path: Path) -> None:
    """Beyond loopback reading needs it; without it the error says how to give it."""
    file = tmp_path / "token"
    file.write_text(TOKEN)
    top = {"admin": {"listen": "0.0.0.0:0", "token_file": str(file)}}
    async with proxied(top=top) as proxy:
        url = f"http://127.0.0.1:{proxy.app.addresses['admin'][1]}"
        async with AdminClient(Place(url, token=TOKEN)) as client:
            assert (await client.get("/"))["ready"]
        async with AdminClient(Place(url)) as client:
            with pytest.raises(AdminError, match="--token-file FILE gives a token"):
                await client.get("/")
    assert TOKEN not in repr(client.place) + repr(Place(token=TOKEN))


def test_a_record_is_new_once() -> None:
    told = Told()
    assert told.since == ""
    assert told.is_new(record())
    assert not told.is_new(record())
    assert told.is_new(record(fault_id="2", time="2026-01-31T11:00:00.000Z"))
    assert told.since == "2026-01-31T11:59:56.250000+00:00"  # Of the latest.
