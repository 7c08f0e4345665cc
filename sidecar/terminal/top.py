"""`sidecar top`: asks again and again, and draws what came or what a key changed."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from sidecar.demo.view import has_screen, screen
from sidecar.policy.backoff import Backoff
from sidecar.terminal.board import Board, Kind, Quit, Seen
from sidecar.terminal.client import AdminClient, AdminError
from sidecar.terminal.keys import keys
from sidecar.terminal.picture import picture

if TYPE_CHECKING:
    from random import Random

    from sidecar.terminal.board import Choice, Row
    from sidecar.terminal.client import Place

_EVERY_S: Final = 2.0  # As often as there is something new.
_BACKOFF: Final = Backoff(base_s=0.5, max_s=5.0)
_GROUPS: Final = "200"
_RECORDS: Final = "50"
_UNBOUNDED: Final = 100_000  # Lines: what is printed once need not fit.


async def top(place: Place, rng: Random, *, is_once: bool) -> None:
    """Show a sidecar until the person quits; once, where nobody can.

    Raises:
        AdminError: There is none; one that was there is waited for.
    """
    async with AdminClient(place) as client:
        board = Board()
        board.see(await look(client))
        if is_once or not has_screen():
            console = Console(highlight=False)
            shown = picture(board, (console.width, _UNBOUNDED))
            with console.capture() as captured:
                console.print(shown)
            sys.stdout.write(captured.get())
        else:
            await _Top(client, board, rng).run()


async def look(client: AdminClient) -> Seen:
    """Return what there is to see.

    Raises:
        AdminError: It is not to be had.
    """
    index, traffic, history, upstreams, groups = (
        await client.get("/"),
        await client.get("/traffic"),
        await client.get("/traffic/history"),
        await client.get("/upstreams"),
        await client.get("/fault-groups", {"limit": _GROUPS}),
    )
    total, interval_s = history["total"], history["interval_s"]
    return Seen(index, traffic, total, interval_s, upstreams, groups)


async def whole_of(client: AdminClient, opened: Choice) -> Row:
    """Return what there is to know of a row.

    Raises:
        AdminError: It is not to be had.
    """
    if opened.kind is Kind.ROUTE:
        traffic = await client.get("/traffic")
        history = await client.get("/traffic/history", {"route": opened.id})
        asked = {"route": opened.id, "limit": _RECORDS}
        return {
            "row": next((row for row in traffic if row["route"] == opened.id), None),
            "history": next(iter(history["routes"]), None),
            "records": await client.get("/faults", asked),
        }
    group = await client.get(f"/fault-groups/{opened.id}")
    records = group["records"]
    latest: dict[str, Any] | None = max(records, key=lambda r: r["time"], default=None)
    if latest is not None:
        with suppress(AdminError):  # It may be kept no longer than this moment.
            latest = await client.get(f"/faults/{latest['fault_id']}")
    return {"group": group, "record": latest}


class _Top:
    """The screen."""

    def __init__(self, client: AdminClient, board: Board, rng: Random) -> None:
        self._client = client
        self._board = board
        self._rng = rng
        self._is_changed = asyncio.Event()
        self._is_opened = asyncio.Event()
        self._is_over = False

    async def run(self) -> None:
        """Show until the person quits."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, self._is_changed.set)
        tasks = [
            asyncio.create_task(work())
            for work in (self._look_on, self._open_on, self._draw_on)
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()  # Tells a bug.

    def _press(self, key: str) -> None:
        opened = self._board.opened
        try:
            self._board.press(key)
        except Quit:
            self._is_over = True
        if self._board.opened != opened:
            self._is_opened.set()
        self._is_changed.set()

    async def _draw_on(self) -> None:
        with screen() as live, keys(self._press):
            while not self._is_over:
                shown = picture(self._board, live.console.size)
                live.update(shown, refresh=True)
                await self._is_changed.wait()
                self._is_changed.clear()

    async def _look_on(self) -> None:
        losses = 0
        while True:
            wait_s = _EVERY_S
            try:
                self._board.see(await look(self._client))
                self._is_opened.set()
                losses = 0
            except AdminError as error:
                losses += 1
                wait_s = _BACKOFF.delay_s(losses, self._rng)
                self._board.problem = f"no connection: {error}"
            self._is_changed.set()
            await asyncio.sleep(wait_s)

    async def _open_on(self) -> None:
        """Fetch what is opened, when it is and while it stays so."""
        while True:
            await self._is_opened.wait()
            self._is_opened.clear()
            opened = self._board.opened
            is_still = self._board.is_paused and self._board.whole is not None
            if opened is None or is_still:
                continue
            try:
                whole = await whole_of(self._client, opened)
            except AdminError as error:
                whole = {"error": str(error)}
            if self._board.opened == opened:
                self._board.whole = whole
                self._is_changed.set()
