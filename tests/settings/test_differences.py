"""What a reload would change, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sidecar.settings.differences import differences, needs_restart, put_in_force
from sidecar.settings.load import load_text

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Snapshot

BASE: dict[str, Any] = {
    "upstreams": {"app": {"endpoints": ["127.0.0.1:8080"]}},
    "routes": [{"name": "orders", "upstream": "app"}],
}


EXACT = {"type": "Exact", "value": "/a"}


def load(**top: Any) -> Snapshot:
    return load_text(yaml.safe_dump(BASE | top)).snapshot


def told(**top: Any) -> list[str]:
    return differences(load(), load(**top))


def route(**keys: Any) -> dict[str, Any]:
    return {"routes": [{"name": "orders", "upstream": "app", **keys}]}


def test_the_same_is_no_difference_however_it_is_written() -> None:
    before = load_text(yaml.safe_dump(BASE)).snapshot
    after = load_text("# A comment.\n" + yaml.safe_dump(BASE, sort_keys=True)).snapshot
    assert differences(before, after) == []
    assert told(**route(timeouts={"request": "15s"})) == []  # It is the default.


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (route(timeouts={"request": "2s"}), "timeouts: request: 15s -> 2s"),
        (route(timeouts={"per_try": "500ms"}), "timeouts: per try: none -> 500ms"),
        (route(retry={"max_retries": 1}), "retry: max retries: 2 -> 1"),
        (route(body_max="1MiB"), "body max: none -> 1MiB"),
        (route(shed=False), "shed: yes -> no"),
        (route(priority=3), "priority: 0 -> 3"),
        (
            route(
                matches=[{"path": {"type": "Exact", "value": "/a"}, "method": "PUT"}]
            ),
            "matches: PathPrefix / -> Exact /a PUT",
        ),
        (
            route(circuit_breaker={"failure_ratio": "20%"}),
            "breaker: failure: 0.5 -> 0.2",
        ),
    ],
)
def test_a_change_of_a_route_is_told_with_its_units(
    change: dict[str, Any], sentence: str
) -> None:
    assert told(**change) == [f'route "orders": {sentence}']


def test_a_default_that_changes_shows_at_each_route_that_it_holds_for() -> None:
    routes = [
        {"name": "own", "upstream": "app", "timeouts": {"request": "1s"}},
        {"name": "other", "upstream": "app"},
    ]
    before = load(routes=routes)
    after = load(routes=routes, defaults={"timeouts": {"request": "9s"}})
    assert differences(before, after) == [
        'route "other": timeouts: request: 15s -> 9s',
    ]


def test_routes_that_come_go_and_change_places() -> None:
    a, b, c = ({"name": n, "upstream": "app"} for n in "abc")
    for route_, path in ((a, "/a"), (b, "/b"), (c, "/c")):
        route_["matches"] = [{"path": {"value": path}}]  # type: ignore[assignment]
    assert differences(load(routes=[a, b]), load(routes=[b, c])) == [
        'route "a": is gone; others decide of what it matched, or it gets 404',
        'route "c": is new, to upstream "app"',
    ]
    assert differences(load(routes=[a, b]), load(routes=[b, a])) == [
        "routes: their order has changed, which decides between equals"
    ]


def test_an_upstream_that_changes_begins_anew() -> None:
    upstreams = {"app": {"endpoints": ["127.0.0.1:8081", "[::1]:8080"]}}
    assert told(upstreams=upstreams) == [
        'upstream "app": endpoints: 127.0.0.1:8080 -> 127.0.0.1:8081, [::1]:8080',
        'upstream "app": its connections, its retry budget and the breakers of its'
        " routes begin anew",
    ]
    more = BASE["upstreams"] | {"new": {"endpoints": ["10.0.0.1:80"]}}
    assert told(upstreams=more) == ['upstream "new": is new: 10.0.0.1:80']


def test_values_of_fields_may_be_secrets() -> None:
    old = load(**route(request_headers={"set": {"Authorization": "s3cret-1"}}))
    new = load(**route(request_headers={"set": {"Authorization": "s3cret-2"}}))
    (sentence,) = differences(old, new)
    assert "Authorization" in sentence
    assert "s3cret" not in sentence
    secret = [{"name": "x-key", "value": "s3cret"}]
    assert "s3cret" not in str(told(**route(matches=[{"headers": secret}])))


def test_an_address_tells_no_password() -> None:
    tracing = {"endpoint": "http://user:s3cret@collector:4317"}
    (sentence,) = told(telemetry={"tracing": tracing})
    assert "collector:4317" in sentence
    assert "s3cret" not in sentence


def test_what_needs_a_restart_is_told_and_left_as_it_is() -> None:
    old = load()
    new = load(
        admin={"listen": "127.0.0.1:1"},
        limits={"connections": 7},
        telemetry={"tracing": {"sample_ratio": 0.5}},
    )
    assert needs_restart(old, new) == ["admin.listen"]
    assert any(text.endswith("(needs a restart)") for text in differences(old, new))
    kept = put_in_force(old, new)
    assert kept.admin == old.admin
    assert kept.limits.connections == 7
    assert kept.tracing.sample_ratio == 0.5
    assert needs_restart(old, kept) == []


def test_a_change_of_outlier_detection_is_told_with_its_units() -> None:
    found = told(
        upstreams={
            "app": {
                "endpoints": ["127.0.0.1:8080"],
                "outlier": {"base_ejection": "1m", "on_all_down": "fail"},
            }
        }
    )
    assert 'upstream "app": outlier: base ejection: 30s -> 1m' in found
    assert 'upstream "app": outlier: panicking: yes -> no' in found
