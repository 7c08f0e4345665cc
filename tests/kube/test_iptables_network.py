"""Interception of real connections between two hosts; by both tools."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from sidecar.kube.rules import PROXY_USER, Family, Format
from tests.kube.network import (
    APP_USER,
    CLIENT,
    COMMAND,
    LOOPBACK,
    POD,
    Network,
    greeting_of,
    inside,
    populated,
    run,
    why_not,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from socket import socket

    Apply = Callable[..., str]

SERVICE = "10.96.0.10"  # As of a cluster: no host has it.
# What a node does for a pod that calls a Service of which it is the only endpoint.
NODE = {
    Format.IPTABLES: (
        ("iptables-restore",),
        f"""*nat
-A PREROUTING -d {SERVICE} -p tcp --dport 80 -j DNAT --to {POD[Family.IPV4]}:8080
-A POSTROUTING -d {POD[Family.IPV4]} -j MASQUERADE
COMMIT
""",
    ),
    Format.NFT: (
        ("nft", "-f", "-"),
        f"""table ip node {{
  chain a {{
    type nat hook prerouting priority -100;
    ip daddr {SERVICE} tcp dport 80 dnat to {POD[Family.IPV4]}:8080
  }}
  chain b {{
    type nat hook postrouting priority 100;
    ip daddr {POD[Family.IPV4]} masquerade
  }}
}}
""",
    ),
}


@pytest.fixture(scope="module", params=list(Format), ids=lambda tool: tool.value)
def tool(request: pytest.FixtureRequest) -> Format:
    tool: Format = request.param
    if reason := why_not(tool):
        pytest.skip(reason)
    return tool


@pytest.fixture
def net() -> Iterator[Network]:
    with populated() as net:
        yield net


@pytest.fixture
def apply(net: Network, tool: Format) -> Apply:
    return lambda *options: net.iptables("--apply", "--format", tool.value, *options)


# Inbound.


def test_inbound_is_intercepted_and_keeps_its_address(
    net: Network, apply: Apply
) -> None:
    """Also where nobody listens: the sidecar answers for the application."""
    assert net.from_client(POD[Family.IPV4], 8080) == "app"
    assert apply().startswith("IPv4 and IPv6: applied by ")
    for family in Family:
        for port in (8080, 9090, 7):
            assert net.from_client(POD[family], port) == f"proxy {POD[family]} {port}"


def test_excluded_ports_and_the_sidecars_own_are_not_intercepted(
    net: Network, apply: Apply
) -> None:
    apply("--exclude-inbound-ports", "22,9000-9100")
    for family in Family:
        address = POD[family]
        assert net.from_client(address, 9090) == "app"
        assert net.from_client(address, 15020) == "app"  # It stands for health here.
        assert net.from_client(address, 15000) == "refused"  # Admin: loopback only.
        assert net.from_client(address, 8080) == f"proxy {address} 8080"


def test_only_included_ports_are_intercepted(net: Network, apply: Apply) -> None:
    """An exclusion wins over an inclusion."""
    apply(
        *("--include-inbound-ports", "8080", "--include-inbound-ports", "9000-9100"),
        *("--exclude-inbound-ports", "9090"),
    )
    for family in Family:
        address = POD[family]
        assert net.from_client(address, 8080) == f"proxy {address} 8080"
        assert net.from_client(address, 9089) == f"proxy {address} 9089"
        assert net.from_client(address, 9090) == "app"
        assert net.from_client(address, 7) == "refused"


@pytest.mark.parametrize("family", list(Family), ids=lambda family: family.label)
def test_one_family_alone_is_intercepted(
    net: Network, apply: Apply, family: Family
) -> None:
    assert apply("--family", str(family.value)).startswith(f"{family.label}: applied")
    for each in Family:
        expected = f"proxy {POD[each]} 8080" if each is family else "app"
        assert net.from_client(POD[each], 8080) == expected


def test_another_port_of_the_sidecar_is_told(net: Network, apply: Apply) -> None:
    net.listen(net.pod, "proxy", PROXY_USER, ("0.0.0.0", 4143))
    apply("--inbound-port", "4143", "--family", "4")
    address = POD[Family.IPV4]
    assert net.from_client(address, 8080) == f"proxy {address} 8080"
    assert net.from_client(address, 15006) == f"proxy {address} 15006"


def test_a_pod_with_ipv6_switched_off_is_intercepted_by_ipv4(
    net: Network, apply: Apply
) -> None:
    net.in_pod("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
    apply()
    address = POD[Family.IPV4]
    assert net.from_client(address, 8080) == f"proxy {address} 8080"


# Outbound.


def test_outbound_is_left_alone_unless_asked(net: Network, apply: Apply) -> None:
    apply()
    for family in Family:
        assert net.from_app(CLIENT[family], 80) == "service"


def test_outbound_is_intercepted_when_asked_but_never_the_sidecars(
    net: Network, apply: Apply
) -> None:
    apply("--outbound")
    for family in Family:
        address = CLIENT[family]
        assert net.from_app(address, 80) == f"proxy {address} 80"
        assert net.from_app(address, 80, user=0) == f"proxy {address} 80"
        assert net.from_app(address, 80, PROXY_USER) == "service"


def test_outbound_alone(net: Network, apply: Apply) -> None:
    apply("--outbound", "--no-inbound")
    for family in Family:
        assert net.from_client(POD[family], 8080) == "app"
        assert net.from_app(CLIENT[family], 80) == f"proxy {CLIENT[family]} 80"


def test_another_user_of_the_sidecar_is_told(net: Network, apply: Apply) -> None:
    apply("--outbound", "--user", "2102", "--user", "2103")
    address = CLIENT[Family.IPV4]
    for user in (2102, 2103):
        assert net.from_app(address, 80, user) == "service"
    assert net.from_app(address, 80, PROXY_USER) == f"proxy {address} 80"


def test_excluded_ports_users_and_networks_are_not_intercepted(
    net: Network, apply: Apply
) -> None:
    apply("--outbound", "--exclude-outbound-ports", "443", "--exclude-user", "0,2000")
    for family in Family:
        address = CLIENT[family]
        assert net.from_app(address, 443) == "service"
        assert net.from_app(address, 80, 2000) == "service"
        assert net.from_app(address, 80, 0) == "service"
        assert net.from_app(address, 80) == f"proxy {address} 80"
    apply("--outbound", "--exclude-outbound-cidrs", "10.31.0.0/16,fd31:6::1")
    for family in Family:
        assert net.from_app(CLIENT[family], 80) == "service"


def test_only_included_networks_and_ports_are_intercepted(
    net: Network, apply: Apply
) -> None:
    """What is included of one family includes nothing of the other."""
    apply(
        *("--outbound", "--include-outbound-cidrs", "192.0.2.0/24,10.31.6.1"),
        *("--include-outbound-ports", "80-90"),
    )
    address = CLIENT[Family.IPV4]
    assert net.from_app(address, 80) == f"proxy {address} 80"
    assert net.from_app(address, 443) == "service"
    assert net.from_app(CLIENT[Family.IPV6], 80) == "service"


def test_loopback_and_the_pods_own_address_are_left_alone(
    net: Network, apply: Apply
) -> None:
    """So the sidecar reaches the application, and no loop can be."""
    apply("--outbound")
    for family in Family:
        for user in (APP_USER, PROXY_USER):
            assert net.from_app(LOOPBACK[family], 8081, user) == "app"
            assert net.from_app(LOOPBACK[family], 8080, user) == "app"
            assert net.from_app(POD[family], 8080, user) == "app"


def test_a_pod_that_calls_its_own_service_comes_back_through_inbound(
    net: Network, apply: Apply, tool: Format
) -> None:
    command, text = NODE[tool]
    inside(net.client, lambda: run(*command, text=text))
    inside(net.client, lambda: run("sysctl", "-qw", "net.ipv4.ip_forward=1"))
    net.in_pod("ip", "route", "add", "default", "via", CLIENT[Family.IPV4])
    back = f"proxy {POD[Family.IPV4]} 8080"
    assert net.from_app(SERVICE, 80) == "app"
    apply()
    assert net.from_app(SERVICE, 80) == back
    apply("--outbound")
    assert net.from_app(SERVICE, 80) == f"proxy {SERVICE} 80"
    assert net.from_app(SERVICE, 80, PROXY_USER) == back


def test_what_only_passes_through_is_left_alone(net: Network, tool: Format) -> None:
    """A router's own connections are inbound, not those of others."""
    command, text = NODE[tool]
    inside(net.client, lambda: run(*command, text=text))
    inside(net.client, lambda: run("sysctl", "-qw", "net.ipv4.ip_forward=1"))
    net.in_pod("ip", "route", "add", SERVICE, "via", CLIENT[Family.IPV4])
    options = ("--apply", "--format", tool.value)
    inside(net.client, lambda: run(*COMMAND, *options))
    assert net.from_app(SERVICE, 80) == "app"


