"""The demo itself: shop, sidecar, gentle traffic, and what there is to see."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import aiohttp

from sidecar.app import App
from sidecar.demo.shop import start_shop
from sidecar.settings.load import load_text

if TYPE_CHECKING:
    from rich.console import Group

_CALLS = (
    ("GET", "/catalogue"),
    ("GET", "/catalogue"),
    ("GET", "/prices"),
    ("GET", "/prices"),
    ("POST", "/orders"),
    ("GET", "/report"),
    ("GET", "/stock"),
    ("GET", "/legacy"),
    ("GET", "/events"),
    ("GET", "/nowhere"),
)
_EVERY_S = 0.05
_VIEW_S = 0.5
_LAST_FAULTS = 6


async def show(for_s: float | None, *, is_plain: bool) -> None:
    """Run until a signal, or for `for_s` seconds.

    Raises:
        ListenError: A port of the sidecar is taken.
        OSError: The port of the shop is taken.
    """
    text = files("sidecar.demo").joinpath("demo.yaml").read_text(encoding="utf-8")
    loaded = load_text(text, "demo.yaml")
    shop = await start_shop(loaded.snapshot.upstreams["shop"].endpoints[0])
    app = App(loaded)
    try:
        await app.start()
        await _run(app, for_s, is_plain=is_plain)
        _summary(app)
    finally:
        await app.close()
        await shop.cleanup()


async def _run(app: App, for_s: float | None, *, is_plain: bool) -> None:
    """Send traffic and show what comes of it, until it is time to end."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    if for_s is not None:
        loop.call_later(for_s, over.set)
    _say(_hints(app))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_send_traffic(app, over))
        if not is_plain:
            tasks.create_task(_view(app, over))


async def _send_traffic(app: App, over: asyncio.Event) -> None:
    host, port = app.addresses["inbound"]
    calls: set[asyncio.Task[None]] = set()
    async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
        while not over.is_set():
            method, path = random.choice(_CALLS)  # noqa: S311 - a demo
            task = asyncio.create_task(_call(session, method, path))
            calls.add(task)
            task.add_done_callback(calls.discard)
            await asyncio.sleep(_EVERY_S)
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def _call(session: aiohttp.ClientSession, method: str, path: str) -> None:
    try:
        async with session.request(method, path) as response:
            await response.read()
    except aiohttp.ClientError:
        return  # It shows in the proxy's own counts.


async def _view(app: App, over: asyncio.Event) -> None:
    from rich.live import Live  # noqa: PLC0415 - only with a terminal

    with Live(_picture(app), refresh_per_second=4) as live:
        while not over.is_set():
            await asyncio.sleep(_VIEW_S)
            live.update(_picture(app))


def _picture(app: App) -> Group:
    from rich.console import Group  # noqa: PLC0415 - only with a terminal
    from rich.table import Table  # noqa: PLC0415

    routes = Table("route", "requests", "failed", "retries", "breaker", title="Routes")
    for row in rows(app):
        routes.add_row(*map(str, row))
    faults = Table("code", "route", "status", "fix", title="Last faults")
    for record in app.recorder.feed.newest()[:_LAST_FAULTS]:
        names = record["code"], record["route"], str(record["status"]), record["fix"]
        faults.add_row(*names)
    return Group(routes, faults)


def rows(app: App) -> list[tuple[str, int, int, int, str]]:
    """Return name, requests, failures, retries and breaker state of each route."""
    store = app.recorder.store
    counted: dict[str, list[int]] = {}
    for (_, route, _, _, code), series in store.requests.items():
        count = sum(series.durations.counts)
        total = counted.setdefault(route, [0, 0])
        total[0] += count
        total[1] += count if code else 0
    result = []
    for state in app.runtime.routes:
        requests, failed = counted.get(state.route.name, (0, 0))
        breaker = state.breaker.state.value if state.breaker else "off"
        retries = store.retries_by_route[state.route.name]
        result.append((state.route.name, requests, failed, retries, breaker))
    return result


def _hints(app: App) -> str:
    host, port = app.addresses["inbound"]
    admin = "http://{}:{}".format(*app.addresses["admin"])
    base = f"http://{host}:{port}"
    return (
        "Try, in another terminal:\n"
        f"  curl -i {base}/prices\n"
        f"  curl -i -X POST {base}/orders\n"
        f"  curl -i {base}/legacy\n"
        f"  curl -i -H 'Accept: text/plain' {base}/nowhere\n"
        f"  curl -s {admin}/faults?limit=1\n"
        f"Admin: {admin}   End: Ctrl-C\n"
    )


def _summary(app: App) -> None:
    lines: list[Any] = [
        f"{'route':<12}{'requests':>9}{'failed':>8}{'retries':>9}  breaker"
    ]
    for name, requests, failed, retries, breaker in rows(app):
        lines.append(f"{name:<12}{requests:>9}{failed:>8}{retries:>9}  {breaker}")
    lines.append("")
    for (code, severity, _, route), count in sorted(app.recorder.store.faults.items()):
        lines.append(f"{count:>5} x {code:<26}{severity}  {route or '(no route)'}")
    _say("\n".join(lines))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
