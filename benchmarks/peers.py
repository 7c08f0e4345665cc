"""The proxies that are compared, and the origin behind them.

Each has a file in `configs/`, one process on one core, and keeps connections
alive on both sides. nginx runs without a master process, so that no process of
its own making can be left behind; its one worker does the same work.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from string import Template
from typing import TYPE_CHECKING

from benchmarks.plan import OURS
from benchmarks.processes import (
    ROOT,
    Child,
    StartError,
    free_ports,
    python,
    running,
    wait_until_ok,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from benchmarks.plan import Plan

COMPILED = ROOT / ".venv" / "compiled"  # Where `make compile` puts it.
LARGE_BYTES = 64 * 1024
SMALL_BODY = "Sixty bytes, as many as this line has, are what it answers.\n"

_START_LIMIT_S = 20.0
_START_TRIES = 3  # A port that was free may be taken by the time it is used.
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # Not on every PATH.


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer is to run: a folder and ports of its own."""

    folder: Path
    port: int
    origin_port: int
    admin_port: int
    health_port: int
    closed_port: int  # Nobody listens there: the telemetry collector that is not.


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a peer, and whom to ask whether it is ready."""

    command: list[str]
    env: dict[str, str]
    ready_port: int
    ready_path: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy: why it cannot run (or an empty text), its version, its start."""

    name: str
    missing: Callable[[], str]
    version: Callable[[], str]
    launch: Callable[[Place], Launch]


@dataclass(frozen=True, slots=True)
class Running:
    """A peer that answers."""

    peer: Peer
    child: Child
    port: int
    ready_s: float  # From its start until it said that it is ready.


@contextmanager
def started(peer: Peer, plan: Plan, origin_port: int) -> Iterator[Running]:
    """Start `peer` in front of `origin_port` on the core of the proxies.

    Raises:
        StartError: It is not installed, or does not come up.
    """
    if why := peer.missing():
        raise StartError(why)
    for tries_left in reversed(range(_START_TRIES)):
        place = _place(peer.name, plan, origin_port)
        launch = peer.launch(place)
        start_s = time.perf_counter()
        with running(
            peer.name,
            launch.command,
            core=plan.proxy_core,
            folder=place.folder,
            env=launch.env,
        ) as child:
            try:
                _await_ready(child, launch)
            except StartError as error:
                if not _is_port_taken(child):
                    raise
                if tries_left:
                    continue
                msg = f"its port was taken, {_START_TRIES} times"
                raise StartError(msg) from error
            yield Running(peer, child, place.port, time.perf_counter() - start_s)
            return


@contextmanager
def origin(plan: Plan) -> Iterator[int]:
    """Run the origin on the core of the load and give its port.

    Raises:
        StartError: nginx is not installed, or does not come up.
    """
    if why := _not_installed("nginx")():
        raise StartError(why)
    folder = _folder("origin", plan)
    (folder / "large").write_bytes(bytes(LARGE_BYTES))
    (port,) = free_ports(1)
    body = SMALL_BODY.replace("\n", "\\n")
    launch = _nginx(folder, "origin.conf", port=port, small_body=body)
    with running("origin", launch.command, core=plan.load_core, folder=folder) as child:
        wait_until_ok(child, port, "/", limit_s=_START_LIMIT_S)
        yield port


def _await_ready(child: Child, launch: Launch) -> None:
    wait_until_ok(child, launch.ready_port, launch.ready_path, limit_s=_START_LIMIT_S)


def _is_port_taken(child: Child) -> bool:
    return "in use" in child.log.read_text(errors="replace").lower()


def _place(name: str, plan: Plan, origin_port: int) -> Place:
    port, admin_port, health_port, closed_port = free_ports(4)
    folder = _folder(name, plan)
    return Place(folder, port, origin_port, admin_port, health_port, closed_port)


def _folder(name: str, plan: Plan) -> Path:
    folder = plan.folder / name
    folder.mkdir(exist_ok=True)
    return folder


def sidecar_config(ports: Mapping[str, int], *, is_overload_on: bool = True) -> str:
    """Return the configuration that the sidecar is measured with."""
    text = (ROOT / "benchmarks" / "configs" / "sidecar.yaml").read_text()
    is_on = str(is_overload_on).lower()
    return Template(text).substitute(ports, is_overload_on=is_on)


def _configured(name: str, folder: Path, **values: object) -> str:
    """Fill a file of `configs/` in, and return the path of the result."""
    text = (ROOT / "benchmarks" / "configs" / name).read_text()
    path = folder / name
    path.write_text(Template(text).substitute(values, folder=folder))
    return str(path)


