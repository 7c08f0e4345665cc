"""The application beside this sidecar: does it listen, and does it still run?

listens     readiness may wait for that (`health.await_application`)
runs        a Job's sidecar may end with it (`drain.follow_application`): in a pod
with `shareProcessNamespace: true` all of its processes are seen here
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

import psutil

from sidecar.settings.application import local_addresses

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.settings.snapshot import Address, Snapshot

_PROBE_S: Final = 1.0  # A kernel answers for its port at once; more is a busy one.
_LOOK_S: Final = 1.0
_LOOK_SOON_S: Final = 0.1  # Until it listens for the first time.
_LOOKS_UNTIL_GONE: Final = 2  # Between two of its processes there may be none.
_PAUSE: Final = "pause"  # Holds the namespaces of a pod, as long as that lives.


async def watch_port(
    snapshot: Callable[[], Snapshot], tell: Callable[[str], None]
) -> None:
    """Tell why the application takes no connections, or "" if it does; cancel it.

    Args:
        snapshot: Returns that whose inbound routes tell where it should listen.
        tell: Called whenever that has changed.
    """
    told: str | None = None
    has_listened = False
    while True:
        reason = await _silence(snapshot())
        if reason != told:
            told = reason
            tell(reason)
        has_listened = has_listened or not reason
        await asyncio.sleep(_LOOK_S if has_listened else _LOOK_SOON_S)


async def _silence(snapshot: Snapshot) -> str:
    addresses = sorted(application_addresses(snapshot), key=str)
    answers = await asyncio.gather(*map(is_listening, addresses))
    found = zip(addresses, answers, strict=True)
    silent = [str(address) for address, is_there in found if not is_there]
    return f"the application does not listen on {', '.join(silent)}" if silent else ""


async def until_gone() -> None:
    """Return when there were processes of the application, and none is left."""
    has_been = False
    missed = 0
    while missed < _LOOKS_UNTIL_GONE:
        is_there = await asyncio.to_thread(lambda: bool(processes()))
        has_been = has_been or is_there
        missed = 0 if is_there or not has_been else missed + 1
        await asyncio.sleep(_LOOK_S)


def processes() -> list[int]:
    """Return the ids of the application's processes: all but ours and the pod's own."""
    mine = os.getpid()
    found = []
    for process in psutil.process_iter(["ppid", "name", "status"]):
        info = process.info
        is_ours = process.pid == mine or info["ppid"] == mine
        is_over = info["status"] == psutil.STATUS_ZOMBIE
        if not (is_ours or is_over or (process.pid == 1 and info["name"] == _PAUSE)):
            found.append(process.pid)
    return found


def processes_of_pod() -> list[int]:
    """Return the same where the processes of all containers of a pod are seen."""
    try:
        is_shared = psutil.Process(1).name() == _PAUSE
    except psutil.Error:
        return []
    return processes() if is_shared else []


def application_addresses(snapshot: Snapshot) -> frozenset[Address]:
    """Return where the application beside this sidecar listens.

    That is what inbound routes go to, as far as it is on loopback.
    """
    upstreams = {r.upstream for r in snapshot.routes if r.listener == "inbound"}
    return frozenset(local_addresses([snapshot.upstreams[name] for name in upstreams]))


async def is_listening(address: Address) -> bool:
    """Tell whether a connection to `address` is taken, at any of its hosts."""
    for host in (address.host, *address.other_hosts):
        try:
            async with asyncio.timeout(_PROBE_S):
                _, writer = await asyncio.open_connection(host, address.port)
        except TimeoutError:
            return True  # A full backlog: somebody is there.
        except OSError:
            continue
        writer.transport.abort()
        return True
    return False
