"""How much one process may take on: what its memory and its CPU have room for.

    limit of the cgroup x overload.memory
    |-- what there is anyway --|-- clients, when all are idle ---------------|
                               |-- or: requests, each with a full buffer ----|

Beyond that the guess ends and `policy.overload` watches what is really used. The
figures are measured (`make resources`, docs/resources.md), and a test holds them to it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Snapshot

BASE_BYTES: Final = 90 << 20  # What it takes once it has served.
CONNECTION_BYTES: Final = 7 << 10  # An idle client.
REQUEST_BYTES: Final = 13 << 10  # One that waits for its answer; without buffers.

_LEAST: Final = 64  # Clients, or requests: below, what is really used decides.
_SPARE_THREADS: Final = 4  # As in `asyncio`: they wait more than they work.
_MOST_THREADS: Final = 32
_MIB: Final = 1 << 20


def fitted(snapshot: Snapshot, memory_bytes: int | None) -> Snapshot:
    """Return the configuration, bounded by what the memory has room for.

    Args:
        snapshot: As the file has it. What it says of `overload.in_flight` stays.
        memory_bytes: The limit of the cgroup; None: there is none.
    """
    if memory_bytes is None:
        return snapshot
    room_bytes = _room_bytes(snapshot, memory_bytes)
    limits, overload = snapshot.limits, snapshot.overload
    clients = max(_LEAST, room_bytes // CONNECTION_BYTES)
    requests = max(_LEAST, room_bytes // (REQUEST_BYTES + limits.buffer_bytes))
    return replace(
        snapshot,
        limits=replace(limits, connections=min(limits.connections, clients)),
        overload=replace(overload, in_flight=overload.in_flight or requests),
    )


def shortages(snapshot: Snapshot, memory_bytes: int | None) -> list[str]:
    """Return what is to be said of a memory that has no room for a configuration."""
    if memory_bytes is None:
        return []
    told: list[str] = []
    limit_mib = memory_bytes // _MIB
    if _room_bytes(snapshot, memory_bytes) <= 0:
        needed = math.floor(BASE_BYTES / snapshot.overload.memory_ratio / _MIB) + 1
        told.append(
            f"the memory limit is {limit_mib} MiB, and a sidecar that serves takes "
            f"{BASE_BYTES // _MIB} MiB: requests will be refused with "
            f"316-MEM-PRESSURE; raise the limit to {needed} MiB or more"
        )
    wanted = snapshot.limits.connections
    most = fitted(snapshot, memory_bytes).limits.connections
    if most < wanted:
        told.append(
            f"limits.connections is {wanted}, but the memory limit is {limit_mib} MiB:"
            f" serving {most} clients at most; raise the limit, or lower "
            "limits.connections"
        )
    return told


def threads(cpus: float | None, cores: int) -> int:
    """Return how many threads may do what would hold up the event loop.

    Args:
        cpus: The quota; None: there is none.
        cores: Of the machine, which a process with a quota does not have to itself.
    """
    usable = cores if cpus is None else min(cores, math.ceil(cpus))
    return min(_MOST_THREADS, usable + _SPARE_THREADS)


def _room_bytes(snapshot: Snapshot, memory_bytes: int) -> int:
    """Return what is left for clients; overload begins where it ends."""
    return int(memory_bytes * snapshot.overload.memory_ratio) - BASE_BYTES
