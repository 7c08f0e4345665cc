"""A sidecar as users run it: a process of its own, known by its ports only."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psutil
import yaml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_PLACE = re.compile(r"(\w+) 127\.0\.0\.1:(\d+)")
ANYWHERE = {"listen": "127.0.0.1:0"}


class SidecarProcess:
    """Its ports by listener, and its memory."""

    def __init__(self, ports: dict[str, int], pid: int) -> None:
        self.ports = ports
        self._process = psutil.Process(pid)

    @property
    def resident_bytes(self) -> int:
        resident: int = self._process.memory_info().rss
        return resident


@asynccontextmanager
async def sidecar_process(
    folder: Path, settings: dict[str, Any]
) -> AsyncIterator[SidecarProcess]:
    """Run `sidecar run` with these settings; addresses are chosen by the system."""
    config = folder / "sidecar.yaml"
    places = dict.fromkeys(("inbound", "health", "admin"), ANYWHERE)
    config.write_text(yaml.safe_dump({**places, **settings}))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sidecar", "run", "-c", str(config)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    log = process.stderr
    try:
        yield SidecarProcess(await _ports(log), process.pid)
    finally:
        if process.returncode is None:
            process.kill()
        await log.read()
        await process.wait()


async def _ports(log: asyncio.StreamReader) -> dict[str, int]:
    """Read the log up to the line that says where it serves."""
    seen = []
    async for line in log:
        seen.append(line.decode())
        if "serving: " in seen[-1]:
            return {name: int(port) for name, port in _PLACE.findall(seen[-1])}
    msg = f"the sidecar did not start: {''.join(seen)}"
    raise AssertionError(msg)
