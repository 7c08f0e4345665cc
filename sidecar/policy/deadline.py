"""How much time a request has left, and how a caller tells its own limit.

The caller's limit comes as time left, never as a time of day: clocks differ.
"""

from __future__ import annotations

import re

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
