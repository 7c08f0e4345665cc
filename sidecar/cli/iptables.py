"""sidecar iptables: lead a pod's connections through the sidecar."""

from __future__ import annotations

import sys
from enum import Enum
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from sidecar.kube import netfilter
from sidecar.kube.rules import (
    INBOUND_PORT,
    OUTBOUND_PORT,
    PROXY_USER,
    Family,
    Format,
    Inbound,
    Interception,
    Outbound,
    iptables_text,
    nft_text,
)
from sidecar.settings.units import (
    parse_network,
    parse_port,
    parse_port_range,
    parse_user_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable

HELP_MARKUP = None  # In a table of 80 columns, names as long as these are cut.

_T = TypeVar("_T")
_Given = list[str] | None

_PORTS = "Such as 22,9000-9010; may be repeated."
_NETWORKS = "Such as 10.0.0.0/8,fd00::/8; may be repeated."
_USERS = "Such as 1000,1001; may be repeated."


class FamilyName(Enum):
    """Which versions of IP."""

    IPV4 = "4"
    IPV6 = "6"
    BOTH = "both"


_FAMILIES = {
    FamilyName.IPV4: (Family.IPV4,),
    FamilyName.IPV6: (Family.IPV6,),
    FamilyName.BOTH: (Family.IPV4, Family.IPV6),
}


def command(
    *,
    apply: Annotated[
        bool, typer.Option("--apply", help="Put the rules into the kernel.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove all that --apply has made.")
    ] = False,
    format_: Annotated[
        Format | None,
        typer.Option("--format", help="Else iptables, or what is installed."),
    ] = None,
    family: Annotated[
        FamilyName, typer.Option(help="Version of IP.")
    ] = FamilyName.BOTH,
    inbound: Annotated[bool, typer.Option(help="What others open to the pod.")] = True,
    outbound: Annotated[
        bool, typer.Option(help="What the pod opens to others.")
    ] = False,
    inbound_port: Annotated[
        str,
        typer.Option(
            help="Where the sidecar takes inbound connections.", metavar="PORT"
        ),
    ] = str(INBOUND_PORT),
    outbound_port: Annotated[
        str,
        typer.Option(
            help="Where the sidecar takes outbound connections.", metavar="PORT"
        ),
    ] = str(OUTBOUND_PORT),
    include_inbound_ports: Annotated[
        _Given, typer.Option(help=f"Only these. {_PORTS}", metavar="PORTS")
    ] = None,
    exclude_inbound_ports: Annotated[
        _Given, typer.Option(help=f"Not these. {_PORTS}", metavar="PORTS")
    ] = None,
    include_outbound_ports: Annotated[
        _Given, typer.Option(help=f"Only to these. {_PORTS}", metavar="PORTS")
    ] = None,
    exclude_outbound_ports: Annotated[
        _Given, typer.Option(help=f"Not to these. {_PORTS}", metavar="PORTS")
    ] = None,
    include_outbound_cidrs: Annotated[
        _Given,
        typer.Option(help=f"Only to these networks. {_NETWORKS}", metavar="CIDRS"),
    ] = None,
    exclude_outbound_cidrs: Annotated[
        _Given,
        typer.Option(help=f"Not to these networks. {_NETWORKS}", metavar="CIDRS"),
    ] = None,
    user: Annotated[
        _Given,
        typer.Option(
            help=f"User id of the sidecar, else {PROXY_USER}.", metavar="USERS"
        ),
    ] = None,
    exclude_user: Annotated[
        _Given, typer.Option(help=f"Not of these users. {_USERS}", metavar="USERS")
    ] = None,
) -> None:
    """Print, apply or remove the rules that lead connections through the sidecar.

    Always left alone: loopback, the sidecar's user, its ports 15000 and 15020, UDP,
    and connections that are there already.

    Example: sidecar iptables --apply --exclude-inbound-ports 22,9000-9010
    """
    if apply and remove:
        _fail(["give either --apply or --remove"], code=2)
    if remove:
        _remove(_FAMILIES[family], format_)
        return
    read = _Reader()
    into = Inbound(
        read.one("--inbound-port", inbound_port, parse_port),
        read.many("--include-inbound-ports", include_inbound_ports, parse_port_range),
        read.many("--exclude-inbound-ports", exclude_inbound_ports, parse_port_range),
    )
    out = Outbound(
        read.one("--outbound-port", outbound_port, parse_port),
        read.many("--include-outbound-ports", include_outbound_ports, parse_port_range),
        read.many("--exclude-outbound-ports", exclude_outbound_ports, parse_port_range),
        read.many("--include-outbound-cidrs", include_outbound_cidrs, parse_network),
        read.many("--exclude-outbound-cidrs", exclude_outbound_cidrs, parse_network),
        (read.many("--user", user, parse_user_id) or (PROXY_USER,))
        + read.many("--exclude-user", exclude_user, parse_user_id),
    )
    read.check(into, out, is_inbound=inbound, is_outbound=outbound)
    wanted = Interception(into if inbound else None, out if outbound else None)
    if apply:
        _apply(wanted, _FAMILIES[family], format_)
    else:
        _print(wanted, _FAMILIES[family], format_)


class _Reader:
    """Reads what options were given; all that is wrong is told at once."""

    def __init__(self) -> None:
        self._problems: list[str] = []
        self._given: list[str] = []  # The options that only narrow a direction.

    def one(self, option: str, word: str, parse: Callable[[str], int]) -> int:
        """Return the value of an option, 0 if it has none that is right."""
        return next(iter(self._parsed(option, [word], parse)), 0)

    def many(
        self, option: str, given: _Given, parse: Callable[[str], _T]
    ) -> tuple[_T, ...]:
        """Return the values of a list, which commas or repetition separate."""
        if not given:
            return ()
        if option != "--user":  # That tells who the sidecar is, and narrows nothing.
            self._given.append(option)
        return self._parsed(option, ",".join(given).split(","), parse)

    def check(
        self, into: Inbound, out: Outbound, *, is_inbound: bool, is_outbound: bool
    ) -> None:
        """End the program if anything is wrong, with each option and its mistake."""
        if not (is_inbound or is_outbound):
            self._problems.append("--no-inbound: nothing is left; add --outbound")
        for option in self._given:
            direction = "inbound" if "-inbound-" in option else "outbound"
            if not (is_inbound if direction == "inbound" else is_outbound):
                message = f"{option}: has no effect without --{direction}"
                self._problems.append(message)
        if is_inbound and is_outbound and into.to_port == out.to_port:
            self._problems.append(
                f"--outbound-port: {out.to_port} is the inbound port, too; give each "
                f"its own, such as {INBOUND_PORT} and {OUTBOUND_PORT}"
            )
        if self._problems:
            _fail(self._problems, code=2)

    def _parsed(
        self, option: str, words: list[str], parse: Callable[[str], _T]
    ) -> tuple[_T, ...]:
        found = []
        for word in words:
            try:
                found.append(parse(word.strip()))
            except ValueError as error:
                self._problems.append(f"{option}: {error}")
        return tuple(found)


def _print(
    wanted: Interception, families: tuple[Family, ...], format_: Format | None
) -> None:
    for family in families:
        if format_ is Format.NFT:
            reader, text = "nft -f -", nft_text(wanted, family)
        else:
            prefix = "iptables" if family is Family.IPV4 else "ip6tables"
            reader = f"{prefix}-restore --noflush"
            text = iptables_text(wanted, family)
        sys.stdout.write(f"# {family.label}, for {reader}\n{text}")


def _apply(
    wanted: Interception, families: tuple[Family, ...], format_: Format | None
) -> None:
    try:
        applied = netfilter.apply(wanted, families, format_)
    except netfilter.NetfilterError as error:
        _fail([f"iptables: {error}"])
    for note in applied.notes:
        sys.stderr.write(f"note: {note}\n")
    labels = " and ".join(family.label for family in applied.families)
    sys.stdout.write(f"{labels}: applied by {applied.format.value}\n")


def _remove(families: tuple[Family, ...], format_: Format | None) -> None:
    try:
        netfilter.remove(families, format_)
    except netfilter.NetfilterError as error:
        _fail([f"iptables: {error}"])


def _fail(messages: list[str], code: int = 1) -> NoReturn:
    sys.stderr.write("".join(f"{message}\n" for message in messages))
    sys.exit(code)
