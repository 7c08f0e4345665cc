"""Durations, sizes, ratios and addresses as people write them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from sidecar.settings.snapshot import Address

_DURATION = re.compile(r"(?:[0-9]{1,5}(?:h|ms|m|s)){1,4}")
_DURATION_PART = re.compile(r"([0-9]{1,5})(h|ms|m|s)")
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SIZE = re.compile(r"([0-9]{1,15})(B|KiB|MiB|GiB)?")
_UNIT_BYTES = {None: 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_RATIO = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?)%")
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})")
_MAX_PORT = 65535


def parse_duration(value: Any) -> float:
    """Return seconds of a Gateway API duration (GEP-2257): "250ms", "1m30s"."""
    if isinstance(value, str) and _DURATION.fullmatch(value):
        parts = _DURATION_PART.findall(value)
        return sum(int(number) * _UNIT_S[unit] for number, unit in parts)
    msg = f"{value!r} is not a duration such as 250ms, 2s or 1m30s"
    raise ValueError(msg)


def parse_size(value: Any) -> int:
    """Return bytes of a size: "64KiB", "1MiB", or a plain number."""
    match = _SIZE.fullmatch(str(value)) if isinstance(value, int | str) else None
    if match is None or isinstance(value, bool):
        msg = f"{value!r} is not a size such as 64KiB or 1MiB"
        raise ValueError(msg)
    return int(match[1]) * _UNIT_BYTES[match[2]]


def parse_ratio(value: Any) -> float:
    """Return a ratio between 0 and 1: "20%" or 0.2."""
    ratio = -1.0
    if isinstance(value, str) and (match := _RATIO.fullmatch(value)):
        ratio = float(match[1]) / 100
    elif isinstance(value, int | float) and not isinstance(value, bool):
        ratio = float(value)
    if not 0 <= ratio <= 1:
        msg = f"{value!r} is not a ratio such as 20% or 0.2"
        raise ValueError(msg)
    return ratio


def parse_address(value: Any) -> Address:
    """Return host and port of "127.0.0.1:8080", "[::1]:8080" or "app:8080"."""
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[3]) > _MAX_PORT:
        msg = f"{value!r} is not an address such as 127.0.0.1:8080 or [::1]:8080"
        raise ValueError(msg)
    return Address(match[1] or match[2], int(match[3]))


def _text(pattern: str, example: str) -> WithJsonSchema:
    schema = {"type": "string", "pattern": f"^{pattern}$", "examples": [example]}
    return WithJsonSchema(schema)


Duration = Annotated[
    float, BeforeValidator(parse_duration), _text(_DURATION.pattern, "1m30s")
]
PositiveDuration = Annotated[Duration, Field(gt=0)]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["64KiB"]}),
]
Ratio = Annotated[
    float,
    BeforeValidator(parse_ratio),
    WithJsonSchema({"type": ["string", "number"], "examples": ["20%", 0.2]}),
]
HostPort = Annotated[
    Address, BeforeValidator(parse_address), _text(_ADDRESS.pattern, "127.0.0.1:8080")
]
Positive = Annotated[int, Field(ge=1)]
