"""Open files: how many this process may have, and what that means for clients.

    limit   |-- upstream connections --|-- clients --|-- ours --|

Each client may need a connection to an upstream, so those get up to half of what
there is. A process without a descriptor to spare can neither accept a client, not
even to refuse it, nor serve those it has.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Snapshot

_OURS = 64  # Listeners, probes, scrapes, admin, logs, spans, files.
_MOST_LINGERING = 64
_LINGERING_SHARE = 8
_LEAST = 8  # Clients, however few files may be open.


def raise_limit() -> int:
    """Take what the system grants without asking; return the limit on open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # Above what the kernel allows any process.
            return soft
    return hard


def limit() -> int:
    """Return how many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 2**31


def used(folder: str = "/proc/self/fd") -> int:
    """Return how many descriptors are in use, or, before Linux 6.2, at least so many.

    Newer kernels tell it as the size of the folder. Else: a new descriptor gets the
    lowest number that is free, so all below are taken.
    """
    return _size_of(folder) or _lowest_free()


def _size_of(folder: str) -> int:
    try:
        return Path(folder).stat().st_size
    except OSError:
        return 0


def _lowest_free() -> int:
    try:
        fd = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 0)
    except OSError as error:
        return limit() if error.errno == errno.EMFILE else 0
    os.close(fd)
    return fd


def most_lingering() -> int:
    """Return how many clients that were refused may stay to read their answer."""
    return min(_MOST_LINGERING, limit() // _LINGERING_SHARE)


def most_clients(snapshot: Snapshot) -> int:
    """Return how many client connections can be served at once."""
    left = limit() - _OURS - most_lingering()
    upstreams = sum(each.max_connections for each in snapshot.upstreams.values())
    fits = max(_LEAST, left - min(upstreams, left // 2))
    return min(snapshot.limits.connections, fits)


def shortage(snapshot: Snapshot) -> str:
    """Return what is to be said if not all clients can be served; else nothing."""
    most, wanted = most_clients(snapshot), snapshot.limits.connections
    if most >= wanted:
        return ""
    return (
        f"limits.connections is {wanted}, but this process may open {limit()} files:"
        f" serving {most} clients at most; raise the limit (ulimit -n, LimitNOFILE),"
        " or lower limits.connections or the max_connections of upstreams"
    )
