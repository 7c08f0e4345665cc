"""Routes as HTTPRoutes: objects that a cluster takes, and the same routing again."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.kube.documents import dumped
from sidecar.route.table import RouteTable
from sidecar.settings.documents import joined
from sidecar.settings.export import Export, exported
from sidecar.settings.load import load_source, load_text
from sidecar.settings.source import read_documents
from tests.route.samples import request

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Route, Snapshot

SERVICE = "orders.shop"
STOCK = ["stock", "stock.shop", "stock.shop.svc", "stock.shop.svc.cluster.local"]
DEPOT = ["pay.depot", "pay.depot.svc", "pay.depot.svc.cluster.local"]
UPSTREAMS = {
    "app": {"endpoints": ["127.0.0.1:8080"]},
    "other": {"endpoints": ["127.0.0.1:9090"]},
    "stock": {"endpoints": ["stock.shop.svc:80"]},
    "depot.pay.443": {"endpoints": ["192.0.2.1:443", "192.0.2.2:443"], "tls": {}},
}
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
)
DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")
PATH = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+")


def text_of(*routes: dict[str, Any], **top: Any) -> str:
    data = {
        "service": SERVICE,
        "outbound": {"listen": "127.0.0.1:15001"},
        "upstreams": UPSTREAMS,
        "routes": list(routes),
        **top,
    }
    return json.dumps(data)  # JSON is YAML, and sooner written.


def export_from(text: str, namespace: str | None = None) -> Export:
    source = joined(read_documents(text, "x"))
    return exported(load_source(source).settings, source, namespace)


def export_of(*routes: dict[str, Any], **top: Any) -> Export:
    return export_from(text_of(*routes, **top))


def unsaid(*routes: dict[str, Any], **top: Any) -> list[str]:
    return [f"{p.path}: {p.message}" for p in export_of(*routes, **top).unsaid]


def again(found: Export, **top: Any) -> Snapshot:
    """Return what the objects come to beside what stays of the file."""
    kept = {name: UPSTREAMS[name] for name in ("depot.pay.443",)}
    rest = json.loads(text_of(**{"upstreams": kept, **top}))
    del rest["routes"]
    return load_text(
        json.dumps(rest) + "\n" + "".join(map(dumped, found.objects))
    ).snapshot


# What the specification demands of an object: kubectl would find the same.


def check_structure(one: dict[str, Any]) -> None:
    assert set(one) == {"apiVersion", "kind", "metadata", "spec"}
    assert one["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert one["kind"] == "HTTPRoute"
    assert SUBDOMAIN.fullmatch(one["metadata"]["name"])
    assert LABEL.fullmatch(one["metadata"]["namespace"])
    spec = one["spec"]
    assert 1 <= len(spec["parentRefs"]) <= 32
    for parent in spec["parentRefs"]:
        assert (parent["group"], parent["kind"]) == ("", "Service")
        assert LABEL.fullmatch(parent["name"])
    assert 1 <= len(spec["rules"]) <= 16
    assert sum(len(rule["matches"]) for rule in spec["rules"]) <= 128
    names = [rule["name"] for rule in spec["rules"] if "name" in rule]
    assert len(names) == len(set(names))
    assert all(SUBDOMAIN.fullmatch(name) for name in names)
    for rule in spec["rules"]:
        check_rule(rule)


def check_rule(rule: dict[str, Any]) -> None:
    assert set(rule) <= {
        "name", "matches", "filters", "backendRefs", "timeouts", "retry",
    }  # fmt: skip
    assert 1 <= len(rule["matches"]) <= 64
    for match in rule["matches"]:
        check_match(match)
    (backend,) = rule["backendRefs"]
    assert (backend["group"], backend["kind"]) == ("", "Service")
    assert LABEL.fullmatch(backend["name"])
    assert 1 <= backend["port"] <= 65535
    assert all(DURATION.fullmatch(text) for text in rule.get("timeouts", {}).values())
    retry = rule.get("retry", {})
    assert all(400 <= code <= 599 for code in retry.get("codes", []))
    assert DURATION.fullmatch(retry.get("backoff", "0s"))
    types = [one["type"] for one in rule.get("filters", [])]
    assert len(types) == len(set(types)) <= 16
    for one in rule.get("filters", []):
        check_filter(one, rule["matches"])


def check_match(match: dict[str, Any]) -> None:
    path = match["path"]
    assert path["type"] in {"Exact", "PathPrefix", "RegularExpression"}
    assert len(path["value"]) <= 1024
    if path["type"] != "RegularExpression":
        assert path["value"].startswith("/")
        assert PATH.fullmatch(path["value"])
        assert not re.search(r"//|/\.\.?(/|$)|%2[fF]", path["value"])
    for key in ("headers", "queryParams"):
        conditions = match.get(key, [])
        names = [one["name"] for one in conditions]
        assert len(names) == len(set(names)) <= 16
        assert all(one["value"] for one in conditions)


def check_filter(one: dict[str, Any], matches: list[Any]) -> None:
    key = one["type"][0].lower() + one["type"][1:] if one["type"][0] != "U" else ""
    assert set(one) == {"type", key or "urlRewrite"}
    for kind in ("set", "add"):
        fields = one.get(key, {}).get(kind, [])
        names = [field["name"] for field in fields]
        assert len(names) == len(set(names)) <= 16
        assert all(field["value"] for field in fields)
    path = one.get("urlRewrite", {}).get("path", {})
    if path.get("type") == "ReplacePrefixMatch":
        assert [match["path"]["type"] for match in matches] == ["PathPrefix"]


def test_the_routes_of_a_file_as_objects() -> None:
    found = export_of(
        {"name": "in", "upstream": "app", "timeouts": {"request": "2s"}},
        {
            "name": "pay",
            "listener": "outbound",
            "hosts": DEPOT,
            "upstream": "depot.pay.443",
            "retry": {"preset": "off"},
        },
    )
    assert found.unsaid == []
    inbound, outbound = found.objects
    assert inbound["metadata"] == {"name": "orders-0", "namespace": "shop"}
    assert inbound["spec"]["rules"][0] == {
        "name": "in",
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "timeouts": {"request": "2s"},
        "backendRefs": [
            {"group": "", "kind": "Service", "name": "orders", "port": 8080}
        ],
    }
    (parent,) = outbound["spec"]["parentRefs"]
    assert (parent["name"], parent["namespace"]) == ("pay", "depot")
    (rule,) = outbound["spec"]["rules"]
    assert rule["retry"] == {"attempts": 0}
    assert rule["backendRefs"][0]["namespace"] == "depot"


def test_many_routes_become_objects_that_keep_their_order() -> None:
    """An HTTPRoute has 16 rules; equals keep the order of the file."""
    equals = [{"name": f"r{number}", "upstream": "app"} for number in range(200)]
    found = export_of(*reversed(equals))
    assert len(found.objects) == 13
    assert [len(one["spec"]["rules"]) for one in found.objects] == [16] * 12 + [8]
    names = [route.name.rpartition(".")[2] for route in again(found).routes]
    assert names[: len(equals)] == [route["name"] for route in reversed(equals)]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"priority": 1}, "routes[0].priority: is not said"),
        ({"shed": False}, "routes[0].shed: is not said"),
        ({"body_max": "1MiB"}, "routes[0].body_max: is not said"),
        ({"circuit_breaker": "off"}, "routes[0].circuit_breaker: is not said"),
        ({"hosts": ["a.example"]}, "routes[0].hosts: is not said: a route of the own"),
        ({"timeouts": {"connect": "1s"}}, "routes[0].timeouts.connect: is not said"),
        ({"retry": {"preset": "idempotent"}}, "routes[0].retry.preset: is not said"),
        ({"retry": {"codes": [503]}}, "routes[0].retry.preset: is not said"),
        (
            {"retry": {"preset": "safe", "methods": ["GET"]}},
            "routes[0].retry.methods: is not said",
        ),
        (
            {"retry": {"preset": "safe", "on": ["5xx"]}},
            "routes[0].retry.on: is not said",
        ),
        (
            {"retry": {"preset": "safe", "backoff": {"base": "1ms", "max": "1s"}}},
            "routes[0].retry.backoff: is not said: its max is 10 times",
        ),
        (
            {"request_headers": {"add": {"a": ["1", "2"]}}},
            "routes[0].request_headers.add: is not said: a field has one value",
        ),
        (
            {"response_headers": {"set": {"a": ""}}},
            "routes[0].response_headers.set.a: is not said: no HTTPRoute has an empty",
        ),
        ({"rewrite": {"host": "A_b:8"}}, "routes[0].rewrite.host: is not said"),
        (
            {
                "rewrite": {"prefix": "/a"},
                "matches": [{"path": {"value": "/b"}}, {"path": {"value": "/c"}}],
            },
            "routes[0].rewrite.prefix: is not said: a rule that replaces",
        ),
        (
            {"matches": [{"path": {"value": "/a//b"}}]},
            "routes[0].matches[0].path: is not said",
        ),
        (
            {"matches": [{"method": "PURGE"}]},
            "routes[0].matches[0].method: is not said",
        ),
        (
            {"matches": [{"headers": [{"name": "a", "value": " b"}]}]},
            "routes[0].matches[0].headers[0].value: is not said",
        ),
        (
            {"matches": [{"query": [{"name": "a", "value": ""}]}]},
            "routes[0].matches[0].query[0].value: is not said",
        ),
        ({"matches": [{}] * 65}, "routes[0].matches: is not said: a rule has 64"),
        (
            {"listener": "outbound", "hosts": ["stock"], "upstream": "stock"},
            "routes[0].hosts: is not said: an HTTPRoute takes all names of a Service",
        ),
        (
            {"listener": "outbound", "hosts": ["*.example"], "upstream": "stock"},
            "routes[0].hosts: is not said: these are not all names of Services",
        ),
        (
            {"listener": "outbound", "upstream": "stock"},
            "routes[0].hosts: is not said: these are not all names of Services",
        ),
        (
            {"listener": "outbound", "hosts": ["orders"], "upstream": "stock"},
            "routes[0].hosts: is not said: routes of the own Service are inbound",
        ),
        (
            {"upstream": "far"},
            "upstreams.far.endpoints: is not said: a backend is one Service",
        ),
        ({"upstream": "pool"}, "upstreams.pool.pool: is not said"),
        ({"upstream": "taken"}, "upstreams.taken: is not said: another upstream has"),
    ],
)
def test_what_no_httproute_says_is_told_by_name(
    more: dict[str, Any], words: str
) -> None:
    upstreams = {
        **UPSTREAMS,
        "far": {"endpoints": ["api.example:443"]},
        "pool": {"endpoints": ["127.0.0.1:7"], "pool": {"max_pending": 1}},
        "taken": {"endpoints": ["127.0.0.1:5"]},
        "app-5": {"endpoints": ["127.0.0.1:6"]},
    }
    found = unsaid({"name": "all", "upstream": "app", **more}, upstreams=upstreams)
    assert [line for line in found if line.startswith(words)], found


def test_where_the_sidecar_is_must_be_said_once() -> None:
    text = text_of({"name": "all", "upstream": "app"})
    with pytest.raises(ValueError, match="says namespace 'shop', not 'depot'"):
        export_from(text, "depot")
    with pytest.raises(ValueError, match="is not the name of a Service"):
        export_from(text.replace(SERVICE, "Orders_1"))
    without = json.loads(text)
    del without["service"]
    found = export_from(json.dumps(without))
    assert "does not say before which Service" in str(found.unsaid[0])


# The same routing again, whatever the routes.

PATHS = ("/", "/a", "/a/", "/a/b", "/b", "/a.c", "/x%20y")
VALUES = st.sampled_from(("1", "2", "a b"))
FIELDS = st.sampled_from(("x-a", "X-A", "x-b"))
METHODS = ("GET", "POST")


def conditions(names: st.SearchStrategy[str]) -> st.SearchStrategy[list[Any]]:
    kinds = st.sampled_from(("Exact", "RegularExpression"))
    one = st.fixed_dictionaries({"name": names, "value": VALUES, "type": kinds})
    return st.lists(one, max_size=3)


EDITS = st.fixed_dictionaries(
    {},
    optional={
        "set": st.dictionaries(st.sampled_from(("x-s", "X-T")), VALUES, max_size=2),
        "add": st.dictionaries(st.sampled_from(("x-u", "x-v")), VALUES, max_size=2),
        "remove": st.lists(st.sampled_from(("cookie", "X-Z")), max_size=2),
    },
)
PATH_MATCHES = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(("Exact", "PathPrefix")),
            "value": st.sampled_from(PATHS),
        }
    ),
    st.just({"type": "RegularExpression", "value": "/a.*"}),
)
MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "path": PATH_MATCHES,
        "method": st.sampled_from(METHODS),
        "headers": conditions(FIELDS),
        "query": conditions(st.sampled_from(("q", "Q"))),
    },
)
LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "request": st.sampled_from(("2s", "1m1s", "0s", "off")),
        "per_try": st.sampled_from(("250ms", "1s1ms", "off")),
    },
)
RETRIES = st.fixed_dictionaries(
    {"preset": st.just("safe")},
    optional={
        "codes": st.lists(st.integers(400, 599), max_size=3),
        "max_retries": st.integers(0, 10),
        "backoff": st.just({"base": "20ms", "max": "200ms"}),
    },
)
SIDES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    (
        {"upstream": "app"},
        {"upstream": "other"},
        {"listener": "outbound", "hosts": STOCK, "upstream": "stock"},
        {"listener": "outbound", "hosts": DEPOT, "upstream": "depot.pay.443"},
        {"listener": "outbound", "hosts": STOCK + DEPOT, "upstream": "stock"},
    )
)


@st.composite
def routes(draw: st.DrawFn) -> dict[str, Any]:
    side: dict[str, Any] = draw(SIDES)
    route = {**side}
    route["matches"] = draw(st.lists(MATCHES, min_size=1, max_size=3))
    route["timeouts"] = draw(LIMITS)
    for key in ("request_headers", "response_headers"):
        route[key] = draw(EDITS)
    if draw(st.booleans()):
        route["retry"] = draw(RETRIES)
        if route["timeouts"].get("per_try", "off") != "off":
            route["retry"]["on"] = ["per-try-timeout"]
    rewrites: list[dict[str, str]] = [{}, {"path": "/new"}, {"host": "new.example"}]
    first = route["matches"][0].get("path", {"type": "PathPrefix"})
    if len(route["matches"]) == 1 and first["type"] == "PathPrefix":
        rewrites.append({"prefix": "/p", "host": "p.example"})
    route["rewrite"] = draw(st.sampled_from(rewrites))
    return route


def taken(snapshot: Snapshot, listener: str, head: Any) -> Route | None:
    there = [route for route in snapshot.routes if route.listener == listener]
    found = RouteTable(there).find(head)
    return None if found is None else found.route


def treatment(snapshot: Snapshot, route: Route | None) -> Any:
    """Return what decides of a request, apart from names."""
    if route is None:
        return None
    endpoints = snapshot.upstreams[route.upstream].endpoints
    hosts = [one.host.removesuffix(".cluster.local") for one in endpoints]
    is_off = route.retry.preset == "off" or not route.retry.max_retries
    return (
        route.name.rpartition(".")[2],
        route.timeouts,
        route.request_edits,
        route.response_edits,
        route.rewrite,
        "off" if is_off else route.retry,
        route.breaker,
        list(zip(hosts, [one.port for one in endpoints], strict=True)),
    )


@settings(deadline=None, max_examples=25)
@given(
    table=st.lists(routes(), min_size=1, max_size=6),
    targets=st.lists(
        st.tuples(
            st.sampled_from(("inbound", "outbound")),
            st.sampled_from(("stock", "PAY.depot", "pay.depot.svc:8080", "a.example")),
            st.sampled_from(METHODS),
            st.sampled_from((*PATHS, "/a/b/c", "/z?q=1", "/a?q=1&Q=2")),
            st.sampled_from(((), ("x-a: 1",), ("X-A: 2", "x-b: 1"))),
        ),
        min_size=10,
        max_size=10,
    ),
)
def test_exported_and_read_again_they_route_alike(
    table: list[dict[str, Any]], targets: list[Any]
) -> None:
    """The same winner, times, edits, retries and endpoints for every request."""
    named = [{"name": f"r{number}", **route} for number, route in enumerate(table)]
    before = load_text(text_of(*named)).snapshot
    found = export_of(*named)
    assert found.unsaid == []
    for one in found.objects:
        check_structure(one)
    after = again(found)
    for listener, host, method, target, fields in targets:
        head = request(target, *fields, host=host, method=method)
        old, new = taken(before, listener, head), taken(after, listener, head)
        assert treatment(before, old) == treatment(after, new)
