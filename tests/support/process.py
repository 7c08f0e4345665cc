"""`python -m sidecar run` as a process of its own, as a pod would run it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil
import yaml

from benchmarks.processes import BOUND
from tests.support.proxy import ANYWHERE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

LOOK_S = 0.02
_PATIENCE_S = 0.3
_PLACE = re.compile(r"(\w+) 127\.0\.0\.1:(\d+)")


class Sidecar:
    """The process, and its ports as it told them itself."""

    def __init__(
        self, process: asyncio.subprocess.Process, ports: dict[str, int]
    ) -> None:
        self.process = process
        self.warnings = ""  # On stderr, before it served.
        self.inbound = ports["inbound"]
        self.health = ports["health"]
        self.admin = ports["admin"]
        self.outbound = ports.get("outbound", 0)

    @property
    def resident_bytes(self) -> int:
        """Return its memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

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

    async def until_draining(self) -> None:
        """Wait until new requests are refused, or nobody listens any more."""
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self.inbound
                )
            except OSError:
                return
            writer.write(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            answer = b"later"
            with contextlib.suppress(TimeoutError):  # It went to a slow origin.
                async with asyncio.timeout(_PATIENCE_S):
                    answer = await reader.read()
            writer.close()
            if b"316-DRAINING" in answer or not answer:
                return
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
    folder: Path,
    *arguments: str,
    stdout: int | None = None,
    files: int = 0,
    objects: str = "",
    inside: Sequence[str] = (),
    **top: Any,
) -> AsyncIterator[Sidecar]:
    """Run one with these keys at the top of its file; ready when it is yielded.

    Args:
        folder: Where its file is written.
        arguments: More words of the command line.
        stdout: Where its access log goes.
        files: How many it may have open; 0: as many as this process may.
        objects: Documents after that of the keys, which has no routes then.
        inside: What goes before the command, to run it in a cgroup.
        top: Keys of the file.
    """
    settings = {
        "inbound": {"listen": ANYWHERE},
        "health": {"listen": ANYWHERE},
        "admin": {"listen": ANYWHERE},
        **({} if objects else {"routes": [{"name": "all", "upstream": "app"}]}),
        **top,
    }
    file = folder / "sidecar.yaml"
    file.write_text(yaml.safe_dump(settings) + objects)
    bounds = ("prlimit", f"--nofile={files}:{files}") if files else ()
    process = await asyncio.create_subprocess_exec(
        *inside, *BOUND, *bounds,
        sys.executable, "-m", "sidecar", "run", "-c", str(file), *arguments,
        stdout=asyncio.subprocess.PIPE if stdout is None else stdout,
        stderr=asyncio.subprocess.PIPE,
        env={k: v for k, v in os.environ.items() if not k.startswith("OTEL_")},
    )  # fmt: skip
    try:
        assert process.stderr is not None
        told = b""
        warnings: list[bytes] = []
        while b"serving:" not in told:
            told = await process.stderr.readline()
            assert told, "it ended"
            warnings += [told] if told.startswith(b"warning:") else []
        ports = {name: int(port) for name, port in _PLACE.findall(told.decode())}
        running = Sidecar(process, ports)
        running.warnings = b"".join(warnings).decode()
        await running.until(200)
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
