"""The rules as text: what is excepted stands first, and nothing else is redirected."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.kube.rules import (
    ADMIN_PORT,
    HEALTH_PORT,
    PROXY_USER,
    Family,
    Inbound,
    Interception,
    Outbound,
    iptables_removal,
    iptables_text,
    nft_removal,
    nft_text,
)
from tests.kube.rule_settings import interceptions

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT = Interception(Inbound(), None)
BOTH = Interception(Inbound(), Outbound())
TO_INBOUND = "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j SIDECAR_INBOUND"


def test_what_iptables_reads() -> None:
    """In the words of iptables-save, so that a jump that is there is found."""
    assert (
        iptables_text(DEFAULT, Family.IPV4)
        == f"""*nat
:SIDECAR_INBOUND - [0:0]
-A SIDECAR_INBOUND -i lo -j RETURN
-A SIDECAR_INBOUND -m addrtype ! --dst-type LOCAL -j RETURN
-A SIDECAR_INBOUND -p tcp -m tcp --dport 15000 -j RETURN
-A SIDECAR_INBOUND -p tcp -m tcp --dport 15020 -j RETURN
-A SIDECAR_INBOUND -p tcp -j REDIRECT --to-ports 15006
-A PREROUTING {TO_INBOUND}
COMMIT
"""
    )


def test_what_nft_reads() -> None:
    """A table of our own, which replaces itself as a whole."""
    assert (
        nft_text(Interception(None, Outbound()), Family.IPV6)
        == """table ip6 sidecar316
