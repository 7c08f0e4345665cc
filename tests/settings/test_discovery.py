"""Endpoints that are written down, or found: what a file may say, and its meaning."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from sidecar.settings.differences import differences
from sidecar.settings.load import load_text
from sidecar.settings.problem import SettingsError
from sidecar.settings.snapshot import (
    Address,
    DnsSource,
    KubernetesSource,
    Snapshot,
    Upstream,
)

DNS = {"name": "pages.test", "port": 80}


def load(app: dict[str, Any], **top: Any) -> Snapshot:
    data = {"upstreams": {"app": app}, "routes": [{"name": "all", "upstream": "app"}]}
    return load_text(yaml.safe_dump(data | top)).snapshot


def upstream(app: dict[str, Any], **top: Any) -> Upstream:
    return load(app, **top).upstreams["app"]


def by_dns(**keys: Any) -> dict[str, Any]:
    return {"discovery": {"dns": DNS | keys}}


def by_kubernetes(**keys: Any) -> dict[str, Any]:
    return {"discovery": {"kubernetes": {"service": "stock"} | keys}}


@pytest.mark.parametrize(
    ("app", "path", "words"),
    [
        ({}, "upstreams.app", "has none of endpoints, discovery"),
        ({"endpoints": []}, "upstreams.app.endpoints", "is empty"),
        (
            {"endpoints": ["10.0.0.1:80"], **by_dns()},
            "upstreams.app.discovery",
            "keep one of them",
        ),
        ({"discovery": {}}, "upstreams.app.discovery", "one of dns and kubernetes"),
        (
            {"discovery": {"dns": DNS, "kubernetes": {"service": "stock"}}},
            "upstreams.app.discovery",
            "one of dns and kubernetes",
        ),
        (by_dns(port=None), "upstreams.app.discovery", "dns.port is missing"),
        (by_dns(type="SRV"), "upstreams.app.discovery", "each record has its port"),
        (by_dns(port=0), "upstreams.app.discovery.dns.port", "greater than"),
        (by_dns(name="a b"), "upstreams.app.discovery.dns.name", "not a name of DNS"),
        (by_dns(type="MX"), "upstreams.app.discovery.dns.type", "'A', 'AAAA'"),
        (by_dns(min_ttl="5"), "upstreams.app.discovery.dns.min_ttl", "a duration"),
        (by_dns(ttl="5s"), "upstreams.app.discovery.dns.ttl", ""),
        (
            by_kubernetes(service="Stock"),
            "upstreams.app.discovery.kubernetes.service",
            "a name of Kubernetes",
        ),
        (
            by_kubernetes(port="HTTP"),
            "upstreams.app.discovery.kubernetes.port",
            "a name of Kubernetes",
        ),
    ],
)
def test_a_mistake_has_its_place(app: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(app)
    problem = caught.value.problems[0]
    assert problem.path == path
    assert words in f"{problem.message} {problem.hint}"
    assert problem.line > 0


def test_dns_with_its_defaults() -> None:
    assert upstream(by_dns()).discovery == DnsSource(
        "pages.test", 80, ("A",), 5.0, 5.0, 60.0, ()
    )


def test_both_families_are_two_types() -> None:
    source = upstream(by_dns(type="A+AAAA")).discovery
    assert isinstance(source, DnsSource)
    assert source.types == ("A", "AAAA")


def test_what_all_upstreams_share_is_in_the_source_of_each() -> None:
    """So that another server is another source, and is asked anew."""
    shared = {"nameservers": ["10.0.0.10:53"], "zone": "a"}
    source = upstream(by_dns(), discovery=shared).discovery
    assert isinstance(source, DnsSource)
    assert source.nameservers == (Address("10.0.0.10", 53),)
    kubernetes = upstream(by_kubernetes(port=8080), discovery=shared).discovery
    assert kubernetes == KubernetesSource(
        "stock", None, 8080, "a", "/var/run/secrets/kubernetes.io/serviceaccount"
    )


@pytest.mark.parametrize(
    ("app", "authority"),
    [
        ({"endpoints": ["10.0.0.1:80"]}, b"10.0.0.1:80"),
        (by_dns(), b"pages.test:80"),
        (
            {"discovery": {"dns": {"name": "_http._tcp.pages.test.", "type": "SRV"}}},
            b"pages.test",
        ),
        (by_kubernetes(), b"stock"),
        (by_kubernetes(namespace="shop", port=8080), b"stock.shop.svc:8080"),
    ],
)
def test_the_host_of_a_request_without_one(
    app: dict[str, Any], authority: bytes
) -> None:
    assert upstream(app).authority == authority


def test_an_endpoint_must_prove_the_name_that_was_asked_for() -> None:
    """Its address is nothing that a certificate would have."""
    found = upstream({**by_dns(), "tls": {}}).tls
    assert found is not None
    assert found.server_name == "pages.test"
    other = upstream({**by_dns(), "tls": {"server_name": "other.test"}}).tls
    assert other is not None
    assert other.server_name == "other.test"


def test_what_is_discovered_is_not_taken_for_the_application_beside_us() -> None:
    """That would have shorter limits, and its word would be believed."""
    found = upstream(by_kubernetes())
    assert not found.is_peer
    assert found.pool_idle_s == upstream({"endpoints": ["10.0.0.1:80"]}).pool_idle_s


@pytest.mark.parametrize(
    ("name", "connect_s"), [("pages.default.svc", 1.0), ("pages.example.com", 5.0)]
)
def test_the_limit_to_connect_is_that_of_the_name(name: str, connect_s: float) -> None:
    (route,) = load(by_dns(name=name)).routes
    assert route.timeouts.connect_s == connect_s


def test_another_source_is_told_as_a_difference() -> None:
    written, found = load({"endpoints": ["10.0.0.1:80"]}), load(by_dns())
    told = differences(written, found)
    assert 'upstream "app": discovery: none -> dns A pages.test' in told
    told = differences(found, load(by_dns(stale="5s")))
    assert 'upstream "app": discovery: stale: 1m -> 5s' in told
