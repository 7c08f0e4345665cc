"""Whatever may be asked of the rules, for properties."""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import strategies as st

from sidecar.kube.rules import PROXY_USER, Inbound, Interception, Outbound

_PORT = st.integers(1, 65535)
_RANGES = st.tuples(_PORT, _PORT).map(lambda p: range(min(p), max(p) + 1))
_PORTS = st.lists(_RANGES | _PORT.map(lambda p: range(p, p + 1)), max_size=4).map(tuple)
# Some that the connections of tests are in, and any others.
_NEAR = st.sampled_from(["10.0.0.0/8", "10.9.8.7", "0.0.0.0/0", "fd00::/48", "::/0"])
_NETWORKS = st.lists(
    _NEAR.map(ip_network)
    | st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
        lambda a: ip_network(a, strict=False)
    )
    | st.tuples(st.integers(2**96, 2**128 - 1), st.integers(0, 128)).map(
        lambda a: ip_network(a, strict=False)
    ),
    max_size=4,
).map(tuple)
_USERS = st.lists(st.integers(0, 2**32 - 2), max_size=3).map(
    lambda users: (PROXY_USER, *users)
)
_INBOUND = st.builds(Inbound, to_port=_PORT, include_ports=_PORTS, exclude_ports=_PORTS)
_OUTBOUND = st.builds(
    Outbound,
    to_port=_PORT,
    include_ports=_PORTS,
    exclude_ports=_PORTS,
    include_networks=_NETWORKS,
    exclude_networks=_NETWORKS,
    exclude_users=_USERS,
)


def interceptions() -> st.SearchStrategy[Interception]:
    """Either direction, or both."""
    return st.one_of(
        st.builds(Interception, _INBOUND, _OUTBOUND),
        st.builds(Interception, _INBOUND, st.none()),
        st.builds(Interception, st.none(), _OUTBOUND),
    )
