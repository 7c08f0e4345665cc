"""How much time a request has left, and how a caller tells its own limit.

The caller's limit comes as time left, never as a time of day: clocks differ.
"""

from __future__ import annotations

import re
from collections import deque

_MILLISECONDS = re.compile(rb"[0-9]{1,10}")
_GRPC = re.compile(rb"([0-9]{1,8})([HMSmun])")
_GRPC_UNIT_S = {
    b"H": 3600.0,
    b"M": 60.0,
    b"S": 1.0,
    b"m": 1e-3,
    b"u": 1e-6,
    b"n": 1e-9,
}


def parse_deadline_ms(value: bytes) -> float | None:
    """Return the seconds that `x-316-deadline-ms` gives; None: malformed."""
    return int(value) / 1e3 if _MILLISECONDS.fullmatch(value) else None


def parse_grpc_timeout(value: bytes) -> float | None:
    """Return the seconds that `grpc-timeout` gives; None: malformed.

    Source: "Timeout" in the gRPC over HTTP/2 protocol description.
    """
    match = _GRPC.fullmatch(value)
    return int(match[1]) * _GRPC_UNIT_S[match[2]] if match else None


class ConnectTimes:
    """What it takes to connect to an upstream, as a rule: the median of late.

    A try that has less time left than this need not be started.
    """

    __slots__ = ("_recent_s", "p50_s")

    _KEPT = 31

    def __init__(self) -> None:
        self._recent_s: deque[float] = deque(maxlen=self._KEPT)
        self.p50_s = 0.0  # Nothing is known yet: no try is held back.

    def add(self, took_s: float) -> None:
        """Count a connection that was made."""
        self._recent_s.append(took_s)
        self.p50_s = sorted(self._recent_s)[len(self._recent_s) // 2]
