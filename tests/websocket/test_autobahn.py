"""Autobahn|Testsuite against both roles, direct and through.

Its verdicts must be the same for both: what an implementation does badly on its
own it may do badly behind the sidecar, but nothing else. It runs on Python 2.7
alone, so it is skipped where `wstest` is not installed (`.requirements/wstest`).
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.support.observe import metric_of
from tests.support.proxy import proxied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
WSTEST = shutil.which("wstest", path=str(ROOT / ".venv" / "wstest" / "bin")) or (
    shutil.which("wstest")
)
# Without those about speed (9), and the 145 and 400 of UTF-8 (6) and compression (12,
# 13), which take minutes: `cases.py` has a selection of them.
CHOSEN = ["1.*", "2.*", "3.*", "4.*", "5.*", "7.*", "10.*"]

pytestmark = [
    pytest.mark.skipif(WSTEST is None, reason="needs wstest: .requirements/wstest"),
    pytest.mark.timeout(600),
]


@asynccontextmanager
async def wstest(
    mode: str, folder: Path, **spec: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the suite in a mode; end it if it is still running."""
    file = folder / f"{mode}.json"
    base = {"outdir": str(folder / mode), "cases": CHOSEN, "exclude-cases": []}
    file.write_text(json.dumps({**base, "exclude-agent-cases": {}, **spec}))
    assert WSTEST is not None
    process = await asyncio.create_subprocess_exec(
        WSTEST, "-m", mode, "-s", str(file), "-u", "0",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        cwd=folder,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def verdicts(folder: Path, agent: str) -> dict[str, tuple[str, str, object]]:
    """Return by case: behavior, behavior at the close, close code of the peer.

    Not strict is as good: whether the echo of what came before a bad frame leaves
    before the connection ends depends on who is quicker.
    """
    index = json.loads((folder / "index.json").read_text())
    return {
        case: (
            found["behavior"].replace("NON-STRICT", "OK"),
            found["behaviorClose"],
            found["remoteCloseCode"],
        )
        for case, found in index[agent].items()
    }


def assert_same(folder: Path) -> None:
    direct, through = verdicts(folder, "direct"), verdicts(folder, "through")
    assert len(direct) > 100
    assert through == direct
    assert sum(found[0] == "OK" for found in through.values()) > 80


async def echo(peer: ServerConnection) -> None:
    try:
        async for message in peer:
            await peer.send(message)
    except ConnectionClosed:
        pass


async def test_a_server_behind_the_sidecar_gets_the_same_verdicts(
    tmp_path: Path,
) -> None:
    async with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with proxied(endpoints=[f"127.0.0.1:{port}"]) as proxy:
            agents = {"direct": port, "through": proxy.port}
            servers = [
                {"agent": name, "url": f"ws://127.0.0.1:{there}"}
                for name, there in agents.items()
            ]
            async with wstest("fuzzingclient", tmp_path, servers=servers) as suite:
                assert await suite.wait() == 0
            count = len(verdicts(tmp_path / "fuzzingclient", "through"))
            name = "http_server_request_duration_seconds_count"
            tunnels = await metric_of(proxy, name, http_response_status_code="101")
            assert tunnels >= count
    assert_same(tmp_path / "fuzzingclient")


async def test_a_client_before_the_sidecar_gets_the_same_verdicts(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"ws://127.0.0.1:{port}"
    async with (
        wstest("fuzzingserver", tmp_path, url=url) as suite,
        # It drops connections on purpose, and is not to be spared for that.
        proxied(endpoints=[f"127.0.0.1:{port}"], circuit_breaker="off") as proxy,
    ):
        await until_it_listens(suite, port)
        for agent, there in (("direct", port), ("through", proxy.port)):
            await run_all(url, agent, there)
        await visit(f"{url}/updateReports?agent=through", port)
    assert_same(tmp_path / "fuzzingserver")


async def run_all(url: str, agent: str, port: int) -> None:
    """Be the client of each case, at a port: the suite wants its own in Host."""
    async with connect(
        f"{url}/getCaseCount", proxy=None, host="127.0.0.1", port=port
    ) as peer:
        count = int(await peer.recv())
    for case in range(1, count + 1):
        await visit(f"{url}/runCase?case={case}&agent={agent}", port)


async def visit(url: str, port: int) -> None:
    """Connect, and send back what comes until the server has had enough."""
    try:
        async with connect(
            url, max_size=None, proxy=None, host="127.0.0.1", port=port
        ) as peer:
            async for message in peer:
                await peer.send(message)
    except ConnectionClosed:
        pass


async def until_it_listens(suite: asyncio.subprocess.Process, port: int) -> None:
    while True:
        assert suite.returncode is None, "it ended"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
