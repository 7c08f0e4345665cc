"""An HTTPRoute as routes of the settings: field by field, and what is refused."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.policy.retry import Condition
from sidecar.settings.load import load_text
from sidecar.settings.problem import Problem, SettingsError
from sidecar.settings.snapshot import FieldMatch, Match, PathMatch, Rewrite, Route
from tests.route.samples import winner
from tests.support.httproutes import documents, http_route, rule, service

EDITED = {"set": [{"name": "a", "value": "1"}], "add": [{"name": "b", "value": "2"}]}


def routes_of(*data: Any) -> tuple[Route, ...]:
    return load_text(documents(*data)).snapshot.routes


def route_of(**more: Any) -> Route:
    (route,) = routes_of(http_route(rule(**more)))
    return route


def complaint(*data: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load_text(documents(*data), "x")
    return "\n".join(f"{p.path}: {p.message} {p.hint}" for p in caught.value.problems)


def test_conditions_are_those_of_the_gateway_api() -> None:
    route = route_of(
        matches=[
            {
                "path": {"type": "Exact", "value": "/a"},
                "method": "GET",
                "headers": [{"name": "X-A", "value": "1"}],
                "queryParams": [
                    {"name": "q", "value": ".*", "type": "RegularExpression"}
                ],
            },
            {"path": {"value": "/b"}},
            {},
        ]
    )
    assert route.matches == (
        Match(
            PathMatch("Exact", "/a"),
            "GET",
            (FieldMatch("x-a", "1"),),
            (FieldMatch("q", ".*", is_regex=True),),
        ),
        Match(PathMatch("PathPrefix", "/b")),
        Match(PathMatch("PathPrefix", "/")),
    )


def test_a_rule_without_conditions_takes_everything() -> None:
    assert route_of().matches == (Match(PathMatch("PathPrefix", "/")),)


def test_hosts_are_told_apart_by_the_header_as_the_mesh_advises() -> None:
    """GEP-1294: `hostnames` have no meaning with a Service as parent."""
    condition = {"headers": [{"name": "Host", "value": "a.example"}]}
    routes = routes_of(http_route(rule(name="a", matches=[condition]), rule(name="b")))
    assert winner(list(routes), "/", host="a.example") == "shop.orders.a"
    assert winner(list(routes), "/", host="b.example") == "shop.orders.b"


def test_filters_edit_and_rewrite() -> None:
    route = route_of(
        matches=[{"path": {"value": "/a"}}],
        filters=[
            {"type": "RequestHeaderModifier", "requestHeaderModifier": EDITED},
            {
                "type": "ResponseHeaderModifier",
                "responseHeaderModifier": {"remove": ["Server"]},
            },
            {
                "type": "URLRewrite",
                "urlRewrite": {
                    "hostname": "b.example",
                    "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"},
                },
            },
        ],
    )
    assert route.request_edits.set == ((b"a", b"1"),)
    assert route.request_edits.add == ((b"b", b"2"),)
    assert route.response_edits.remove == frozenset((b"server",))
    assert route.rewrite == Rewrite(prefix=b"/b", host=b"b.example")


@pytest.mark.parametrize(
    ("given", "request_s", "per_try_s"),
    [
        ({}, 15.0, None),
        ({"request": "2s"}, 2.0, None),
        ({"request": "1m2s3ms", "backendRequest": "500ms"}, 62.003, 0.5),
        ({"request": "0s"}, None, None),
        ({"request": "0s", "backendRequest": "20s"}, None, 20.0),
        ({"request": "2s", "backendRequest": "0s"}, 2.0, None),
        ({"request": "2s", "backendRequest": "2s"}, 2.0, None),
    ],
)
def test_timeouts(
    given: dict[str, str], request_s: float | None, per_try_s: float | None
) -> None:
    """A try that may last as long as its request needs no limit of its own."""
    timeouts = route_of(timeouts=given).timeouts
    assert (timeouts.request_s, timeouts.per_try_s) == (request_s, per_try_s)


def test_retries_are_safe_ones() -> None:
    """Codes for idempotent methods; what is proven unprocessed for all."""
    given = {"codes": [500, 503], "attempts": 3, "backoff": "1s"}
    retry = route_of(retry=given).retry
    assert (retry.preset, retry.max_retries) == ("safe", 3)
    assert retry.codes == {500, 503}
    assert (retry.backoff.base_s, retry.backoff.max_s) == (1.0, 10.0)
    assert "POST" not in retry.methods
    assert Condition.PER_TRY_TIMEOUT not in retry.on
    assert Condition.CONNECT_FAILURE in retry.on


def test_a_try_that_took_too_long_is_retried_if_both_are_said() -> None:
    limits = {"request": "2s", "backendRequest": "1s"}
    assert Condition.PER_TRY_TIMEOUT in route_of(retry={}, timeouts=limits).retry.on


def test_no_attempts_are_no_retries_and_no_stanza_is_the_default() -> None:
    assert route_of(retry={"attempts": 0}).retry.preset == "off"
    defaults = {"service": "orders", "defaults": {"retry": {"max_retries": 7}}}
    (route,) = routes_of(defaults, http_route())
    assert route.retry.max_retries == 7


def test_policies_beyond_the_gateway_api_are_the_defaults_of_the_settings() -> None:
    own = {"service": "orders", "defaults": {"circuit_breaker": "off"}}
    (route,) = routes_of(own, http_route())
    assert route.breaker is None


def test_a_backend_is_the_service_by_its_dns_name() -> None:
    away = {"backendRefs": [service("stock", namespace="depot", port=80)]}
    snapshot = load_text(documents(http_route(away))).snapshot
    upstream = snapshot.upstreams["depot.stock.80"]
    assert str(upstream.endpoints[0]) == "stock.depot.svc.cluster.local:80"
    assert snapshot.routes[0].upstream == "depot.stock.80"


def test_a_backend_without_weight_gets_nothing() -> None:
    backends = [service("new", port=80, weight=0), service("old", port=80, weight=3)]
    assert route_of(backendRefs=backends).upstream == "shop.old.80"


def test_a_name_that_is_too_long_keeps_its_difference() -> None:
    names = [f"{'a' * 60}.{end}" for end in ("x", "y")]
    routes = routes_of(*(http_route(name=name) for name in names))
    assert all(len(route.name) == 63 for route in routes)
    assert routes[0].name != routes[1].name


def test_v1beta1_is_read_alike() -> None:
    old = http_route() | {"apiVersion": "gateway.networking.k8s.io/v1beta1"}
    assert routes_of(old) == routes_of(http_route())


@pytest.mark.parametrize(
    ("stamps", "first"),
    [
        (("2024-01-02T00:00:00Z", "2024-01-01T00:00:00Z"), "shop.b.0"),
        (("2024-01-01T01:00:00+02:00", "2024-01-01T00:00:00Z"), "shop.a.0"),
        ((None, "2024-01-01T00:00:00Z"), "shop.b.0"),
        (("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"), "shop.a.0"),
        ((None, None), "shop.a.0"),
    ],
)
def test_between_equals_the_oldest_wins_then_the_name(
    stamps: tuple[str | None, str | None], first: str
) -> None:
    objects = [
        http_route(name=name, creationTimestamp=stamp)
        for name, stamp in zip("ab", stamps, strict=True)
    ]
    assert winner(list(routes_of(*reversed(objects))), "/") == first


def test_the_first_of_equal_rules_wins() -> None:
    routes = routes_of(http_route(rule(name="z"), rule(name="a")))
    assert winner(list(routes), "/") == "shop.orders.z"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"sessionPersistence": {}}, "spec.rules[0].sessionPersistence: is not supp"),
        ({"backendRefs": []}, "backendRefs: has no backend with a weight"),
        (
            {"backendRefs": [service("a", port=1), service("b", port=1)]},
            "spec.rules[0].backendRefs[1]: a second backend is not supported",
        ),
        ({"backendRefs": [service("a")]}, "backendRefs[0].port: is missing"),
        (
            {"backendRefs": [{"name": "a", "kind": "ServiceImport", "port": 1}]},
            "backendRefs[0].kind: 'ServiceImport' is not supported",
        ),
        (
            {"backendRefs": [service("a", port=1, filters=[{"type": "CORS"}])]},
            "backendRefs[0].filters: is not supported",
        ),
        ({"backendRefs": [service("a", port="1")]}, "port: '1': input should be"),
        ({"retry": {"codes": [200]}}, "retry.codes[0]: 200: input should be greater"),
        ({"retry": {"attempts": 11}}, "retry.attempts: 11: input should be less"),
        ({"timeouts": {"request": "off"}}, "'off' is not a duration"),
        ({"timeouts": {"per_try": "1s"}}, "timeouts.per_try: is not a known key"),
        ({"matches": [{"query": []}]}, "matches[0].query: is not a known key"),
        ({"matches": [{"method": "get"}]}, "method: 'get': input should be 'GET'"),
        ({"name": "A_b"}, "spec.rules[0].name: 'A_b' is not the name of an object"),
        (
            {
                "filters": [
                    {
                        "type": "RequestHeaderModifier",
                        "requestHeaderModifier": {
                            "set": [
                                {"name": "a", "value": "1"},
                                {"name": "A", "value": "2"},
                            ]
                        },
                    }
                ]
            },
            "filters[0].requestHeaderModifier.set[1]: 'A' is there twice",
        ),
    ],
)
def test_what_a_rule_cannot_say_here_is_refused_by_name(
    more: dict[str, Any], words: str
) -> None:
    assert words in complaint(http_route(rule(**more)))


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("RequestRedirect", "requestRedirect"),
        ("RequestMirror", "requestMirror"),
        ("CORS", "cors"),
        ("ExternalAuth", "externalAuth"),
        ("ExtensionRef", "extensionRef"),
    ],
)
def test_a_filter_that_is_not_supported_is_refused_by_name(kind: str, key: str) -> None:
    found = complaint(http_route(rule(filters=[{"type": kind, key: {}}])))
    assert f"spec.rules[0].filters[0].type: {kind} is not supported: " in found
    assert f"spec.rules[0].filters[0].{key}: is not supported: " in found


def test_what_an_object_cannot_say_here_is_refused_by_name() -> None:
    odd = http_route(annotations={"sidecar.316/inject": "true"})
    odd["spec"] |= {"hostnames": ["a.example"], "useDefaultGateways": "All"}
    odd["extra"] = 1
    found = complaint(odd)
    assert "metadata.annotations: sidecar.316/inject is not supported" in found
    assert "spec.hostnames: is not supported" in found
    assert "match the header Host instead" in found
    assert "spec.useDefaultGateways: is not supported" in found
    assert "extra: is not a known key" in found


def test_names_are_there_once() -> None:
    assert "there is an HTTPRoute shop/orders already" in complaint(
        http_route(), http_route()
    )
    twice = http_route(rule(name="a"), rule(name="a"))
    assert "rules[1].name: 'a' is the name of rules[0], too" in complaint(twice)


def test_nothing_said_is_told() -> None:
    bare = http_route()
    bare["spec"] = {"parentRefs": [], "rules": []}
    found = complaint({"service": "orders"}, bare)
    assert "spec.parentRefs: is empty" in found
    assert "spec.rules: is empty" in found


WHOLE = http_route(
    rule(
        name="a",
        matches=[
            {
                "path": {"type": "PathPrefix", "value": "/a"},
                "method": "GET",
                "headers": [{"name": "a", "value": "b"}],
                "queryParams": [{"name": "a", "value": "b"}],
            }
        ],
        filters=[
            {"type": "RequestHeaderModifier", "requestHeaderModifier": EDITED},
            {"type": "URLRewrite", "urlRewrite": {"hostname": "a.example"}},
        ],
        timeouts={"request": "2s", "backendRequest": "1s"},
        retry={"codes": [503], "attempts": 1, "backoff": "1s"},
    ),
    creationTimestamp="2024-01-01T00:00:00Z",
    annotations={"a": "b"},
)
JUNK = st.one_of(
    st.sampled_from((None, "", "x", -1, 0, 1 << 70, 0.5, True, "0s", "Service", "/")),
    st.sampled_from(([], [None], [[]], {}, {"a": {}}, [{"name": "orders"}], {"": ""})),
)


def places_in(data: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if not isinstance(data, dict | list):
        return [at]
    pairs = data.items() if isinstance(data, dict) else enumerate(data)
    return [at, *(p for key, value in pairs for p in places_in(value, (*at, key)))]


@settings(deadline=None, max_examples=150)
@given(
    spots=st.lists(st.sampled_from(places_in(WHOLE)[1:]), min_size=1, max_size=3),
    junk=JUNK,
    is_listed=st.booleans(),
)
def test_no_junk_does_more_than_be_told(
    spots: list[tuple[Any, ...]], junk: Any, *, is_listed: bool
) -> None:
    """Each problem with a line; never another exception."""
    data: Any = copy.deepcopy(WHOLE)
    for spot in spots:
        with contextlib.suppress(KeyError, IndexError, TypeError):
            holder = data
            for key in spot[:-1]:
                holder = holder[key]
            holder[spot[-1]] = copy.deepcopy(junk)
    listed = {"apiVersion": "v1", "kind": "List", "items": [data, WHOLE]}
    text = json.dumps(listed if is_listed else data)
    told: list[Problem] = []
    try:
        load_text(text, "x")
    except SettingsError as error:
        told = error.problems
    assert all(problem.line for problem in told)


def test_values_that_may_be_secrets_are_not_told() -> None:
    """As in the settings: the value of a header is nobody's business."""
    secret = "Bearer geheim\n"
    edited = {"set": [{"name": "authorization", "value": secret}]}
    bad = rule(
        filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": edited}],
        matches=[{"headers": [{"name": "authorization", "value": [secret]}]}],
    )
    found = complaint(http_route(bad))
    assert "requestHeaderModifier.set[0].value" in found
    assert "matches[0].headers[0].value" in found
    assert "geheim" not in found
