"""sidecar run: serve."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from sidecar.settings.load import Loaded, from_upstream, load_file
from sidecar.settings.problem import SettingsError
from sidecar.settings.source import Identity, identity_of

if TYPE_CHECKING:
    from sidecar.app import App

_TERMINATION_LOG = Path("/dev/termination-log")
_MOST_WORDS_BYTES = 4096


class Level(Enum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def command(
    config: Annotated[
        str | None, typer.Option("-c", "--config", help="Configuration file (YAML).")
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option(help="Without a file: host:port that everything goes to."),
    ] = None,
    log_level: Annotated[
        Level | None,
        typer.Option(help="At the start, instead of the file's log.level."),
    ] = None,
    *,
    watch: Annotated[
        bool, typer.Option(help="Reload when the file has changed; SIGHUP always does.")
    ] = True,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain; a second signal ends at once.

    Example: sidecar run -c config/sidecar.yaml
    """
    if (config is None) == (upstream is None):
        _fail("give either -c FILE or --upstream HOST:PORT", code=2)
    if config is not None:  # What replaces a file may say so before all is set up.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    seen = identity_of(config)  # First: what is written from now on is seen.
    try:
        loaded = load_file(config) if config else from_upstream(str(upstream))
    except SettingsError as error:
        _fail(str(error))
    for warning in loaded.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    _install_log(log_level.value if log_level else loaded.snapshot.log_level)
    _serve(loaded, config, seen, is_watching=watch and config is not None)


def _install_log(level: str) -> None:
    """Let what this process logs be told on stderr."""
    from sidecar.record.own_log import install  # noqa: PLC0415 - --help does without

    install(sys.stderr, level.upper())


def _serve(
    loaded: Loaded, config: str | None, seen: Identity, *, is_watching: bool
) -> None:
    import uvloop  # noqa: PLC0415 - after the settings are known to be good

    from sidecar import capacity, descriptors  # noqa: PLC0415 - likewise
    from sidecar.cgroup import Cgroup  # noqa: PLC0415 - likewise

    _forbid_core_dumps()
    descriptors.raise_limit()
    cgroup = Cgroup()
    warnings = capacity.shortages(loaded.snapshot, cgroup.memory_limit_bytes())
    for warning in filter(None, [descriptors.shortage(loaded.snapshot), *warnings]):
        sys.stderr.write(f"warning: {warning}\n")
    threads = capacity.threads(cgroup.cpus(), os.cpu_count() or 1)
    uvloop.run(_run(loaded, config, seen, threads, is_watching=is_watching))


def _forbid_core_dumps() -> None:
    """Let a crash leave no file with what was in memory: tokens, and requests."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


async def _run(
    loaded: Loaded,
    config: str | None,
    seen: Identity,
    threads: int,
    *,
    is_watching: bool,
) -> None:
    import asyncio  # noqa: PLC0415 - heavy
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - likewise

    from sidecar.app import App, ListenError  # noqa: PLC0415 - likewise

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads))
    try:  # A SettingsError: what the file names cannot be used.
        app = App(loaded, config=config, seen=seen)
        app.heed_signals()
        has_started = await app.start_unless_ended()
    except (ListenError, SettingsError) as error:
        _fail(str(error))
    if not has_started:
        leave_word(f"ended: {app.end_cause}, before it served")
        return
    places = ", ".join(
        f"{name} {host}:{port}" for name, (host, port) in app.addresses.items()
    )
    logging.getLogger("sidecar").info("serving: %s", places)
    await app.run(is_watching=is_watching)
    leave_word(f"ended: {app.end_cause}; {_last_fault(app)}")


def _last_fault(app: App) -> str:
    newest = app.recorder.feed.newest(1)
    if not newest:
        return "no fault is remembered"
    fault = newest[0]
    return f"the last fault: {fault['time']} {fault['code']} {fault['detail']}"


def leave_word(text: str, path: Path = _TERMINATION_LOG) -> None:
    """Write why the process ends to where Kubernetes looks for it, if that is there.

    Source:
        Kubernetes, "Determine the Reason for Pod Failure": 4,096 bytes at most.
    """
    if path.exists():
        with suppress(OSError):
            path.write_bytes(text.encode("utf-8", "replace")[:_MOST_WORDS_BYTES])


def _fail(message: str, code: int = 1) -> NoReturn:
    sys.stderr.write(message + "\n")
    leave_word(message)
    sys.exit(code)
