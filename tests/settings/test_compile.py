"""Defaults, and how routes, `defaults` and what is built in come together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sidecar.policy.retry import IDEMPOTENT, PRESETS, Condition
from sidecar.settings.load import from_upstream, load_text

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Route, Snapshot


def snapshot(
    defaults: dict[str, Any] | None = None,
    endpoints: tuple[str, ...] = ("127.0.0.1:8080",),
    **route: Any,
) -> Snapshot:
    data = {
        "upstreams": {"app": {"endpoints": list(endpoints)}},
        "routes": [{"name": "all", "upstream": "app", **route}],
        "defaults": defaults or {},
    }
    return load_text(yaml.safe_dump(data)).snapshot


def route_of(defaults: dict[str, Any] | None = None, **route: Any) -> Route:
    return snapshot(defaults, **route).routes[0]


def test_the_defaults_are_those_of_the_semantics() -> None:
    snap = from_upstream("127.0.0.1:8080").snapshot
    route, upstream = snap.routes[0], snap.upstreams["app"]
    times = route.timeouts
    assert (times.request_s, times.per_try_s, times.connect_s) == (15.0, None, 1.0)
    assert (times.dns_s, times.stream_idle_s, times.tunnel_idle_s) == (2.0, 300, 3600)
    assert (times.request_body_idle_s, times.downstream_write_s) == (60.0, 60.0)
    assert (snap.limits.request_headers_s, snap.limits.keep_alive_s) == (10.0, 75.0)
    assert (route.retry.preset, route.retry.max_retries) == ("safe", 2)
    assert route.retry.on == PRESETS["safe"]
    assert (route.retry.backoff.base_s, route.retry.backoff.max_s) == (0.025, 0.25)
    assert route.retry.methods == IDEMPOTENT
    assert route.retry.body_buffer_bytes == 65536
    assert route.breaker is not None
    assert (route.breaker.failure_ratio, route.breaker.min_requests) == (0.5, 20)
    assert route.breaker.probe_lease_s == 15.0
    caps = (upstream.max_connections, upstream.max_pending, upstream.max_requests)
    assert caps == (1024, 1024, 1024)
    assert (upstream.budget.ratio, upstream.budget.min_per_s) == (0.2, 1.0)


@pytest.mark.parametrize(
    ("host", "connect_s", "idle_s"),
    [
        ("127.0.0.1", 1.0, 4.0),
        ("[::1]", 1.0, 4.0),
        ("localhost", 1.0, 4.0),
        ("10.1.2.3", 1.0, 45.0),
        ("orders", 1.0, 45.0),
        ("orders.shop.svc", 1.0, 45.0),
        ("orders.shop.svc.cluster.local", 1.0, 45.0),
        ("93.184.215.14", 5.0, 45.0),
        ("api.example", 5.0, 45.0),
    ],
)
def test_patience_follows_the_distance(
    host: str, connect_s: float, idle_s: float
) -> None:
    snap = snapshot(endpoints=(f"{host}:80",))
    assert snap.routes[0].timeouts.connect_s == connect_s
    assert snap.upstreams["app"].pool_idle_s == idle_s


def test_a_route_stands_above_the_defaults_key_by_key() -> None:
    defaults = {
        "timeouts": {"request": "9s", "per_try": "3s"},
        "retry": {"max_retries": 5, "backoff": {"base": "10ms", "max": "1s"}},
        "circuit_breaker": {"open": "7s", "min_requests": 50},
    }
    route = route_of(
        defaults,
        timeouts={"request": "4s"},
        retry={"backoff": {"base": "50ms"}},
        circuit_breaker={"open": "2s"},
    )
    assert (route.timeouts.request_s, route.timeouts.per_try_s) == (4.0, 3.0)
    assert route.retry.max_retries == 5
    assert (route.retry.backoff.base_s, route.retry.backoff.max_s) == (0.05, 1.0)
    assert route.breaker is not None
    assert (route.breaker.open_s, route.breaker.min_requests) == (2.0, 50)


def test_a_route_that_names_a_preset_leaves_the_listed_conditions_behind() -> None:
    """Otherwise `safe` on a route would still repeat what `defaults` listed."""
    defaults = {"retry": {"preset": "custom", "codes": [500], "max_retries": 1}}
    assert route_of(defaults).retry.codes == {500}
    retry = route_of(defaults, retry={"preset": "safe"}).retry
    assert not retry.codes
    assert (retry.on, retry.max_retries) == (PRESETS["safe"], 1)


def test_a_list_adds_to_the_preset() -> None:
    retry = route_of(retry={"preset": "safe", "on": ["5xx"]}).retry
    assert retry.on == PRESETS["safe"] | {Condition.SERVER_ERROR}


@pytest.mark.parametrize(
    ("shared", "own", "has_breaker"),
    [
        ("off", None, False),
        ("off", {"open": "2s"}, True),
        ({"open": "2s"}, "off", False),
        ({"open": "2s"}, None, True),
    ],
)
def test_a_breaker_may_be_off_at_either_level(
    shared: Any, own: Any, *, has_breaker: bool
) -> None:
    more = {} if own is None else {"circuit_breaker": own}
    route = route_of({"circuit_breaker": shared}, **more)
    assert (route.breaker is not None) is has_breaker


@pytest.mark.parametrize("word", ["off", "0s"])
def test_off_and_zero_are_no_limit(word: str) -> None:
    """As in the Gateway API, where a timeout of 0s is none."""
    defaults = {"timeouts": {"per_try": "1s"}}
    times = route_of(defaults, timeouts={"request": word, "per_try": word}).timeouts
    assert (times.request_s, times.per_try_s) == (None, None)


def test_backend_request_is_per_try() -> None:
    times = route_of(timeouts={"backendRequest": "1s"}).timeouts
    assert times.per_try_s == 1.0


@pytest.mark.parametrize("key", ["query", "queryParams", "query_params"])
def test_query_conditions_have_three_names(key: str) -> None:
    route = route_of(matches=[{key: [{"name": "A", "value": "b"}]}])
    assert route.matches[0].query[0].name == "A"


def test_no_match_is_every_path() -> None:
    assert route_of(matches=[]).matches == route_of().matches


def test_filters_and_short_forms_are_the_same() -> None:
    fields = [{"name": "x-a", "value": "1"}, {"name": "x-a", "value": "2"}]
    path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}
    by_filters = route_of(
        filters=[
            {"type": "URLRewrite", "urlRewrite": {"hostname": "b.test", "path": path}},
            {
                "type": "RequestHeaderModifier",
                "requestHeaderModifier": {"add": fields, "remove": ["Cookie"]},
            },
            {
                "type": "ResponseHeaderModifier",
                "responseHeaderModifier": {"set": [{"name": "x-b", "value": "3"}]},
            },
        ]
    )
    by_short_forms = route_of(
        rewrite={"prefix": "/new", "host": "b.test"},
        request_headers={"add": {"x-a": ["1", "2"]}, "remove": ["cookie"]},
        response_headers={"set": {"x-b": "3"}},
    )
    assert by_filters == by_short_forms
    assert by_filters.request_edits.add == ((b"x-a", b"1"), (b"x-a", b"2"))


def test_an_empty_key_has_its_default() -> None:
    """All that stood behind it is commented out."""
    text = (
        "upstreams: {app: {endpoints: ['127.0.0.1:8080'], pool: }}\n"
        "routes: [{name: all, upstream: app, timeouts: , circuit_breaker: }]\n"
        "limits:\n"
    )
    assert load_text(text).snapshot.routes[0].breaker is not None


def test_equal_settings_have_one_version_and_others_another() -> None:
    assert snapshot().version == snapshot().version
    assert snapshot().version != snapshot(timeouts={"request": "1s"}).version


def test_upstreams_that_did_not_change_compare_equal() -> None:
    """So a reload can keep their pools."""
    before, after = snapshot(), snapshot(timeouts={"request": "1s"})
    assert before.upstreams == after.upstreams
    assert before.routes != after.routes
