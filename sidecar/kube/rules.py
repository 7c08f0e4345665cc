"""Interception: which new TCP connections the kernel hands to the sidecar.

                       PREROUTING                                 OUTPUT
    others --SYN--> SIDECAR_INBOUND --> 15006    app --SYN--> SIDECAR_OUTBOUND --> 15001
                          |                                          |
                          +--> as it was addressed                   +--> likewise

Pure: settings become the text that `iptables-restore` or `nft -f` reads. A chain is a
list of rules, the first that fits decides: exceptions stand first, so an exclusion
wins over an inclusion. What the kernel redirects keeps its address in conntrack,
where SO_ORIGINAL_DST finds it.

Only a SYN is looked at. A connection that was there before conntrack began to look
is taken for a new one at its next packet, and would be cut in the middle.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sidecar.settings.units import Network

INBOUND_PORT, OUTBOUND_PORT = 15006, 15001
PROXY_USER = 1337
ADMIN_PORT, HEALTH_PORT = 15000, 15020
TABLE = "sidecar316"  # Ours alone, of nft; iptables has one `nat` for all.

_ALL_PORTS = range(1, 65536)


class Family(Enum):
    """A version of IP; the value is its number."""

    IPV4 = 4
    IPV6 = 6

    @property
    def label(self) -> str:
        """The name that people know it by."""
        return f"IPv{self.value}"


class Format(Enum):
    """Who reads the rules; the value is what users call it."""

    IPTABLES = "iptables"
    NFT = "nft"


@dataclass(frozen=True, slots=True)
class Inbound:
    """Connections that others open to the pod."""

    to_port: int = INBOUND_PORT
    include_ports: tuple[range, ...] = ()  # None given: all.
    exclude_ports: tuple[range, ...] = ()


@dataclass(frozen=True, slots=True)
class Outbound:
    """Connections that the pod opens to others.

    One is redirected that fits each of the inclusions, and no exclusion.
    """

    to_port: int = OUTBOUND_PORT
    include_ports: tuple[range, ...] = ()  # None given: all.
    exclude_ports: tuple[range, ...] = ()
    include_networks: tuple[Network, ...] = ()  # None given, of both families: all.
    exclude_networks: tuple[Network, ...] = ()
    exclude_users: tuple[int, ...] = (PROXY_USER,)


@dataclass(frozen=True, slots=True)
class Interception:
    """What is intercepted; None: nothing in that direction."""

    inbound: Inbound | None
    outbound: Outbound | None


@dataclass(frozen=True, slots=True)
class Term:
    """One condition, in the words of both tools."""

    iptables: str
    nft: str


@dataclass(frozen=True, slots=True)
class Rule:
    """What fits every term is redirected to a port; to None: left alone."""

    terms: tuple[Term, ...]
    to_port: int | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """The rules of one direction, and from where they are reached."""

    hook: str
    name: str
    rules: tuple[Rule, ...]


# As iptables-save prints it: so a rule that is there already is found.
_SYN = Term(
    "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN",
    "tcp flags & (fin | syn | rst | ack) == syn",
)
_TCP = Term("-p tcp", "meta l4proto tcp")
_IN_BY_LOOPBACK = Term("-i lo", 'iifname "lo"')
# Holds for the pod's own addresses, too: the kernel routes them over loopback.
_OUT_BY_LOOPBACK = Term("-o lo", 'oifname "lo"')
_PASSING_BY = Term("-m addrtype ! --dst-type LOCAL", "fib daddr type != local")


def chains(interception: Interception, family: Family) -> list[Chain]:
    """Return the rules of each direction that is intercepted."""
    found = []
    if (inbound := interception.inbound) is not None:
        rules = tuple(_inbound_rules(inbound))
        found.append(Chain("PREROUTING", "SIDECAR_INBOUND", rules))
    if (outbound := interception.outbound) is not None:
        rules = tuple(_outbound_rules(outbound, family))
        found.append(Chain("OUTPUT", "SIDECAR_OUTBOUND", rules))
    return found


def _inbound_rules(inbound: Inbound) -> Iterator[Rule]:
    yield Rule((_IN_BY_LOOPBACK,))
    yield Rule((_PASSING_BY,))  # This host is only its router.
    own = (_one(ADMIN_PORT), _one(HEALTH_PORT))
    for ports in own + inbound.exclude_ports:
        yield Rule((_to(ports),))
    for ports in inbound.include_ports or (_ALL_PORTS,):
        yield Rule((_to(ports),), inbound.to_port)


def _outbound_rules(outbound: Outbound, family: Family) -> Iterator[Rule]:
    yield Rule((_OUT_BY_LOOPBACK,))
    for user in outbound.exclude_users:
        yield Rule((_by(user),))
    for network in _of(family, outbound.exclude_networks):
        yield Rule((_into(network),))
    for ports in outbound.exclude_ports:
        yield Rule((_to(ports),))
    # Where only networks of the other family are included, this one has none.
    networks = [(_into(n),) for n in _of(family, outbound.include_networks)]
    anywhere: list[tuple[Term, ...]] = [()]
    for terms, ports in product(
        networks if outbound.include_networks else anywhere,
        outbound.include_ports or (_ALL_PORTS,),
    ):
        yield Rule((*terms, _to(ports)), outbound.to_port)


def _of(family: Family, networks: Iterable[Network]) -> Iterator[Network]:
    return (network for network in networks if network.version == family.value)


def _one(port: int) -> range:
    return range(port, port + 1)


def _to(ports: range) -> Term:
    if ports == _ALL_PORTS:
        return _TCP
    first, last = ports.start, ports.stop - 1
    if first == last:
        return Term(f"-p tcp -m tcp --dport {first}", f"tcp dport {first}")
    return Term(f"-p tcp -m tcp --dport {first}:{last}", f"tcp dport {first}-{last}")


def _into(network: Network) -> Term:
    word = "ip" if network.version == Family.IPV4.value else "ip6"
    return Term(f"-d {network}", f"{word} daddr {network}")


def _by(user: int) -> Term:
    return Term(f"-m owner --uid-owner {user}", f"meta skuid {user}")


# What iptables-restore --noflush reads: other rules of the table stay.

_CHAIN_NAMES = ("SIDECAR_INBOUND", "SIDECAR_OUTBOUND")
_SAVED_CHAIN = re.compile(rf"^:({'|'.join(_CHAIN_NAMES)}) ", re.MULTILINE)
_SAVED_JUMP = re.compile(
    rf"^-A (?!(?:{'|'.join(_CHAIN_NAMES)}) )\S+ .*-[jg] (?:{'|'.join(_CHAIN_NAMES)})$",
    re.MULTILINE,
)


def iptables_text(interception: Interception, family: Family, saved: str = "") -> str:
    """Return what makes the rules so, whatever an earlier call has made.

    Args:
        interception: What to intercept.
        family: Of which connections.
        saved: What `iptables-save -t nat` prints; empty: nothing of ours is there.
    """
    wanted = chains(interception, family)
    names = [chain.name for chain in wanted]
    jumps = [f"-A {chain.hook} {_SYN.iptables} -j {chain.name}" for chain in wanted]
    missing, surplus = list(jumps), []
    for jump in _SAVED_JUMP.findall(saved):
        if jump in missing:
            missing.remove(jump)  # Keeps its place among the rules of others.
        else:
            surplus.append(jump)
    gone = [name for name in _SAVED_CHAIN.findall(saved) if name not in names]
    return _restorable(
        [
            *_emptied(names + gone),
            *_undone(surplus),
            *(f"-X {name}" for name in gone),
            *(f"-A {c.name} {_iptables_rule(r)}" for c in wanted for r in c.rules),
            *missing,
        ]
    )


def iptables_removal(saved: str) -> str:
    """Return what removes all that is ours; empty when nothing is.

    Args:
        saved: What `iptables-save -t nat` prints.
    """
    names = _SAVED_CHAIN.findall(saved)
    if not names:
        return ""
    jumps = _undone(_SAVED_JUMP.findall(saved))
    return _restorable([*_emptied(names), *jumps, *(f"-X {name}" for name in names)])


def _iptables_rule(rule: Rule) -> str:
    left_alone = rule.to_port is None
    verdict = "RETURN" if left_alone else f"REDIRECT --to-ports {rule.to_port}"
    return f"{' '.join(term.iptables for term in rule.terms)} -j {verdict}"


def _emptied(names: list[str]) -> list[str]:
    return [f":{name} - [0:0]" for name in names]


def _undone(jumps: list[str]) -> list[str]:
    return [f"-D {jump.removeprefix('-A ')}" for jump in jumps]


def _restorable(lines: list[str]) -> str:
    return "\n".join(["*nat", *lines, "COMMIT", ""])


# What nft -f reads: in a table of our own, replaced as a whole.


def nft_text(interception: Interception, family: Family) -> str:
    """Return what makes the rules so, whatever an earlier call has made."""
    lines = [f"table {_nft_name(family)} {{"]
    wanted = chains(interception, family)
    for chain in wanted:
        rules = [_nft_rule(rule) for rule in chain.rules]
        lines += _nft_chain(chain.name, rules)
    for chain in wanted:
        hook = chain.hook.lower()
        rules = [
            f"type nat hook {hook} priority -100; policy accept;",
            f"{_SYN.nft} jump {chain.name}",
        ]
        lines += _nft_chain(chain.hook, rules)
    return nft_removal(family) + "\n".join([*lines, "}", ""])


def nft_removal(family: Family) -> str:
    """Return what removes all that is ours, and fails not when nothing is."""
    name = _nft_name(family)
    return f"table {name}\ndelete table {name}\n"


def _nft_name(family: Family) -> str:
    return f"{'ip' if family is Family.IPV4 else 'ip6'} {TABLE}"


def _nft_chain(name: str, lines: list[str]) -> list[str]:
    return [f"  chain {name} {{", *(f"    {line}" for line in lines), "  }"]


def _nft_rule(rule: Rule) -> str:
    left_alone = rule.to_port is None
    verdict = "return" if left_alone else f"redirect to :{rule.to_port}"
    return f"{' '.join(term.nft for term in rule.terms)} {verdict}"
