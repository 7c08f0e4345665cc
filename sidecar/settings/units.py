"""Durations, sizes, ratios, addresses, ports and networks as people write them.

Each unit has a parser, and a formatter that writes what the parser reads back:
`/config` of the admin API and the JSON Schema show values as a file would.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic_core import core_schema

from sidecar.settings.problem import shown
from sidecar.settings.snapshot import Address, DestinationMatch

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_DURATION = re.compile(r"(?:[0-9]{1,5}(?:h|ms|m|s)){1,4}")
_DURATION_PART = re.compile(r"([0-9]{1,5})(h|ms|m|s)")
_UNIT_MS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_SIZE = re.compile(r"([0-9]{1,15})(B|KiB|MiB|GiB)?")
_UNIT_BYTES = {"GiB": 1024**3, "MiB": 1024**2, "KiB": 1024, "B": 1, None: 1}
_RATIO = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?)%")
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})")
_NAME = re.compile(
    r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?"
)
_DOTTED = re.compile(r"[0-9.]+")
_DESTINATION = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:./]+)\]|(?P<ipv4>[0-9./]+))?(?::(?P<port>[0-9]{1,5}))?"
)
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_USER_ID = re.compile(r"[0-9]{1,10}")
_MAX_PORT = 65535
_MAX_USER_ID = 2**32 - 2  # The last one means "nobody was named" (chown(2)).
_FORMS = {
    "duration": "250ms, 2s or 1m30s",
    "size": "64KiB or 1MiB",
    "ratio": "20% or 0.2",
    "address": "127.0.0.1:8080 or [::1]:8080",
    "port": "8080",
    "port or range": "8080 or 9000-9010",
    "network": "10.0.0.0/8, 192.0.2.7 or fd00::/8",
    "destination": "10.0.0.0/8, 10.0.0.1:5432, [fd00::1]:80 or :80",
    "numeric user id": "1337",
}


def parse_duration(value: Any) -> float:
    """Return seconds of a Gateway API duration (GEP-2257): "250ms", "1m30s"."""
    if isinstance(value, str) and _DURATION.fullmatch(value):
        parts = _DURATION_PART.findall(value)
        return sum(int(number) * _UNIT_MS[unit] for number, unit in parts) / 1000
    raise _malformed(value, "duration", _number_hint(value, "s"))


def parse_time_limit(value: Any) -> float | Literal["off"]:
    """Return seconds, or "off"; "0s" is off, too, as in the Gateway API (GEP-1742)."""
    return "off" if value == "off" else parse_duration(value) or "off"


def parse_positive_duration(value: Any) -> float:
    """Return seconds of a duration above 0."""
    seconds = parse_duration(value)
    if not seconds:
        msg = "must be over 0s"
        raise ValueError(msg)
    return seconds


def parse_size(value: Any) -> int:
    """Return bytes of a size: "64KiB", "1MiB", or a plain number."""
    is_text = isinstance(value, int | str) and not isinstance(value, bool)
    match = _SIZE.fullmatch(str(value)) if is_text else None
    if match is None:
        raise _malformed(value, "size")
    return int(match[1]) * _UNIT_BYTES[match[2]]


def parse_size_limit(value: Any) -> int | Literal["off"]:
    """Return bytes, or "off"."""
    return "off" if value == "off" else parse_size(value)


def parse_ratio(value: Any) -> float:
    """Return a ratio between 0 and 1: "20%" or 0.2."""
    ratio = -1.0
    if isinstance(value, str) and (match := _RATIO.fullmatch(value)):
        ratio = float(match[1]) / 100
    elif isinstance(value, int | float) and not isinstance(value, bool):
        ratio = float(value)
    if not 0 <= ratio <= 1:
        raise _malformed(value, "ratio")
    return ratio


def parse_positive_ratio(value: Any) -> float:
    """Return a ratio above 0 and to 1."""
    ratio = parse_ratio(value)
    if not ratio:
        msg = "must be over 0%"
        raise ValueError(msg)
    return ratio


def parse_address(value: Any) -> Address:
    """Return host and port of "127.0.0.1:8080", "[::1]:8080" or "app:8080"."""
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[3]) > _MAX_PORT or not _is_host(match[1], match[2]):
        raise _malformed(value, "address", _address_hint(value))
    return Address(match[1] or match[2], int(match[3]))


def parse_endpoint(value: Any) -> Address:
    """Return an address to connect to; its port cannot be 0."""
    address = parse_address(value)
    if address.port == 0:
        msg = f"{shown(value)} has port 0, where nothing can listen"
        raise ValueError(msg)
    return address


def parse_port(value: Any) -> int:
    """Return the port of "8080"."""
    return _parse_ports(value, "port").start


def parse_port_range(value: Any) -> range:
    """Return the ports of "8080" or "9000-9010", both ends included."""
    return _parse_ports(value, "port or range")


def parse_network(value: Any) -> Network:
    """Return the network of "10.0.0.0/8" or "fd00::/8", or of one address."""
    if not isinstance(value, str) or "%" in value:  # An interface is no network.
        raise _malformed(value, "network")
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        raise _malformed(value, "network", _network_hint(value)) from None


def parse_destination(value: Any) -> DestinationMatch:
    """Return what "10.0.0.0/8", "10.0.0.1:5432", "[fd00::1]:80" or ":80" stands for."""
    if isinstance(value, str) and value.count(":") > 1 and "[" not in value:
        return DestinationMatch(parse_network(value), None)
    match = _DESTINATION.fullmatch(value) if isinstance(value, str) else None
    if not value or match is None or not 0 < int(match["port"] or 1) <= _MAX_PORT:
        raise _malformed(value, "destination")
    network, port = match["ipv6"] or match["ipv4"], match["port"]
    return DestinationMatch(
        parse_network(network) if network else None,
        None if port is None else int(port),
    )


def parse_user_id(value: Any) -> int:
    """Return the number of a user: "1337"."""
    is_number = isinstance(value, str) and _USER_ID.fullmatch(value)
    if not is_number or int(value) > _MAX_USER_ID:
        hint = "" if is_number else "; `id -u NAME` prints that of a name"
        raise _malformed(value, "numeric user id", hint)
    return int(value)


def format_duration(seconds: float | str) -> str:
    """Return a duration that `parse_duration` reads as `seconds`, to the ms."""
    if isinstance(seconds, str):
        return seconds  # "off".
    left_ms, text = round(seconds * 1000), ""
    for unit, size_ms in _UNIT_MS.items():
        count, left_ms = divmod(left_ms, size_ms)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def format_size(size: int | str) -> str:
    """Return a size that `parse_size` reads as `size`."""
    if isinstance(size, str):
        return size  # "off".
    for unit, unit_bytes in _UNIT_BYTES.items():
        if unit and size % unit_bytes == 0 and size:
            return f"{size // unit_bytes}{unit}"
    return "0B"


def _parse_ports(value: Any, unit: str) -> range:
    match = _PORTS.fullmatch(value) if isinstance(value, str) else None
    if match is None or (match[2] and unit == "port"):
        raise _malformed(value, unit)
    first, last = int(match[1]), int(match[2] or match[1])
    if not 1 <= first <= _MAX_PORT or not 1 <= last <= _MAX_PORT:
        raise _malformed(value, unit, f": ports are 1 to {_MAX_PORT}")
    if first > last:
        raise _malformed(value, unit, ": it ends before it begins")
    return range(first, last + 1)


def _network_hint(text: str) -> str:
    """Return the network that an address with a mask is in."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return ""
    return f": the network of this address is {network}"


