"""How it ends: a real process under real signals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.process import sidecar
from tests.support.proxy import (
    ANYWHERE,
    OK,
    Origin,
    Talk,
    always_ok,
    header_of,
    status_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.proxy import Script

AT_ONCE = {"lead": "0s", "grace": "30s"}
ASK = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


@contextlib.asynccontextmanager
async def origin(script: Script = always_ok) -> AsyncIterator[Origin]:
    there = Origin(script)
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0)
    there.port = server.sockets[0].getsockname()[1]
    try:
        yield there
    finally:
        server.close()
        await there.end()


def before(there: Origin) -> dict[str, object]:
    return {"app": {"endpoints": [f"127.0.0.1:{there.port}"]}}


class Slow:
    """An origin that answers when it is told to."""

    def __init__(self) -> None:
        self.has_request = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def __call__(self, talk: Talk) -> None:
        while await talk.request():
            self.has_request.set()
            await self.may_answer.wait()
            await talk.send(OK)


async def ask(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ASK)
    return reader, writer


async def test_a_request_under_way_is_finished(tmp_path: Path) -> None:
    """SIGTERM: not ready at once, the slow answer still comes whole, exit 0."""
    slow = Slow()
    async with (
        origin(slow) as there,
        sidecar(tmp_path, upstreams=before(there), drain=AT_ONCE) as running,
    ):
        reader, writer = await ask(running.inbound)
        await slow.has_request.wait()
        running.process.send_signal(signal.SIGTERM)
        await running.until(503)
        await running.until_draining()
        slow.may_answer.set()
        answer = await reader.read()
        writer.close()
        assert status_of(answer) == 200
        assert answer.endswith(b"ok")
        assert header_of(answer, "connection") == "close"
        assert await running.process.wait() == 0


async def test_while_others_take_notice_it_serves_as_ever(tmp_path: Path) -> None:
    """Within `drain.lead` it is not ready, yet takes connections and keeps them."""
    long = {"lead": "20s", "grace": "30s"}
    async with (
        origin() as there,
        sidecar(tmp_path, upstreams=before(there), drain=long) as running,
    ):
        running.process.send_signal(signal.SIGTERM)
        await running.until(503)
        reader, writer = await ask(running.inbound)
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            assert status_of(head) == 200
            assert header_of(head, "connection") is None
            await reader.readexactly(2)
            writer.write(ASK)
        writer.close()


async def test_what_comes_after_that_is_refused_as_never_processed(
    tmp_path: Path,
) -> None:
    """The rest of a head that began earlier: 503, `processed: no`, and the end."""
    async with (
        origin() as there,
        sidecar(tmp_path, upstreams=before(there), drain=AT_ONCE) as running,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.inbound)
        writer.write(ASK + ASK[:-2])  # The first answer proves that this is read.
        await reader.readuntil(b"ok")
        running.process.send_signal(signal.SIGTERM)
        await running.until_draining()
        writer.write(ASK[-2:])
        answer = await reader.read()
        writer.close()
        assert status_of(answer) == 503
        assert header_of(answer, "x-316-code") == "316-DRAINING"
        assert header_of(answer, "x-316-processed") == "no"
        assert header_of(answer, "connection") == "close"
        assert await running.process.wait() == 0


async def test_an_idle_connection_does_not_hold_it(tmp_path: Path) -> None:
    async with (
        origin() as there,
        sidecar(tmp_path, upstreams=before(there), drain=AT_ONCE) as running,
    ):
        reader, writer = await ask(running.inbound)
        await reader.readuntil(b"ok")
        running.process.send_signal(signal.SIGTERM)
        assert await reader.read() == b""
        assert await running.process.wait() == 0
        writer.close()


async def test_what_outlasts_its_grace_is_cut(tmp_path: Path) -> None:
    """And the process ends all the same, with 0, having told of it."""
    slow = Slow()
    short = {"lead": "0s", "grace": "1s"}
    async with (
        origin(slow) as there,
        sidecar(tmp_path, upstreams=before(there), drain=short) as running,
    ):
        reader, writer = await ask(running.inbound)
        await slow.has_request.wait()
        running.process.send_signal(signal.SIGTERM)
        answer = await reader.read()
        writer.close()
        assert header_of(answer, "x-316-code") == "316-DRAINING"
        assert header_of(answer, "x-316-processed") is None
        assert await running.process.wait() == 0
        out, _ = await running.process.communicate()
        codes = [json.loads(line)["code"] for line in out.splitlines()]
        assert codes == ["316-DRAINING"]


async def test_a_tunnel_lives_while_others_finish_and_ends_with_a_word(
    tmp_path: Path,
) -> None:
    """A WebSocket is told that the server goes away (close code 1001)."""
    slow = Slow()

    async def echo(talk: Talk) -> None:
        if b"websocket" not in await talk.request():
            slow.has_request.set()
            await slow.may_answer.wait()
            await talk.send(OK)
            return
        await talk.send(
            b"HTTP/1.1 101 Switching Protocols\r\n"
            b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        while data := await talk.reader.read(100):
            await talk.send(data)

    async with (
        origin(echo) as there,
        sidecar(tmp_path, upstreams=before(there), drain=AT_ONCE) as running,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.inbound)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: test\r\n"
            b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        assert status_of(await reader.readuntil(b"\r\n\r\n")) == 101
        other, other_writer = await ask(running.inbound)
        await slow.has_request.wait()
        running.process.send_signal(signal.SIGTERM)
        await running.until_draining()
        writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        slow.may_answer.set()
        assert status_of(await other.read()) == 200
        assert await reader.read() == b"\x88\x02\x03\xe9"
        writer.close()
        other_writer.close()
        assert await running.process.wait() == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_at_once(
    tmp_path: Path, second: signal.Signals
) -> None:
    """It does not wait for the request, nor for the lead."""
    slow = Slow()
    long = {"lead": "1h", "grace": "2h"}
    async with (
        origin(slow) as there,
        sidecar(tmp_path, upstreams=before(there), drain=long) as running,
    ):
        reader, writer = await ask(running.inbound)
        await slow.has_request.wait()
        running.process.send_signal(signal.SIGINT)
        await running.until(503)
        running.process.send_signal(second)
        assert header_of(await reader.read(), "x-316-code") == "316-DRAINING"
        writer.close()
        assert await running.process.wait() == 0


def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_outbound_stays_open_until_the_application_is_gone(
    tmp_path: Path,
) -> None:
    """Its last requests go out after SIGTERM; its closed port is the end."""
    async with origin() as elsewhere:
        app = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        app_port = app.sockets[0].getsockname()[1]
        upstreams = {
            "app": {"endpoints": [f"127.0.0.1:{app_port}"]},
            "elsewhere": {"endpoints": [f"127.0.0.1:{elsewhere.port}"]},
        }
        routes = [
            {"name": "in", "upstream": "app"},
            {"name": "out", "upstream": "elsewhere", "listener": "outbound"},
        ]
        async with sidecar(
            tmp_path,
            upstreams=upstreams,
            routes=routes,
            outbound={"listen": ANYWHERE},
            drain=AT_ONCE,
        ) as running:
            reader, writer = await ask(running.outbound)
            await reader.readuntil(b"ok")
            running.process.send_signal(signal.SIGTERM)
            await running.until_draining()
            writer.write(ASK)
            head = await reader.readuntil(b"\r\n\r\n")
            assert status_of(head) == 200
            assert header_of(head, "connection") is None
            app.close()
            await app.wait_closed()
            assert await running.process.wait() == 0
            writer.close()


async def test_a_log_that_nobody_reads_costs_no_request(tmp_path: Path) -> None:
    """A full pipe at stdout: every request is answered, and it ends with 0."""
    read_end, write_end = os.pipe()
    fill(write_end)
    log: Any = {"telemetry": {"access_log": {"mode": "all"}}, "drain": AT_ONCE}
    try:
        async with (
            origin() as there,
            sidecar(
                tmp_path, stdout=write_end, upstreams=before(there), **log
            ) as running,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.inbound)
            for _ in range(50):
                writer.write(ASK)
                await reader.readuntil(b"ok")
            writer.close()
            running.process.send_signal(signal.SIGTERM)
            assert await running.process.wait() == 0
    finally:
        os.close(read_end)
        os.close(write_end)


def fill(write_end: int) -> None:
    """Leave no room in a pipe, for a blocking writer."""
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_end, b"x" * 512)
    os.set_blocking(write_end, True)


async def test_logs_are_flushed_before_it_ends(tmp_path: Path) -> None:
    log: Any = {"telemetry": {"access_log": {"mode": "all"}}, "drain": AT_ONCE}
    async with (
        origin() as there,
        sidecar(tmp_path, upstreams=before(there), **log) as running,
    ):
        reader, writer = await ask(running.inbound)
        await reader.readuntil(b"ok")
        running.process.send_signal(signal.SIGTERM)
        out, _ = await running.process.communicate()
        writer.close()
        assert [json.loads(line)["event"] for line in out.splitlines()] == ["request"]


async def run(*arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecar", "run", *arguments,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    return process.returncode, errors.decode()


async def test_an_address_in_use_is_exit_code_1(tmp_path: Path) -> None:
    async with (
        origin() as there,
        sidecar(tmp_path, upstreams=before(there), drain=AT_ONCE) as running,
    ):
        file = tmp_path / "sidecar.yaml"
        settings = yaml.safe_load(file.read_text())
        settings["inbound"]["listen"] = f"127.0.0.1:{running.inbound}"
        file.write_text(yaml.safe_dump(settings))
        code, errors = await run("-c", str(file))
        assert code == 1
        assert f"inbound: cannot listen on 127.0.0.1:{running.inbound}" in errors


async def test_a_wrong_call_is_exit_code_2() -> None:
    code, errors = await run()
    assert code == 2
    assert "give either -c FILE or --upstream HOST:PORT" in errors


async def test_the_process_is_gone_with_its_ports(tmp_path: Path) -> None:
    async with (
        origin() as there,
        sidecar(tmp_path, upstreams=before(there), drain=AT_ONCE) as running,
    ):
        running.process.send_signal(signal.SIGTERM)
        assert await running.process.wait() == 0
        for port in (running.inbound, running.health, running.admin):
            await running.until_refused(port)
