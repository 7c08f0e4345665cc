"""`python -m sidecar run` as a process of its own, as a pod would run it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LOOK_S = 0.02


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, all different."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Sidecar:
    """The process, and its ports."""

    def __init__(self, process: asyncio.subprocess.Process, ports: list[int]) -> None:
        self.process = process
        self.inbound, self.health, self.admin, self.outbound = ports

    async def status(self, path: str) -> int:
        """Return what the health server answers; 0 when nobody does."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.health}{path}") as got,
            ):
                return got.status
        except aiohttp.ClientError:
            return 0

    async def until(self, status: int, path: str = "/healthz/ready") -> None:
        """Wait until the health server answers so; the test's time bounds it."""
        while await self.status(path) != status:
            assert self.process.returncode is None, "it ended"
            await asyncio.sleep(LOOK_S)

    async def until_refused(self, port: int) -> None:
        """Wait until nobody listens there."""
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return
            writer.close()
            await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def sidecar(
    folder: Path, *, stdout: int | None = None, **top: Any
) -> AsyncIterator[Sidecar]:
    """Run one with these keys at the top of its file; ready when it is yielded."""
    ports = free_ports(4)
    places = [f"127.0.0.1:{port}" for port in ports]
    settings = {
        "inbound": {"listen": places[0]},
        "health": {"listen": places[1]},
        "admin": {"listen": places[2]},
        "routes": [{"name": "all", "upstream": "app"}],
        **top,
    }
    if settings.get("outbound"):
        settings["outbound"] = {"listen": places[3]}
    file = folder / "sidecar.yaml"
    file.write_text(yaml.safe_dump(settings))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecar", "run", "-c", str(file),
        stdout=asyncio.subprocess.PIPE if stdout is None else stdout,
        stderr=asyncio.subprocess.PIPE,
        env={k: v for k, v in os.environ.items() if not k.startswith("OTEL_")},
    )  # fmt: skip
    running = Sidecar(process, ports)
    try:
        await running.until(200)
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