def _is_host(ipv6: str | None, name: str | None) -> bool:
    """Tell an address or a host name from what only looks like one."""
    text = ipv6 or name or ""
    if ipv6 is None and not _DOTTED.fullmatch(text):
        return _NAME.fullmatch(text) is not None
    try:
        return ipaddress.ip_address(text).version == (4 if ipv6 is None else 6)
    except ValueError:
        return False


def _malformed(value: Any, unit: str, hint: str = "") -> ValueError:
    article = "an" if unit[0] in "aeiou" else "a"
    return ValueError(
        f"{shown(value)} is not {article} {unit} such as {_FORMS[unit]}{hint}"
    )


def _number_hint(value: Any, unit: str) -> str:
    """Return what a bare number lacks."""
    is_whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return f": its unit is missing, as in {value}{unit}" if is_whole else ""


def _address_hint(value: Any) -> str:
    """Return what an address has too much, or lacks."""
    if not isinstance(value, str):
        return ""
    if "://" in value:
        return ": leave out the scheme and what follows the port"
    if value.isdigit():
        return f": its host is missing, as in 127.0.0.1:{value}"
    return ": its port is missing" if _NAME.fullmatch(value) else ""


@dataclass(frozen=True, slots=True)
class Shape:
    """Metadata of a `str`: the form it has, and what to call that form."""

    pattern: str
    what: str
    is_shown: bool = True  # Where it is wrong; else a secret may stand in its place.

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Check after the type is known to be right."""
        pattern = re.compile(self.pattern)

        def check(text: str) -> str:
            if pattern.fullmatch(text) is None:
                subject = f"{shown(text)} " if self.is_shown else ""
                msg = f"{subject}is not {self.what}"
                raise ValueError(msg)
            return text

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Let editors check it, too."""
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}