def test_udp_is_never_touched(net: Network, apply: Apply) -> None:
    apply("--outbound")
    for family in Family:
        dns = net.datagrams(net.client, family)
        dns.bind((CLIENT[family], 53))
        net.datagrams(net.pod, family).sendto(b"name?", (CLIENT[family], 53))
        assert dns.recvfrom(100)[0] == b"name?"


# Applied, applied again, removed.


def echoes(connection: socket) -> bool:
    """Tell whether the other side still returns what is sent."""
    connection.sendall(b"still there?\n")
    return greeting_of(connection) == "still there?"


def test_connections_outlive_what_is_applied(net: Network, apply: Apply) -> None:
    """Those that were there before, and those that were intercepted."""
    places = [(net.client, 0, POD[f], 8080) for f in Family]
    places += [(net.pod, APP_USER, CLIENT[f], 80) for f in Family]
    before = [net.connect(*place) for place in places]
    assert [greeting_of(c) for c in before] == ["app", "app", "service", "service"]
    apply("--outbound")
    assert all(echoes(connection) for connection in before)
    after = [net.connect(*place) for place in places]
    assert all(greeting_of(connection).startswith("proxy") for connection in after)
    apply("--outbound", "--exclude-inbound-ports", "8080")
    assert all(echoes(connection) for connection in before + after)
    net.iptables("--remove")
    assert all(echoes(connection) for connection in before)


