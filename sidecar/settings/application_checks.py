"""What is wrong, or hardly meant, with the check of the application."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sidecar.settings.application import is_on, local_addresses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.settings.application import ApplicationSettings, RecoverySettings
    from sidecar.settings.models import FileSettings
    from sidecar.settings.problem import Problem
    from sidecar.settings.source import Path_, Source

_AT: Final = ("health", "application")
_SOON_S: Final = 10.0


def find_application_problems(
    settings: FileSettings, source: Source
) -> Iterator[Problem]:
    """Yield what leaves open what is to be checked, or done."""
    check = settings.health.application
    if check is None:
        return
    ways = [way for way in (check.http, check.tcp, check.command) if way]
    if len(ways) != 1:
        message = "must have one of http, tcp and command"
        yield source.problem(_AT, message)
    inbound = {route.upstream for route in settings.routes if _is_inbound(route)}
    found = [u for name, u in settings.upstreams.items() if name in inbound]
    for name, way in (("http", check.http), ("tcp", check.tcp)):
        if way is not None and way.port is None and not local_addresses(found):
            message = "has no port, and no inbound route leads to one on loopback"
            hint = "write the application's port"
            yield source.problem((*_AT, name), message, hint)
    if check.http is not None and not check.http.status:
        message = "is empty: no answer would be good"
        yield source.problem((*_AT, "http", "status"), message)
    if check.recovery is not None:
        yield from _recovery_problems(check.recovery, source)


def _recovery_problems(recovery: RecoverySettings, source: Source) -> Iterator[Problem]:
    at = (*_AT, "recovery")
    if (recovery.http is None) == (not recovery.command):
        yield source.problem(at, "must have one of http and command")
    if recovery.http is not None and not _has_good_port(recovery.http.url):
        message = "has a port or a host that none can be"
        yield source.problem((*at, "http", "url"), message, "1 to 65535")


def _has_good_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def find_application_warnings(
    settings: FileSettings, source: Source
) -> Iterator[Problem]:
    """Yield what works, but hardly as it is meant."""
    check = settings.health.application
    if check is None or not is_on(check):
        return
    if check.http and check.http.method == "HEAD" and check.http.body_contains:
        message = "is looked for in an answer to HEAD, which has no body"
        at = (*_AT, "http", "body_contains")
        yield source.problem(at, message, "method: GET")
    yield from _time_warnings(check, source)
    yield from _memory_warnings(check, source)
    yield from _command_warnings((*_AT, "command"), check.command, source)
    if check.recovery is not None:
        yield from _recovery_warnings(check, check.recovery, source)


def _time_warnings(check: ApplicationSettings, source: Source) -> Iterator[Problem]:
    if check.timeout >= check.interval:
        message = (
            f"({check.timeout:g} s) is not below interval ({check.interval:g} s): a "
            "check that hangs holds the next one up"
        )
        yield source.problem((*_AT, "timeout"), message, "lower it")
    limit_s = check.response_time
    if limit_s is not None and limit_s >= check.timeout:
        message = (
            f"({limit_s:g} s) is not below timeout ({check.timeout:g} s), which ends a"
            " check before"
        )
        yield source.problem((*_AT, "response_time"), message, "raise timeout")
    if limit_s is not None and check.command:
        message = "of a command is how long it runs, the start of a process included"
        yield source.problem((*_AT, "response_time"), message)


def _memory_warnings(check: ApplicationSettings, source: Source) -> Iterator[Problem]:
    if isinstance(check.memory, float):
        message = (
            "as a share needs the memory limit of the application, which another user"
            " may not read"
        )
        yield source.problem((*_AT, "memory"), message, "give a size, as in 400MiB")


def _command_warnings(
    at: Path_, command: tuple[str, ...], source: Source
) -> Iterator[Problem]:
    if command and shutil.which(command[0]) is None:
        message = f"{command[0]!r} is no program that is found here"
        hint = "it runs beside the sidecar, in its container, and without a shell"
        yield source.problem(at, message, hint)


def _recovery_warnings(
    check: ApplicationSettings, recovery: RecoverySettings, source: Source
) -> Iterator[Problem]:
    at = (*_AT, "recovery")
    yield from _command_warnings((*at, "command"), recovery.command, source)
    least_s = max(_SOON_S, check.interval * check.healthy_after)
    if recovery.min_interval < least_s:
        message = (
            f"({recovery.min_interval:g} s) is soon again: the application cannot have"
            f" recovered within {least_s:g} s"
        )
        yield source.problem((*at, "min_interval"), message, "5m is the default")


def _is_inbound(route: object) -> bool:
    return getattr(route, "listener", "") == "inbound"
