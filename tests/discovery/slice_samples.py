"""EndpointSlices as the API writes them."""

from __future__ import annotations

from typing import Any

HTTP = {"name": "http", "port": 8080, "protocol": "TCP"}
ADMIN = {"name": "admin", "port": 9090, "protocol": "TCP"}


def endpoint(address: str, *zones: str, **conditions: bool | None) -> dict[str, Any]:
    """Return an endpoint; conditions as given, ready unless they say otherwise."""
    found: dict[str, Any] = {
        "addresses": [address],
        "conditions": {"ready": True, "serving": True, "terminating": False}
        | conditions,
    }
    if zones:
        found["hints"] = {"forZones": [{"name": zone} for zone in zones]}
    return found


def endpoint_slice(
    name: str,
    *endpoints: dict[str, Any],
    ports: tuple[dict[str, Any], ...] = (HTTP,),
    family: str = "IPv4",
) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "stock"},
        },
        "addressType": family,
        "ports": list(ports),
        "endpoints": list(endpoints),
    }
