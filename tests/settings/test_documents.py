"""Several documents in one file: settings, objects, lists; each keeps its lines."""

from __future__ import annotations

import pytest

from sidecar.settings.load import load_text
from sidecar.settings.problem import SettingsError
from tests.support.httproutes import documents, http_route, rule, service

OBJECT = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: orders, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: orders}]
  rules:
  - backendRefs: [{name: orders, port: 8080}]
"""
OWN = "service: orders\nlog: {level: debug}\n"


def complaints(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_text(text, "x.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "text",
    [
        f"{OWN}---\n{OBJECT}",
        f"---\n{OBJECT}---\n{OWN}",
        f"# nothing\n---\n---\n{OWN}---\n{OBJECT}---\n# nothing\n",
    ],
)
def test_settings_and_objects_stand_in_any_order(text: str) -> None:
    loaded = load_text(text)
    assert [route.name for route in loaded.snapshot.routes] == ["shop.orders.0"]
    assert loaded.snapshot.service == "orders"
    assert loaded.snapshot.log_level == "debug"
    assert loaded.warnings == []


def test_a_file_of_objects_alone_serves_with_every_default() -> None:
    snapshot = load_text(OBJECT).snapshot
    assert snapshot.service == "orders"
    assert [listener.name for listener in snapshot.listeners] == ["inbound"]
    (upstream,) = snapshot.upstreams.values()
    assert str(upstream.endpoints[0]) == "127.0.0.1:8080"


@pytest.mark.parametrize(
    ("version", "kind"),
    [("v1", "List"), ("gateway.networking.k8s.io/v1", "HTTPRouteList")],
)
def test_a_list_is_what_stands_in_it(version: str, kind: str) -> None:
    """As `kubectl get httproute -o yaml` prints."""
    items = [http_route(name=name) | {"status": {"parents": []}} for name in ("a", "b")]
    items[0]["metadata"] |= {"uid": "1", "resourceVersion": "7", "generation": 2}
    listed = {"apiVersion": version, "kind": kind, "metadata": {}, "items": items}
    routes = load_text(documents(listed)).snapshot.routes
    assert [route.name for route in routes] == ["shop.a.0", "shop.b.0"]


def test_a_problem_tells_line_and_key_of_its_own_document() -> None:
    bad = OBJECT.replace("port: 8080", "prt: 8080")
    listed = "apiVersion: v1\nkind: List\nitems:\n- " + bad.replace("\n", "\n  ")
    text = f"service: orders\nlgo: {{}}\n---\n{bad}---\n{listed}"
    assert complaints(text) == [
        "x.yaml:2:1: lgo: is not a known key (did you mean 'log'?)",
        "x.yaml:10:19: spec.rules[0].backendRefs[0].port: is missing",
        "x.yaml:10:34: spec.rules[0].backendRefs[0].prt: is not a known key"
        " (did you mean 'port'?)",
        "x.yaml:21:21: items[0].spec.rules[0].backendRefs[0].port: is missing",
        "x.yaml:21:36: items[0].spec.rules[0].backendRefs[0].prt: is not a known key"
        " (did you mean 'port'?)",
    ]


def test_what_only_the_whole_finds_is_told_in_the_words_of_the_object() -> None:
    """A limit that does not nest, a pattern, a field that the proxy writes."""
    bad = rule(
        matches=[
            {"queryParams": [{"name": "a", "value": "(", "type": "RegularExpression"}]}
        ],
        timeouts={"request": "1s", "backendRequest": "2s"},
        filters=[
            {
                "type": "RequestHeaderModifier",
                "requestHeaderModifier": {"remove": ["host"]},
            }
        ],
    )
    found = " ".join(complaints(documents({"service": "orders"}, http_route(bad))))
    for path in (
        "spec.rules[0].matches[0].queryParams[0].value: RE2 refuses",
        "spec.rules[0].timeouts.backendRequest: per_try (2 s) is over request",
        "spec.rules[0].filters: 'host' is written by the proxy itself",
    ):
        assert path in found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{OWN}---\n{OWN}---\n{OBJECT}", "x.yaml:4:1: a second document begins here"),
        (f"{OBJECT}---\n- 1\n", "is not a mapping of keys to values"),
        (
            "apiVersion: v1\nkind: Service\n",
            "x.yaml:2:1: kind: 'Service' is not supported"
            " (there are HTTPRoute, List, HTTPRouteList)",
        ),
        ("apiVersion: v1\nkind: List\n", "items: is missing"),
        ("apiVersion: v1\nkind: List\nitems: {}\n", "x.yaml:3:1: items: is not a list"),
        (
            f"kidn: HTTPRoute\n{OBJECT.replace('kind: HTTPRoute', '')}",
            "kind: is missin",
        ),
        (
            OBJECT.replace("k8s.io/v1\n", "k8s.io/v1alpha2\n"),
            "apiVersion: 'gateway.networking.k8s.io/v1alpha2': input should be",
        ),
        ("a: &a 1\n---\nb: *a\n", "x.yaml:3:4: there is no anchor &a"),
    ],
)
def test_what_is_no_such_file_is_told(text: str, words: str) -> None:
    assert words in "\n".join(complaints(text))


def test_aliases_of_many_documents_are_counted_together() -> None:
    """Else a small file of many documents would be a huge one."""
    bomb = "a: &a [" + "x," * 900 + "]\nb: [" + "*a," * 900 + "]\n"
    found = complaints("---\n".join([bomb] * 3))
    assert "is too large" in found[0]


def test_own_routes_and_upstreams_stay_and_come_first() -> None:
    own = {
        "service": "orders",
        "upstreams": {"app": {"endpoints": ["127.0.0.1:1"]}},
        "routes": [{"name": "own", "upstream": "app", "priority": 1}],
    }
    snapshot = load_text(documents(http_route(), own)).snapshot
    assert [route.name for route in snapshot.routes] == ["own", "shop.orders.0"]
    assert set(snapshot.upstreams) == {"app", "app-8080"}


def test_an_upstream_of_the_settings_stands_for_the_backend_of_its_name() -> None:
    """So endpoints, pool, TLS and the like of a Service are said."""
    own = {
        "service": "orders",
        "upstreams": {
            "app-8080": {"endpoints": ["127.0.0.1:9"]},
            "shop.stock.80": {"endpoints": ["127.0.0.1:7"], "pool": {"max_pending": 3}},
        },
    }
    to_stock = {"backendRefs": [service("stock", port=80)]}
    snapshot = load_text(documents(own, http_route(rule(), to_stock))).snapshot
    stock = snapshot.upstreams["shop.stock.80"]
    assert (str(stock.endpoints[0]), stock.max_pending) == ("127.0.0.1:7", 3)
    assert str(snapshot.upstreams["app-8080"].endpoints[0]) == "127.0.0.1:9"
