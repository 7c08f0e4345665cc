"""HTTPRoutes of few words."""

from __future__ import annotations

from typing import Any

import yaml


def service(name: str, **more: Any) -> dict[str, Any]:
    """Return a reference to a Service."""
    return {"group": "", "kind": "Service", "name": name, **more}


def rule(**more: Any) -> dict[str, Any]:
    """Return a rule that leads to orders:8080."""
    return {"backendRefs": [service("orders", port=8080)], **more}


def http_route(
    *rules: dict[str, Any],
    name: str = "orders",
    namespace: str = "shop",
    parents: tuple[dict[str, Any], ...] = (service("orders"),),
    **metadata: Any,
) -> dict[str, Any]:
    """Return an object whose parent is orders."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {"parentRefs": list(parents), "rules": list(rules or (rule(),))},
    }


def documents(*data: Any) -> str:
    """Return a file of documents."""
    return yaml.safe_dump_all(data, explicit_start=True, sort_keys=False)
