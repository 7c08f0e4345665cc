"""What may be chosen of an injection: by an option's default, or for one pod.

A field `cpu_limit` is the annotation `sidecar.316/cpu-limit` of a pod and
`--set cpu-limit=VALUE` of a command. The list is closed: a name that is not in it, or
a value that cannot be read, is refused by name. A pod that was meant to be something
else must not run as if nothing had been said.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sidecar import __version__
from sidecar.settings.problem import nearest, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PREFIX = "sidecar.316/"
RECORD = f"{PREFIX}injected"  # Written here, not by people: what was added.

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,510}")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_CPU = re.compile(r"[0-9]{1,6}m|[0-9]{1,4}(\.[0-9]{1,3})?")
_MEMORY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?)([kMGT]|[KMGT]i)?")
_UNITS: dict[str | None, int] = {
    None: 1,
    **{unit: 1000**power for power, unit in enumerate("kMGT", 1)},
    **{f"{unit}i": 1024**power for power, unit in enumerate("KMGT", 1)},
}
_LEVELS = ("debug", "info", "warning", "error")
_MAX_PORT = 65535


class InjectionError(Exception):
    """A pod cannot get a sidecar; says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a pod gets its sidecar."""

    inject: bool = True
    image: str = f"sidecar-316:{__version__}"
    config_map: str = "sidecar-316"  # Its key sidecar.yaml is the configuration.
    cpu_request: str = "200m"
    cpu_limit: str | None = None  # None: throttled, every request waits.
    memory_request: str = "96Mi"
    memory_limit: str = "208Mi"
    intercept_inbound: bool = False
    intercept_outbound: bool = False
    rewrite_probes: bool = True  # Where inbound is intercepted.
    intercept_probe_ports: bool = False
    exclude_inbound_ports: tuple[int, ...] = ()
    exclude_outbound_ports: tuple[int, ...] = ()
    exclude_outbound_cidrs: tuple[str, ...] = ()
    log_level: str | None = None  # None: as the configuration has it.
    native: bool = True

    @property
    def intercepts(self) -> bool:
        """Whether traffic is led to the sidecar by rules of the kernel."""
        return self.intercept_inbound or self.intercept_outbound

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield what is given without effect, and the switch that it needs."""
        for direction in ("inbound", "outbound"):
            for what in ("ports", "cidrs"):
                name = f"exclude_{direction}_{what}"
                is_on = getattr(self, f"intercept_{direction}")
                if getattr(self, name, None) and not is_on:
                    yield name.replace("_", "-"), f"intercept-{direction}"

    def for_pod(self, annotations: Mapping[str, Any]) -> Options:
        """Return the options of a pod with these annotations.

        Raises:
            InjectionError: One of ours is not known, or cannot be read.
        """
        given = {
            name.removeprefix(PREFIX): value
            for name, value in annotations.items()
            if name.startswith(PREFIX) and name != RECORD
        }
        return self.changed(given, PREFIX)

    def changed(self, given: Mapping[str, Any], prefix: str = "") -> Options:
        """Return options with other values, each named and written as people do.

        Raises:
            InjectionError: Names all that is wrong; each name after `prefix`.
        """
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for name, text in given.items():
            try:
                values[name.replace("-", "_")] = _parsed(name, text)
            except ValueError as error:
                wrong.append(f"{prefix}{name}: {error}")
        if wrong:
            raise InjectionError("; ".join(wrong))
        changed = replace(self, **values)
        changed._check_resources(prefix)  # noqa: SLF001 - of the same class
        return changed

    def _check_resources(self, prefix: str) -> None:
        """Refuse what the API server would refuse without naming the annotation."""
        for what, number in (("cpu", _cpus), ("memory", _bytes)):
            request = getattr(self, f"{what}_request")
            limit = getattr(self, f"{what}_limit")
            if limit is not None and number(request) > number(limit):
                msg = (
                    f"{prefix}{what}-limit ({limit}) is below "
                    f"{prefix}{what}-request ({request})"
                )
                raise InjectionError(msg)


def _parsed(name: str, text: Any) -> Any:
    parse = _PARSERS.get(name)
    if parse is None:
        hint = nearest(name, _PARSERS) or f"there are: {', '.join(_PARSERS)}"
        msg = f"is not known ({hint})"
        raise ValueError(msg)
    if not isinstance(text, str):
        msg = f'{shown(text)} is not a string; write it in quotes, as in "true"'
        raise ValueError(msg)  # noqa: TRY004 - told like every other mistake here
    return parse(text)


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        msg = f'{shown(text)} is neither "true" nor "false"'
        raise ValueError(msg)
    return text == "true"


def _shaped(shape: re.Pattern[str], words: str) -> Callable[[str], str]:
    """Return a parser that takes what has this shape."""

    def parse(text: str) -> str:
        if shape.fullmatch(text) is None:
            msg = f"{shown(text)} is not {words}"
            raise ValueError(msg)
        return text

    return parse


def _level(text: str) -> str:
    if text not in _LEVELS:
        msg = f"{shown(text)} is not one of {', '.join(_LEVELS)}"
        raise ValueError(msg)
    return text


def _list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")] if text.strip() else []


def _ports(text: str) -> tuple[int, ...]:
    """Return ports, each once, in the order given."""
    ports: dict[int, None] = {}
    for item in _list(text):
        is_number = re.fullmatch(r"[0-9]{1,5}", item) is not None
        if not is_number or not 1 <= int(item) <= _MAX_PORT:
            msg = f"{shown(item)} is not a port; write them as in 8081,9090"
            raise ValueError(msg)
        ports[int(item)] = None
    return tuple(ports)


def _cidrs(text: str) -> tuple[str, ...]:
    """Return networks, each once, in the order given."""
    networks: dict[str, None] = {}
    for item in _list(text):
        try:
            networks[str(ipaddress.ip_network(item))] = None
        except ValueError:
            msg = f"{shown(item)} is not a network such as 10.0.0.0/8 or fd00::/8"
            raise ValueError(msg) from None
    return tuple(networks)


def _cpus(text: str) -> Decimal:
    return Decimal(text[:-1]) / 1000 if text.endswith("m") else Decimal(text)


def _bytes(text: str) -> Decimal:
    match = _MEMORY.fullmatch(text)
    assert match is not None  # noqa: S101 - its shape was checked
    number, unit = match.groups()
    return Decimal(str(number)) * _UNITS[unit]


_cpu = _shaped(_CPU, "an amount of CPU such as 100m or 0.5")
_memory = _shaped(_MEMORY, "an amount of memory such as 96Mi")
_PARSERS: dict[str, Callable[[str], Any]] = {
    "inject": _boolean,
    "image": _shaped(_IMAGE, "the name of an image"),
    "config-map": _shaped(_NAME, "the name of a ConfigMap"),
    "cpu-request": _cpu,
    "cpu-limit": _cpu,
    "memory-request": _memory,
    "memory-limit": _memory,
    "intercept-inbound": _boolean,
    "intercept-outbound": _boolean,
    "rewrite-probes": _boolean,
    "intercept-probe-ports": _boolean,
    "exclude-inbound-ports": _ports,
    "exclude-outbound-ports": _ports,
    "exclude-outbound-cidrs": _cidrs,
    "log-level": _level,
    "native": _boolean,
}
NAMES = tuple(_PARSERS)