def _text(pattern: str, example: str, **more: Any) -> WithJsonSchema:
    schema = {"type": "string", "pattern": f"^(?:{pattern})$", "examples": [example]}
    return WithJsonSchema(schema | more)


_SHOW_DURATION = PlainSerializer(format_duration, when_used="json")
_SHOW_SIZE = PlainSerializer(format_size, when_used="json")
_SHOW_ADDRESS = PlainSerializer(str, when_used="json")
_SIZE_SCHEMA = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string", "pattern": f"^(?:{_SIZE.pattern})$"},
            {"type": "integer", "minimum": 0},
        ],
        "examples": ["64KiB"],
    }
)
_RATIO_SCHEMA = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string", "pattern": f"^(?:{_RATIO.pattern})$"},
            {"type": "number", "minimum": 0, "maximum": 1},
        ],
        "examples": ["20%", 0.2],
    }
)

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    _SHOW_DURATION,
    _text(_DURATION.pattern, "1m30s"),
]
PositiveDuration = Annotated[
    float,
    BeforeValidator(parse_positive_duration),
    _SHOW_DURATION,
    _text(_DURATION.pattern, "1m30s"),
]
TimeLimit = Annotated[
    float | Literal["off"],
    BeforeValidator(parse_time_limit),
    _SHOW_DURATION,
    _text(f"off|{_DURATION.pattern}", "1m30s"),
]
SizeLimit = Annotated[
    int | Literal["off"],
    BeforeValidator(parse_size_limit),
    _SHOW_SIZE,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^(?:off|{_SIZE.pattern})$"},
                {"type": "integer", "minimum": 0},
            ],
            "examples": ["10MiB"],
        }
    ),
]
Size = Annotated[int, BeforeValidator(parse_size), _SHOW_SIZE, _SIZE_SCHEMA]
PositiveSize = Annotated[
    int, BeforeValidator(parse_size), Field(ge=1), _SHOW_SIZE, _SIZE_SCHEMA
]
Ratio = Annotated[float, BeforeValidator(parse_ratio), _RATIO_SCHEMA]
PositiveRatio = Annotated[float, BeforeValidator(parse_positive_ratio), _RATIO_SCHEMA]
HostPort = Annotated[
    Address,
    BeforeValidator(parse_address),
    _SHOW_ADDRESS,
    _text(_ADDRESS.pattern, "127.0.0.1:8080"),
]
Endpoint = Annotated[
    Address,
    BeforeValidator(parse_endpoint),
    _SHOW_ADDRESS,
    _text(_ADDRESS.pattern, "127.0.0.1:8080"),
]
Destination = Annotated[
    DestinationMatch,
    BeforeValidator(parse_destination),
    _SHOW_ADDRESS,
    _text(r"[0-9A-Fa-f:./\[\]]+", "10.0.0.0/8:5432"),
]
Positive = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
