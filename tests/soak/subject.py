"""The sidecar under test: a process, its settings, and what is left in it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil
import yaml
from prometheus_client.parser import text_string_to_metric_families

import sidecar
from benchmarks.processes import BOUND

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLACE = re.compile(r"(\w+) 127\.0\.0\.1:(\d+)")
_HERE = Path(sidecar.__file__).resolve().parents[1]
_LOOK_S = 0.05
_QUIET_S = 20.0  # The longest limit below is 10 s, of the budget's window.
_GROWTH_RATIO = 0.10
_GROWTH_BYTES = 4 * 2**20
_ANYWHERE = "127.0.0.1:0"
_COMPLAINT = re.compile(r"Traceback|Error\b|Exception|^ERROR|^CRITICAL")


def settings(origin_port: int) -> dict[str, Any]:
    """Return a configuration like that of a service, with short limits of time."""
    return {
        "inbound": {"listen": _ANYWHERE},
        "health": {"listen": _ANYWHERE},
        "admin": {"listen": _ANYWHERE},
        "upstreams": {
            "app": {"endpoints": [f"127.0.0.1:{origin_port}"], "pool": {"idle": "1s"}}
        },
        "routes": [
            {
                "name": "all",
                "upstream": "app",
                "timeouts": {"request": "6s", "per_try": "2s", "stream_idle": "3s"},
                "circuit_breaker": {"open": "500ms", "open_max": "1s"},
            }
        ],
        "telemetry": {"access_log": {"mode": "all"}},
        "drain": {"lead": "0s", "grace": "10s"},
    }


@dataclass(frozen=True, slots=True)
class Counts:
    """What a sidecar holds when nobody asks it for anything."""

    descriptors: int
    threads: int
    tasks: int
    connections: int
    in_flight: int
    pool_idle: int
    pool_busy: int
    pool_pending: int
    retries_in_flight: int
    requests_in_budget: int
    probes: int

    def left_since(self, before: Counts) -> Iterator[str]:
        """Yield what there is more of than before."""
        now, then = asdict(self), asdict(before)
        for name, count in now.items():
            if count > then[name]:
                yield f"left over: {name.replace('_', ' ')} {then[name]} -> {count}"


class Subject:
    """One running sidecar, its logs in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._ports: dict[str, int] = {}

    @property
    def port(self) -> int:
        """Where the clients go."""
        return self._ports["inbound"]

    @property
    def resident_bytes(self) -> int:
        """Its memory."""
        return int(self._look().memory_info().rss)

    async def start(self, origin_port: int, code: Path | None = None) -> None:
        """Start one that is imported from the folder `code`; as here by default.

        Memory that was freed goes back to the system at once, in one arena: what
        is counted at the end is then what is in use, not what malloc keeps.
        """
        config = self._folder / "sidecar.yaml"
        config.write_text(yaml.safe_dump(settings(origin_port)), encoding="utf-8")
        place = code or _HERE
        environment = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
        environment |= {
            "PYTHONPATH": str(place),
            "MALLOC_ARENA_MAX": "1",
            "MALLOC_TRIM_THRESHOLD_": "65536",
        }
        with (
            (self._folder / "access.log").open("wb") as out,
            self._errors.open("wb") as err,
        ):
            self._process = await asyncio.create_subprocess_exec(
                *(*BOUND, sys.executable, "-m", "sidecar", "run", "-c", str(config)),
                stdout=out, stderr=err, cwd=self._folder, env=environment,
            )  # fmt: skip
        while "serving:" not in (told := self._errors.read_text(encoding="utf-8")):
            assert self._process.returncode is None, told
            await asyncio.sleep(_LOOK_S)
        self._ports = {name: int(port) for name, port in _PLACE.findall(told)}

    async def connect(self) -> asyncio.StreamWriter:
        """Connect as a client, and ask nothing."""
        return (await asyncio.open_connection("127.0.0.1", self.port))[1]

    async def fill_fault_feed(self, count: int) -> None:
        """Let it remember as many failures as it ever will: that is no leak."""
        ask = b"GET / HTTP/1.1\r\nHost: soak\r\nX-316-Deadline-Ms: no\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for _ in range(count):
            writer.write(ask)
            head = await reader.readuntil(b"\r\n\r\n")
            size = re.search(rb"(?i)content-length: (\d+)", head)
            assert size is not None
            await reader.readexactly(int(size[1]))
        writer.close()

    async def settled(self) -> Counts:
        """Return what it holds as soon as that does not change any more."""
        before = await self.counts()
        while True:
            await asyncio.sleep(_LOOK_S)
            counts = await self.counts()
            if counts == before and not counts.connections:
                return counts
            before = counts

    async def until_quiet(self, before: Counts) -> Counts:
        """Wait until there is no more in it than before, but not for ever."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + _QUIET_S
        while True:
            counts = await self.counts()
            if not any(counts.left_since(before)) or loop.time() > deadline_s:
                return counts
            await asyncio.sleep(_LOOK_S)

    async def counts(self) -> Counts:
        """Ask it, and the system, what it holds."""
        async with aiohttp.ClientSession() as session:
            metrics = await self._metrics(session)
            [upstream] = await self._admin(session, "/upstreams")
            breakers = await self._admin(session, "/breakers")
        process = self._look()
        [endpoint] = upstream["endpoints"]
        return Counts(
            descriptors=process.num_fds(),
            threads=process.num_threads(),
            tasks=int(metrics["sidecar_event_loop_tasks"]),
            connections=self._client_connections(process),
            in_flight=upstream["in_flight"]
            + int(metrics["http_server_active_requests"]),
            pool_idle=endpoint["idle"],
            pool_busy=endpoint["busy"],
            pool_pending=upstream["pending"],
            retries_in_flight=upstream["retries_in_flight"],
            requests_in_budget=upstream["requests_in_budget"],
            probes=sum(breaker["probes"] for breaker in breakers),
        )

    async def end(self) -> Iterator[str]:
        """SIGTERM; yield what is wrong with how it ended, and with its log."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_QUIET_S):
                code = await self._process.wait()
        except TimeoutError:
            await self.kill()
            code = -9
        return complaints(code, self._errors.read_text(encoding="utf-8"))

    async def kill(self) -> None:
        """End it in any case."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @property
    def _errors(self) -> Path:
        return self._folder / "sidecar.log"

    def _look(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def _client_connections(self, process: psutil.Process) -> int:
        return sum(
            bool(link.raddr) and link.laddr.port == self.port
            for link in process.net_connections("tcp")
        )

    async def _metrics(self, session: aiohttp.ClientSession) -> dict[str, float]:
        url = f"http://127.0.0.1:{self._ports['health']}/metrics"
        async with session.get(url) as answer:
            families = text_string_to_metric_families(await answer.text())
        return {s.name: s.value for family in families for s in family.samples}

    async def _admin(self, session: aiohttp.ClientSession, path: str) -> Any:
        url = f"http://127.0.0.1:{self._ports['admin']}{path}"
        async with session.get(url) as answer:
            return await answer.json()


def growth(before_bytes: int, after_bytes: int) -> Iterator[str]:
    """Yield a sentence if memory grew by more than a tenth and 4 MiB."""
    most = before_bytes * (1 + _GROWTH_RATIO) + _GROWTH_BYTES
    if after_bytes > most:
        yield (
            f"left over: memory {before_bytes / 2**20:.1f} -> "
            f"{after_bytes / 2**20:.1f} MiB; {most / 2**20:.1f} is the most"
        )


def complaints(code: int, log: str) -> Iterator[str]:
    """Yield what is wrong with an exit code, and with what was logged."""
    if code:
        yield f"the sidecar ended with exit code {code}, not 0"
    for line in log.splitlines():
        if _COMPLAINT.search(line):
            yield f"its log complains: {line[:200]}"
