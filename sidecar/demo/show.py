"""The demo itself: shop, sidecar, gentle traffic, and what there is to see."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING

from sidecar.app import App, ListenError
from sidecar.demo import ports
from sidecar.demo.hints import Hint, hints
from sidecar.demo.numbers import last_faults, rows, summary, totals
from sidecar.demo.shop import start_shop
from sidecar.demo.traffic import send_traffic
from sidecar.settings.load import load_text
from sidecar.settings.snapshot import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

_VIEW_S = 0.5
_TELL_S = 2.0
_STDOUT = 1
_LEAVE_SCREEN = b"\x1b[?1049l\x1b[?25h"  # Back from the view, with the cursor shown.


class PortTakenError(Exception):
    """The port that the user asked for cannot be had."""


async def show(for_s: float | None, port: int | None, *, is_plain: bool) -> None:
    """Run until a signal, or for `for_s` seconds; a second signal ends at once.

    Args:
        for_s: Seconds; None: until a signal.
        port: Of the inbound listener; None: that of demo.yaml, or a free one.
        is_plain: Tell in lines, without a live view.

    Raises:
        PortTakenError: `port` is taken, or may not be used.
        BrokenPipeError: Nobody reads what is told.
    """
    over = _listen_for_signals(is_plain=is_plain)
    async with _started(port) as (app, notes):
        began_s = app.clock.now_s()
        if for_s is not None:
            asyncio.get_running_loop().call_later(for_s, over.set)
        tries = hints(*(_url(app, name) for name in ("inbound", "health", "admin")))
        _say(_welcome(notes, tries, _url(app, "admin")))
        tell = _tell_in_lines if is_plain else _tell_on_screen
        is_heard = True
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(send_traffic(_url(app, "inbound"), over))
                tasks.create_task(tell(app, tries, over))
        except* BrokenPipeError:
            is_heard = False
        if not is_heard:
            raise BrokenPipeError
        _say(summary(app, app.clock.now_s() - began_s))


def _listen_for_signals(*, is_plain: bool) -> asyncio.Event:
    """Return the event that the first SIGINT or SIGTERM sets."""
    over = asyncio.Event()

    def end() -> None:
        if over.is_set():
            if not is_plain:  # Past rich, which has sys.stdout while it shows.
                os.write(_STDOUT, _LEAVE_SCREEN)
            os._exit(0)  # Nothing of a demo is worth a wait.
        over.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    return over


@asynccontextmanager
async def _started(port: int | None) -> AsyncIterator[tuple[App, list[str]]]:
    """Yield the sidecar before the shop, and notes on ports that were taken."""
    chosen = ports.Ports()
    shop, address = await _start_shop()
    held = ports.hold_port(ports.NOBODY)
    try:
        chosen.take("the shop", ports.SHOP, address.port)
        chosen.take("what refuses", ports.NOBODY, ports.port_of(held))
        app = await _start_app(chosen, port)
        try:
            yield app, chosen.notes
        finally:
            await app.close()
    finally:
        held.close()
        await shop.cleanup()


async def _start_shop() -> tuple[web.AppRunner, Address]:
    try:
        shop = await start_shop(Address(ports.HOST, ports.SHOP))
    except OSError:
        shop = await start_shop(Address(ports.HOST, 0))
    host, port = shop.addresses[0][:2]
    return shop, Address(host, port)


async def _start_app(chosen: ports.Ports, port: int | None) -> App:
    """Start on the ports of demo.yaml as far as they are free, else on free ones."""
    wanted = {
        name: 0 if ports.reason_against(default) else default
        for name, default in ports.OWN.items()
    }
    if port is not None:
        wanted["inbound"] = port
    try:
        app = await _start_on(chosen, wanted)
    except ListenError:
        reason = "" if port is None else ports.reason_against(port)
        if reason:
            msg = f"inbound cannot have port {port}: {reason}"
            raise PortTakenError(msg) from None
        # Somebody was faster.
        free = dict.fromkeys(wanted, 0) | ({} if port is None else {"inbound": port})
        app = await _start_on(chosen, free)
    for name, default in ports.OWN.items():
        if name != "inbound" or port is None:
            chosen.take(name, default, app.addresses[name][1])
    return app


async def _start_on(chosen: ports.Ports, wanted: dict[str, int]) -> App:
    text = files("sidecar.demo").joinpath("demo.yaml").read_text(encoding="utf-8")
    mine = ports.Ports({ports.OWN[name]: port for name, port in wanted.items()})
    app = App(load_text(mine.in_text(chosen.in_text(text)), "demo.yaml"))
    await app.start()
    return app


async def _tell_on_screen(app: App, tries: list[Hint], over: asyncio.Event) -> None:
    from sidecar.demo.view import picture, screen  # noqa: PLC0415 - needs a terminal

    logging.getLogger().addHandler(logging.NullHandler())  # A line would tear it.
    began_s = app.clock.now_s()
    with screen() as live:
        while not over.is_set():
            size, ran_s = live.console.size, app.clock.now_s() - began_s
            shown = picture(rows(app), last_faults(app, 8), tries, ran_s, size)
            live.update(shown, refresh=True)
            await _wait(over, _VIEW_S)


async def _tell_in_lines(app: App, _: list[Hint], over: asyncio.Event) -> None:
    """Say how it goes, and what each code means when it is first met."""
    known: set[tuple[str, str]] = set()
    began_s = app.clock.now_s()
    while not over.is_set():
        await _wait(over, _TELL_S)
        for met in reversed(last_faults(app, 100)):
            code, route = met.record["code"], met.record["route"]
            if (code, route) not in known:
                known.add((code, route))
                _say(f"  {code} {route or 'no route'}: {met.record['fix']}")
        _say(totals(rows(app), app.clock.now_s() - began_s))


async def _wait(over: asyncio.Event, seconds: float) -> None:
    """Wait until `over`, but no longer than so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await over.wait()
    except TimeoutError:
        return


def _welcome(notes: list[str], tries: list[Hint], admin: str) -> str:
    widest = max(len(hint.command) for hint in tries)
    lines = [f"  {hint.command:<{widest}}  # {hint.shows}" for hint in tries]
    notes = [f"Note: {note}." for note in notes]
    return "\n".join(
        [
            *notes,
            "Try, in another terminal:",
            *lines,
            f"In a browser: {admin}/   End: Ctrl-C\n",
        ]
    )


def _url(app: App, name: str) -> str:
    host, port = app.addresses[name]
    return f"http://{host}:{port}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