delete table ip6 sidecar316
table ip6 sidecar316 {
  chain SIDECAR_OUTBOUND {
    oifname "lo" return
    meta skuid 1337 return
    meta l4proto tcp redirect to :15001
  }
  chain OUTPUT {
    type nat hook output priority -100; policy accept;
    tcp flags & (fin | syn | rst | ack) == syn jump SIDECAR_OUTBOUND
  }
}
"""
    )


# Again, and away.

OTHERS = """*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER_OUTPUT - [0:0]
-A PREROUTING -p tcp -j DOCKER_OUTPUT
-A OUTPUT -d 127.0.0.11/32 -m comment --comment "not SIDECAR_INBOUND" -j DOCKER_OUTPUT
COMMIT
"""


def saved(interception: Interception) -> str:
    """Return what iptables-save prints once these rules are applied."""
    own = iptables_text(interception, Family.IPV4).splitlines()[1:-1]
    return OTHERS.replace("COMMIT", "\n".join([*own, "COMMIT"]))


def commands(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def test_a_jump_that_is_there_keeps_its_place() -> None:
    again = iptables_text(BOTH, Family.IPV4, saved(BOTH))
    assert commands(again, "-D") == []
    assert commands(again, "-A PREROUTING") == commands(again, "-A OUTPUT") == []


def test_a_jump_of_other_words_and_a_second_one_are_replaced() -> None:
    old = "-A PREROUTING -p tcp -j SIDECAR_INBOUND"
    was = saved(DEFAULT).replace("COMMIT", f"-A PREROUTING {TO_INBOUND}\n{old}\nCOMMIT")
    again = iptables_text(DEFAULT, Family.IPV4, was)
    assert commands(again, "-D") == [
        f"-D PREROUTING {TO_INBOUND}",
        "-D PREROUTING -p tcp -j SIDECAR_INBOUND",
    ]
    assert commands(again, "-A PREROUTING") == []


def test_a_direction_that_is_no_longer_wanted_goes() -> None:
    less = iptables_text(DEFAULT, Family.IPV4, saved(BOTH))
    assert commands(less, "-X") == ["-X SIDECAR_OUTBOUND"]
    assert [line.split()[1] for line in commands(less, "-D")] == ["OUTPUT"]
    # Emptied and left by all first, or it could not be removed.
    order = [less.index(word) for word in (":SIDECAR_OUTBOUND", "-D OUTPUT", "-X ")]
    assert order == sorted(order)


def test_what_is_removed_is_ours_alone() -> None:
    text = iptables_removal(saved(BOTH))
    assert commands(text, ":") == [
        ":SIDECAR_INBOUND - [0:0]",
        ":SIDECAR_OUTBOUND - [0:0]",
    ]
    assert commands(text, "-X") == ["-X SIDECAR_INBOUND", "-X SIDECAR_OUTBOUND"]
    assert len(commands(text, "-D")) == 2
    assert "DOCKER" not in text


def test_nothing_of_ours_needs_no_removal() -> None:
    assert iptables_removal(OTHERS) == ""


def test_the_table_of_nft_is_made_before_it_is_deleted() -> None:
    """So that its absence is no error."""
    assert nft_removal(Family.IPV4) == (
        "table ip sidecar316\ndelete table ip sidecar316\n"
    )


# Whatever is asked.


@dataclass(frozen=True, slots=True)
class Connection:
    """A new one, not over loopback, to an address of this host or of another."""

    address: str
    port: int
    user: int
    is_local: bool

    def fits(self, rule: str) -> bool:
        """Tell whether it fits a rule of iptables; fail for words not known here."""
        words = rule.partition(" -j ")[0]
        known: dict[str, Callable[[re.Match[str]], bool]] = {
            r" -[io] lo": lambda _: False,
            r" -m addrtype ! --dst-type LOCAL": lambda _: not self.is_local,
            r" -m owner --uid-owner (\d+)": lambda m: int(m[1]) == self.user,
            r" -d (\S+)": lambda m: ip_address(self.address) in ip_network(m[1]),
            r"(?: -p tcp -m tcp)? --dport (\d+)(?::(\d+))?": (
                lambda m: int(m[1]) <= self.port <= int(m[2] or m[1])
            ),
            r" -p tcp": lambda _: True,
        }
        words = words.removeprefix(rule.partition(" -")[0])
        fits = True
        while words:
            for pattern, check in known.items():
                if (match := re.match(pattern, words)) is not None:
                    fits = fits and check(match)
                    words = words[match.end() :]
                    break
            else:
                pytest.fail(f"unknown: {words}")
        return fits


def verdict(text: str, chain: str, connection: Connection) -> str:
    """Return the verdict of the first rule that fits."""
    for line in commands(text, f"-A {chain} "):
        rule = line.removeprefix("-A ")
        if connection.fits(rule):
            return rule.rpartition(" ")[2]
    return "RETURN"


PORTS = st.integers(1, 65535) | st.sampled_from([22, 80, 8080, ADMIN_PORT, HEALTH_PORT])
ADDRESSES = {
    Family.IPV4: st.sampled_from(["10.0.0.1", "10.9.8.7", "192.0.2.7"]),
    Family.IPV6: st.sampled_from(["fd00::1", "fd00:0:0:1::7", "2001:db8::1"]),
}


@given(interceptions(), st.sampled_from(Family), st.data())
def test_inbound_goes_to_the_sidecar_if_it_is_for_this_host_and_not_excluded(
    wanted: Interception, family: Family, data: st.DataObject
) -> None:
    inbound = wanted.inbound or Inbound()
    text = iptables_text(Interception(inbound, wanted.outbound), family)
    near = [p for r in inbound.include_ports + inbound.exclude_ports for p in ends(r)]
    port = data.draw(st.sampled_from(near) | PORTS if near else PORTS)
    connection = Connection(
        data.draw(ADDRESSES[family]), port, 0, data.draw(st.booleans())
    )
    is_taken = (
        connection.is_local
        and port not in (ADMIN_PORT, HEALTH_PORT)
        and holds(inbound.include_ports or (range(1, 65536),), port)
        and not holds(inbound.exclude_ports, port)
    )
    expected = str(inbound.to_port) if is_taken else "RETURN"
    assert verdict(text, "SIDECAR_INBOUND", connection) == expected


@given(interceptions(), st.sampled_from(Family), st.data())
def test_outbound_goes_to_the_sidecar_if_all_inclusions_and_no_exclusion_hold(
    wanted: Interception, family: Family, data: st.DataObject
) -> None:
    out = wanted.outbound or Outbound()
    text = iptables_text(Interception(wanted.inbound, out), family)
    near = [p for r in out.include_ports + out.exclude_ports for p in ends(r)]
    port = data.draw(st.sampled_from(near) | PORTS if near else PORTS)
    user = data.draw(st.sampled_from([0, 1000, *out.exclude_users]))
    address = data.draw(ADDRESSES[family])
    connection = Connection(address, port, user, is_local=False)
    at = ip_address(address)
    is_taken = (
        user not in out.exclude_users
        and holds(out.include_ports or (range(1, 65536),), port)
        and not holds(out.exclude_ports, port)
        and (not out.include_networks or any(at in n for n in out.include_networks))
        and not any(at in n for n in out.exclude_networks)
    )
    expected = str(out.to_port) if is_taken else "RETURN"
    assert verdict(text, "SIDECAR_OUTBOUND", connection) == expected


@given(interceptions(), st.sampled_from(Family))
def test_each_exception_stands_before_what_is_redirected(
    wanted: Interception, family: Family
) -> None:
    """In both texts, which have the same rules in the same order."""
    shapes = []
    for text in (iptables_text(wanted, family), nft_text(wanted, family)):
        verdicts = re.findall(r"\b(RETURN|return|REDIRECT|redirect)\b", text)
        shapes.append([word.lower() for word in verdicts])
    assert shapes[0] == shapes[1]
    for ports in wanted.inbound.exclude_ports if wanted.inbound else ():
        first, last = ends(ports)
        place = f"-m tcp --dport {first}:{last} "
        if first == last:
            place = f"-m tcp --dport {first} "
        elif (first, last) == (1, 65535):
            place = ""  # All of them.
        text = iptables_text(wanted, family)
        excluded = text.index(f"SIDECAR_INBOUND -p tcp {place}-j RETURN")
        redirected = re.search("SIDECAR_INBOUND .*REDIRECT", text)
        assert redirected is not None
        assert excluded < redirected.start()


@given(interceptions(), st.sampled_from(Family))
def test_the_proxys_user_is_let_go_before_anything_is_looked_at(
    wanted: Interception, family: Family
) -> None:
    out = wanted.outbound or Outbound()
    rules = commands(
        iptables_text(Interception(None, out), family), "-A SIDECAR_OUTBOUND"
    )
    assert PROXY_USER in out.exclude_users
    assert rules[0].endswith("-o lo -j RETURN")
    assert rules[1].endswith(f"--uid-owner {PROXY_USER} -j RETURN")


def ends(ports: range) -> tuple[int, int]:
    return ports.start, ports.stop - 1


def holds(lists: tuple[range, ...], port: int) -> bool:
    return any(port in ports for ports in lists)