def _ports_of(place: Place) -> dict[str, int]:
    return {
        "port": place.port,
        "origin_port": place.origin_port,
        "admin_port": place.admin_port,
        "health_port": place.health_port,
    }


def _program(name: str) -> str | None:
    folders = [os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS]
    return shutil.which(name, path=os.pathsep.join(folders))


def _not_installed(name: str) -> Callable[[], str]:
    return lambda: "" if _program(name) else f"not installed (apt-get install {name})"


def _version_by(name: str, argument: str) -> Callable[[], str]:
    """Return what asks a program for its version, wherever it prints it."""

    def ask() -> str:
        told = subprocess.run(
            [_program(name) or name, argument],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        found = re.search(r"\d+(\.\d+)+", told.stdout + told.stderr)
        return found[0] if found else ""

    return ask


def _nginx(folder: Path, config: str, *, port: int, **values: object) -> Launch:
    path = _configured(config, folder, port=port, **values)
    command = [_program("nginx") or "nginx", "-p", str(folder), "-c", path]
    return Launch([*command, "-e", "stderr"], {}, port, "/")


def _launch_nginx(place: Place) -> Launch:
    return _nginx(
        place.folder, "nginx.conf", port=place.port, origin_port=place.origin_port
    )


def _launch_haproxy(place: Place) -> Launch:
    path = _configured("haproxy.cfg", place.folder, **_ports_of(place))
    command = [_program("haproxy") or "haproxy", "-db", "-f", path]
    return Launch(command, {}, place.port, "/")


def _launch_caddy(place: Place) -> Launch:
    path = _configured("Caddyfile", place.folder, **_ports_of(place))
    command = [
        _program("caddy") or "caddy",
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        path,
    ]
    home = str(place.folder)
    env = {"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
    return Launch(command, env, place.port, "/")


def _launch_aiohttp(place: Place) -> Launch:
    command, env = python(place.folder)
    module = "benchmarks.aiohttp_proxy"
    command += ["-m", module, str(place.port), str(place.origin_port)]
    return Launch(command, env, place.port, "/")


def _launch_sidecar(place: Place) -> Launch:
    return _launch_from(COMPILED, place)


def _launch_interpreted(place: Place) -> Launch:
    return _launch_from(ROOT, place)


def unguarded(peer: Peer) -> Peer:
    """Return a sidecar of ours that takes on all it is asked, overloaded or not."""
    tree = COMPILED if peer.name == OURS else ROOT
    return replace(peer, launch=partial(_launch_from, tree, is_overload_on=False))


def _launch_from(tree: Path, place: Place, *, is_overload_on: bool = True) -> Launch:
    path = place.folder / "sidecar.yaml"
    path.write_text(sidecar_config(_ports_of(place), is_overload_on=is_overload_on))
    command, env = python(place.folder, tree)
    command += ["-m", "sidecar", "run", "-c", str(path)]
    env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{place.closed_port}"
    return Launch(command, env, place.health_port, "/healthz/ready")


def _no_aiohttp() -> str:
    absent = [name for name in ("aiohttp", "uvloop") if not _has_module(name)]
    return f"not installed (pip install {' '.join(absent)})" if absent else ""


def _no_sidecar() -> str:
    """Tell why it cannot run: nothing is compiled, or not what is here now."""
    built = [path.stat().st_mtime for path in COMPILED.glob("sidecar/exchange.*.so")]
    if not built:
        return "not compiled (make compile; it needs gcc)"
    newest = max(p.stat().st_mtime for p in (ROOT / "sidecar").rglob("*.py"))
    return "" if max(built) > newest else "compiled from other sources: make compile"


def _has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _sidecar_version() -> str:
    try:
        return importlib.metadata.version("sidecar-316")
    except importlib.metadata.PackageNotFoundError:
        return "(this tree)"


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "nginx", _not_installed("nginx"), _version_by("nginx", "-v"), _launch_nginx
        ),
        Peer(
            "haproxy",
            _not_installed("haproxy"),
            _version_by("haproxy", "-v"),
            _launch_haproxy,
        ),
        Peer(
            "caddy",
            _not_installed("caddy"),
            _version_by("caddy", "version"),
            _launch_caddy,
        ),
        Peer(
            "aiohttp",
            _no_aiohttp,
            lambda: importlib.metadata.version("aiohttp"),
            _launch_aiohttp,
        ),
        Peer("interpreted", lambda: "", _sidecar_version, _launch_interpreted),
        Peer("sidecar", _no_sidecar, _sidecar_version, _launch_sidecar),
    )
}
