"""How endpoints are found: the models, and what they come to.

`endpoints` of an upstream are written down; these say whom to ask instead.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidecar.settings import snapshot as compiled
from sidecar.settings.base import FilePath, Name, Settings
from sidecar.settings.units import Duration, Endpoint, PositiveDuration, Shape

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"

DnsName = Annotated[
    str,
    Shape(
        rf"(?=.{{1,254}}$){_LABEL}(?:\.{_LABEL})*\.?",
        "a name of DNS such as shop.default.svc.cluster.local",
    ),
]
KubernetesName = Annotated[
    str,
    Shape(
        r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?",
        "a name of Kubernetes: lower case letters, digits, '-', at most 63",
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]


class DnsSettings(Settings):
    """A name whose addresses are the endpoints."""

    name: DnsName
    port: Port | None = None
    type: Literal["A", "AAAA", "A+AAAA", "SRV"] = "A"
    timeout: PositiveDuration = 5.0
    min_ttl: PositiveDuration = 5.0
    stale: Duration = 60.0


class KubernetesSettings(Settings):
    """A Service whose EndpointSlices hold the endpoints."""

    service: KubernetesName
    namespace: KubernetesName | None = None
    port: KubernetesName | Port | None = None


class UpstreamDiscoverySettings(Settings):
    """Whom to ask for the endpoints of an upstream: one of the two."""

    dns: DnsSettings | None = None
    kubernetes: KubernetesSettings | None = None


class DiscoverySettings(Settings):
    """What holds for all upstreams that are discovered."""

    zone: Name | None = None
    first_answer: PositiveDuration = 5.0
    nameservers: tuple[Endpoint, ...] = ()
    service_account: FilePath = "/var/run/secrets/kubernetes.io/serviceaccount"


def source_of(
    discovery: UpstreamDiscoverySettings | None, shared: DiscoverySettings
) -> compiled.Source | None:
    """Return whom to ask, if the endpoints are not written down."""
    if discovery is not None and (dns := discovery.dns) is not None:
        return compiled.DnsSource(
            dns.name,
            dns.port,
            tuple(dns.type.split("+")),
            dns.timeout,
            dns.min_ttl,
            dns.stale,
            shared.nameservers,
        )
    if discovery is not None and (kubernetes := discovery.kubernetes) is not None:
        return compiled.KubernetesSource(
            kubernetes.service,
            kubernetes.namespace,
            kubernetes.port,
            shared.zone,
            shared.service_account,
        )
    return None


def mistake_in(discovery: UpstreamDiscoverySettings) -> str | None:
    """Return what is wrong with it, if anything is."""
    if (discovery.dns is None) == (discovery.kubernetes is None):
        return "must have one of dns and kubernetes"
    dns = discovery.dns
    if dns is None:
        return None
    if dns.type == "SRV" and dns.port is not None:
        return "dns.port and type SRV exclude each other: each record has its port"
    if dns.type != "SRV" and dns.port is None:
        return f"dns.port is missing: records of type {dns.type} have none"
    return None
