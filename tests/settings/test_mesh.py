"""Which routes hold at a sidecar, and on which side (GEP-1294)."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.settings.load import Loaded, load_text
from sidecar.settings.problem import SettingsError
from tests.support.httproutes import documents, http_route, rule, service

OUTBOUND = {"outbound": {"listen": "127.0.0.1:15001"}}
STOCK = (service("stock"),)


def loaded(*data: Any) -> Loaded:
    return load_text(documents(*data), "x")


def sides(*data: Any) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return those of the objects, which alone have a dot in their names."""
    routes = [r for r in loaded(*data).snapshot.routes if "." in r.name]
    return {route.name: (route.listener, route.hosts) for route in routes}


def complaint(*data: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(*data)
    return str(caught.value)


def warnings(*data: Any) -> str:
    return "\n".join(map(str, loaded(*data).warnings))


def test_routes_of_the_own_service_are_inbound_and_take_any_host() -> None:
    """Those who call it may do so by any name, or by the address of a pod."""
    own = {"service": "orders", **OUTBOUND}
    assert sides(own, http_route(), http_route(name="s", parents=STOCK)) == {
        "shop.orders.0": ("inbound", ()),
        "shop.s.0": (
            "outbound",
            ("stock", "stock.shop", "stock.shop.svc", "stock.shop.svc.cluster.local"),
        ),
    }


def test_a_service_of_another_namespace_is_not_called_by_its_short_name() -> None:
    """Nor is it the own one, though it has its name."""
    other = http_route(name="o", parents=(service("orders", namespace="depot"),))
    found = sides({"service": "orders.shop", **OUTBOUND}, http_route(), other)
    assert found["shop.orders.0"][0] == "inbound"
    assert found["shop.o.0"] == (
        "outbound",
        ("orders.depot", "orders.depot.svc", "orders.depot.svc.cluster.local"),
    )


def test_one_rule_of_two_services_holds_on_both_sides() -> None:
    both = http_route(parents=(service("orders"), service("stock")))
    found = sides({"service": "orders", **OUTBOUND}, both)
    assert {name: side[0] for name, side in found.items()} == {
        "shop.orders.0": "inbound",
        "shop.orders.0.outbound": "outbound",
    }


def test_the_own_service_called_from_here_is_not_the_application_beside() -> None:
    """Its other pods get their share."""
    to_orders = http_route(name="s", parents=STOCK)
    own = {"service": "orders", **OUTBOUND}
    upstreams = loaded(own, http_route(), to_orders).snapshot.upstreams
    assert str(upstreams["app-8080"].endpoints[0]) == "127.0.0.1:8080"
    address = str(upstreams["shop.orders.8080"].endpoints[0])
    assert address == "orders.shop.svc.cluster.local:8080"


def test_a_consumers_route_stands_instead_of_the_producers() -> None:
    own = {"service": "web.front", **OUTBOUND}
    away = (service("stock", namespace="shop"),)
    producers = http_route(name="p", parents=STOCK)
    consumers = http_route(name="c", namespace="front", parents=away)
    others = http_route(name="x", namespace="depot", parents=away)
    data = (own, producers, consumers, others)
    assert list(sides(*data)) == ["front.c.0"]
    told = warnings(*data)
    assert "is left out: it gives way to the consumer's routes to shop/stock" in told
    assert "it holds for clients in namespace depot, and this sidecar is in" in told
    assert list(sides(own, producers)) == ["shop.p.0"]


def test_a_consumers_route_to_the_own_service_is_left_to_the_clients() -> None:
    away = (service("orders", namespace="shop"),)
    consumers = http_route(name="c", namespace="front", parents=away)
    data = ({"service": "orders"}, http_route(), consumers)
    assert list(sides(*data)) == ["shop.orders.0"]
    assert "it holds where the clients are, in namespace front" in warnings(*data)


def test_a_consumers_route_says_where_this_sidecar_is() -> None:
    away = (service("stock", namespace="shop"),)
    consumers = http_route(name="c", namespace="front", parents=away)
    found = sides({"service": "web", **OUTBOUND}, consumers)
    assert "stock" not in found["front.c.0"][1]


@pytest.mark.parametrize(
    ("own", "objects", "words"),
    [
        (
            {},
            [http_route(), http_route(name="s", parents=STOCK)],
            "before which Service",
        ),
        (OUTBOUND, [http_route()], "service: does not say before which Service"),
        (
            {"service": "orders"},
            [http_route(), http_route(namespace="depot")],
            "'orders' is the name of depot/orders, shop/orders"
            " (write service: orders.depot)",
        ),
        (
            {"service": "web"},
            [
                http_route(namespace=place, parents=(service("a", namespace="shop"),))
                for place in ("x", "y")
            ],
            "there are routes of clients in x, y",
        ),
    ],
)
def test_what_is_not_said_is_asked_for(
    own: dict[str, Any], objects: list[Any], words: str
) -> None:
    assert words in complaint(own, *objects)


def test_ports_of_a_service_are_not_told_apart() -> None:
    one = http_route(name="a", parents=(service("orders", port=80),))
    other = http_route(name="b", parents=(service("orders", port=90),))
    assert "parentRefs[0].port: requests to other ports of shop/orders" in warnings(one)
    assert "spec.parentRefs[0]: routes of shop/orders name different" in complaint(
        one, other
    )
    assert "name different ports" in complaint(one, http_route(name="c"))


@pytest.mark.parametrize(
    ("parent", "words"),
    [
        ({"name": "gate"}, "parentRefs[0].kind: is missing"),
        ({"name": "gate", "kind": "Gateway"}, "kind: 'Gateway' is not supported"),
        ({"name": "orders", "kind": "Service"}, "parentRefs[0].group: is missing"),
        (service("orders", sectionName="http"), "sectionName: is not supported"),
        (service("Orders"), "name: 'Orders' is not the name of a Service"),
        (service("orders", group="apps"), "group: 'apps': input should be '' or 'core"),
    ],
)
def test_no_parent_but_a_service(parent: dict[str, Any], words: str) -> None:
    assert words in complaint({"service": "orders"}, http_route(parents=(parent,)))


def test_an_outbound_route_without_its_listener_is_told() -> None:
    told = warnings({"service": "web"}, http_route(parents=STOCK))
    assert "spec.parentRefs: is never reached: there is no outbound listener" in told


def test_a_short_name_of_two_services_is_told() -> None:
    """Unless it is known which of them is near."""
    parents = (service("stock"),)
    objects = [
        http_route(rule(), name="s", namespace=place, parents=parents)
        for place in ("x", "y")
    ]
    assert "'stock' alone is several Services" in warnings(
        {"service": "web", **OUTBOUND}, *objects
    )
    assert "alone" not in warnings({"service": "web.x", **OUTBOUND}, *objects)
