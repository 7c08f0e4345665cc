"""What the look of a host tells of where it is."""

from __future__ import annotations

import ipaddress

_CLUSTER_SUFFIXES = (".svc", ".local", ".internal", ".cluster")


def is_loopback(host: str) -> bool:
    """Tell an address of this machine, or of this pod."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_in_cluster(host: str) -> bool:
    """Tell an address of this cluster from one elsewhere, by its look.

    A name is near when it has no dot (a Service of the namespace) or ends as
    names do that only a private DNS resolves; `name.namespace` alone looks like
    a public name and is taken for one: the longer limit only costs patience.
    """
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        name = host.rstrip(".").lower()
        return "." not in name or name.endswith(_CLUSTER_SUFFIXES) or ".svc." in name