FOREIGN = {
    Format.IPTABLES: ("iptables", "-t", "nat", "-A"),
    Format.NFT: ("nft", "add", "rule", "ip", "mine"),
}


def add_rules_of_others(net: Network, tool: Format, port: int) -> None:
    words = FOREIGN[tool]
    if tool is Format.IPTABLES:
        rest = ("-p", "udp", "--dport", str(port), "-j", "RETURN")
        for chain in ("PREROUTING", "OUTPUT"):
            for word in ("iptables", "ip6tables"):
                net.in_pod(word, *words[1:], chain, *rest)
        return
    net.in_pod("nft", "-f", "-", text="table ip mine {\n chain own {\n}\n}\n")
    net.in_pod(*words, "own", "udp", "dport", str(port), "return")


OPTIONS = (
    *("--outbound", "--exclude-inbound-ports", "22,9000-9010"),
    *("--exclude-outbound-cidrs", "10.0.0.0/8,fd00::/8,192.0.2.1"),
    *("--include-outbound-ports", "80,443", "--exclude-user", "7"),
)


def test_applied_twice_is_applied_once(
    net: Network, apply: Apply, tool: Format
) -> None:
    """The rules of others keep their place, before and behind ours."""
    add_rules_of_others(net, tool, 1)
    apply(*OPTIONS)
    add_rules_of_others(net, tool, 2)
    once = net.rules(tool)
    assert "SIDECAR_INBOUND" in once
    apply(*OPTIONS)
    assert net.rules(tool) == once


def test_other_options_replace_what_was_applied(
    net: Network, apply: Apply, tool: Format
) -> None:
    apply()
    inbound_alone = net.rules(tool)
    apply(*OPTIONS)
    assert net.rules(tool) != inbound_alone
    apply()
    assert net.rules(tool) == inbound_alone


@pytest.mark.parametrize("has_rules", [False, True])
def test_removed_leaves_everything_as_it_was(
    net: Network, apply: Apply, tool: Format, *, has_rules: bool
) -> None:
    if has_rules:
        add_rules_of_others(net, tool, 1)
    before = net.rules(tool)
    apply(*OPTIONS)
    assert net.rules(tool) != before
    net.iptables("--remove")
    assert net.rules(tool) == before
    for family in Family:
        assert net.from_client(POD[family], 8080) == "app"
        assert net.from_app(CLIENT[family], 80) == "service"
    net.iptables("--remove")  # Nothing there is fine.
    assert net.rules(tool) == before


def test_a_rule_that_was_added_twice_by_hand_is_removed_too(
    net: Network, tool: Format
) -> None:
    """As who pipes the printed rules to the tool two times."""
    before = net.rules(tool)
    printed = net.iptables("--format", tool.value, "--family", "4")
    readers = {
        Format.IPTABLES: ("iptables-restore", "--noflush"),
        Format.NFT: ("nft", "-f", "-"),
    }
    for _ in range(2):
        net.in_pod(*readers[tool], text=printed)
    assert net.from_client(POD[Family.IPV4], 8080) == f"proxy {POD[Family.IPV4]} 8080"
    net.iptables("--remove", "--format", tool.value)
    assert net.rules(tool) == before


def test_the_other_tool_replaces_what_was_applied(
    net: Network, apply: Apply, tool: Format
) -> None:
    other = next(each for each in Format if each is not tool)
    if reason := why_not(other):
        pytest.skip(reason)
    before = net.rules(other)
    net.iptables("--apply", "--format", other.value)
    apply("--exclude-inbound-ports", "8080")
    if other is Format.IPTABLES:
        assert net.rules(other) == before
    else:
        assert "sidecar316" not in net.rules(other)
    assert net.from_client(POD[Family.IPV4], 8080) == "app"


@pytest.mark.parametrize("action", ["--apply", "--remove"])
@pytest.mark.parametrize(
    "rights",
    [
        ("--bounding-set=-net_admin", "--inh-caps=-net_admin"),
        ("--reuid=1000", "--clear-groups"),
    ],
    ids=["root", "user"],
)
def test_without_net_admin_it_says_what_is_missing(
    net: Network, tool: Format, rights: tuple[str, ...], action: str
) -> None:
    before = net.rules(tool)
    with pytest.raises(subprocess.CalledProcessError) as failed:
        net.iptables(action, "--format", tool.value, prefix=("setpriv", *rights))
    assert failed.value.returncode == 1
    assert "the capability NET_ADMIN (in a pod: securityContext:" in failed.value.stderr
    assert "Traceback" not in failed.value.stderr
    assert net.rules(tool) == before
