"""What a file may say only if its parts meet; and what it hardly means."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.route import paths
from sidecar.settings.load import from_upstream, load_text
from sidecar.settings.problem import SettingsError


def data_with(**route: Any) -> dict[str, Any]:
    top = route.pop("top", {})
    return {
        "upstreams": {"app": {"endpoints": ["127.0.0.1:8080"]}},
        "routes": [{"name": "all", "upstream": "app", **route}],
        **top,
    }


def problems(**route: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_text(yaml.safe_dump(data_with(**route)), "x")
    return [f"{one.path}: {one.message} {one.hint}" for one in caught.value.problems]


def warnings(**route: Any) -> list[str]:
    loaded = load_text(yaml.safe_dump(data_with(**route)), "x")
    return [f"{one.path}: {one.message} {one.hint}" for one in loaded.warnings]


def matching(path: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"matches": [{"path": path, **more}]}


def editing(**headers: Any) -> dict[str, Any]:
    return {"request_headers": headers}


def filtered(*filters: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"filters": list(filters), **more}


REWRITE = {"type": "URLRewrite", "urlRewrite": {"hostname": "a.test"}}
APP = {"endpoints": ["127.0.0.1:8080"]}


@pytest.mark.parametrize(
    ("route", "path", "words"),
    [
        ({"hosts": ["a.test:80"]}, "routes[0].hosts[0]", "without scheme, port"),
        (
            {"top": {"upstreams": {"app": {**APP, "outlier": {"max_ejection": "9s"}}}}},
            "upstreams.app.outlier.max_ejection",
            "base_ejection (30 s) is over max_ejection (9 s)",
        ),
        ({"hosts": ["x.*"]}, "routes[0].hosts[0]", "is not a host"),
        ({"timeouts": {"connect": "0s"}}, "routes[0].timeouts.connect", "over 0s"),
        (
            {"timeouts": {"backendRequest": "1d"}},
            "routes[0].timeouts.backendRequest",
            "is not a duration",
        ),
        (
            {"timeouts": {"backendRequst": "1s"}},
            "routes[0].timeouts.backendRequst",
            "did you mean 'backendRequest'?",
        ),
        (
            {"circuit_breaker": {"window": "0s"}},
            "routes[0].circuit_breaker.window",
            "over 0s",
        ),
        (
            {"circuit_breaker": {"open": "5m"}},
            "routes[0].circuit_breaker.open",
            "open (300 s) is over open_max (60 s)",
        ),
        ({"circuit_breaker": "of"}, "routes[0].circuit_breaker", "mean 'off'?"),
        (
            {"retry": {"backoff": {"base": "1s"}}},
            "routes[0].retry.backoff.base",
            "base (1 s) is over max (0.25 s)",
        ),
        ({"retry": {"preset": "save"}}, "routes[0].retry.preset", "mean 'safe'?"),
        ({"retry": {"on": ["rest"]}}, "routes[0].retry.on[0]", "mean 'reset'?"),
        (
            {"retry": {"fault_codes": ["ORDER"]}},
            "routes[0].retry.fault_codes[0]",
            "is not a code such as",
        ),
        ({"retry": {"methods": ["post"]}}, "routes[0].retry.methods[0]", "upper case"),
        (
            matching({"value": "/a?b=c"}),
            "routes[0].matches[0].path.value",
            "matches[].query",
        ),
        (
            matching({"value": "/ä b"}),
            "routes[0].matches[0].path.value",
            "write '/%C3%A4%20b'",
        ),
        (
            matching({"type": "RegularExpression", "value": "/a(?=b)"}),
            "routes[0].matches[0].path.value",
            "no look-around",
        ),
        (
            matching({}, headers=[{"name": "a", "value": "ä"}]),
            "routes[0].matches[0].headers[0].value",
            "is not ASCII",
        ),
        (
            matching(
                {}, query=[{"name": "a", "value": "(", "type": "RegularExpression"}]
            ),
            "routes[0].matches[0].query[0].value",
            "RE2 refuses the pattern",
        ),
        (
            {"rewrite": {"prefix": "/a\r\nx: y"}},
            "routes[0].rewrite.prefix",
            "is not a path",
        ),
        (
            {"rewrite": {"host": "a b"}},
            "routes[0].rewrite.host",
            "is not a host",
        ),
        (
            {"rewrite": {"prefix": "/a", "path": "/b"}},
            "routes[0].rewrite",
            "keep one of them",
        ),
        (
            {"rewrite": {"prefix": "/a"}, **matching({"type": "Exact", "value": "/b"})},
            "routes[0].rewrite",
            "not every match has one",
        ),
        (
            editing(set={"Host": "a"}),
            "routes[0].request_headers.set",
            "use rewrite.host",
        ),
        (
            editing(remove=["content-length"]),
            "routes[0].request_headers.remove",
            "by the proxy itself",
        ),
        (
            editing(add={"x-316-code": "a"}),
            "routes[0].request_headers.add",
            "by the proxy itself",
        ),
        (
            editing(set={"x-a": "b\r\nc: d"}),
            "routes[0].request_headers.set.x-a",
            "is not a field value",
        ),
        (
            editing(set={"x-a": 1}),
            "routes[0].request_headers.set.x-a",
            "in quotes it is one",
        ),
        (
            editing(set={"x a": "b"}),
            "routes[0].request_headers.set.x a",
            "is not the name of a header field",
        ),
        (
            filtered({"type": "RequestMirror"}),
            "routes[0].filters[0].type",
            "input should be 'URLRewrite'",
        ),
        (
            filtered({"type": "URLRewrite"}),
            "routes[0].filters[0]",
            "needs the key urlRewrite",
        ),
        (
            filtered({**REWRITE, "requestHeaderModifier": {}}),
            "routes[0].filters[0]",
            "requestHeaderModifier does not belong to URLRewrite",
        ),
        (filtered(REWRITE, REWRITE), "routes[0].filters[1]", "is there twice"),
        (
            filtered(REWRITE, rewrite={"host": "b.test"}),
            "routes[0].filters[0]",
            "says what rewrite says, too",
        ),
        (
            filtered(
                {
                    "type": "URLRewrite",
                    "urlRewrite": {
                        "path": {"type": "ReplaceFullPath", "replacePrefixMatch": "/"}
                    },
                }
            ),
            "routes[0].filters[0]",
            "ReplaceFullPath needs the key replaceFullPath",
        ),
        (
            {"top": {"upstreams": {"app": {"endpoints": []}}}},
            "upstreams.app.endpoints",
            "is empty",
        ),
        (
            {"top": {"upstreams": {"app": {"endpoints": ["app:0"]}}}},
            "upstreams.app.endpoints[0]",
            "has port 0",
        ),
        (
            {"top": {"upstreams": {"app": {**APP, "tls": {"key_file": "k"}}}}},
            "upstreams.app.tls",
            "go together",
        ),
        (
            {"top": {"admin": {"listen": "0.0.0.0:15000"}}},
            "admin.listen",
            "use 127.0.0.1:15000, or set admin.token_file",
        ),
        (
            {"top": {"admin": {"listen": "127.0.0.1:15020"}}},
            "admin.listen",
            "0.0.0.0:15020 is taken by admin",
        ),
        (
            {"top": {"defaults": {"timeouts": {"request": "1s", "per_try": "2s"}}}},
            "defaults.timeouts.per_try",
            "is over request (1 s) for route 'all'",
        ),
        (
            {"timeouts": {"request": "1s", "per_try": "1s"}},
            "routes[0].timeouts.per_try",
            "per_try (1 s) is not under request (1 s)",
        ),
        (
            {"circuit_breaker": {"failure_ratio": 0}},
            "routes[0].circuit_breaker.failure_ratio",
            "must be over 0%",
        ),
        ({"retry": "off"}, "routes[0].retry", "write {preset: off}"),
        ({"timeouts": "3s"}, "routes[0].timeouts", "its keys: request, per_try"),
        ({"hosts": "a.test"}, "routes[0].hosts", 'is not a list write ["a.test"]'),
        (
            {"top": {"upstreams": {"app": {"endpoints": ["http://a.test:80"]}}}},
            "upstreams.app.endpoints[0]",
            "leave out the scheme",
        ),
        (
            {"top": {"upstreams": {"app": {"endpoints": ["a.test"]}}}},
            "upstreams.app.endpoints[0]",
            "its port is missing",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_its_place(
    route: dict[str, Any], path: str, words: str
) -> None:
    found = problems(**route)
    assert len(found) == 1
    assert found[0].startswith(f"{path}: ")
    assert words in found[0]


@pytest.mark.parametrize(
    ("route", "path", "words"),
    [
        (
            {"retry": {"preset": "idempotent"}},
            "routes[0]",
            "retries after a per-try timeout, but has none set timeouts.per_try",
        ),
        ({"retry": {"preset": "custom"}}, "routes[0].retry", "it never retries"),
        (
            {
                "top": {
                    "health": {"await_application": True},
                    "upstreams": {"app": {"original_destination": True}},
                }
            },
            "health.await_application",
            "nothing to wait for",
        ),
        (
            {"top": {"upstreams": {"app": APP, "b": APP}}},
            "upstreams.b",
            "no route leads here",
        ),
        (
            {"top": {"outbound": {"listen": "127.0.0.1:15001", "unmatched": "refuse"}}},
            "outbound",
            "all of it gets 404",
        ),
        (
            {"listener": "outbound"},
            "routes[0].listener",
            "there is no outbound listener",
        ),
        (
            {"top": {"upstreams": {"app": {"endpoints": ["127.0.0.1:15006"]}}}},
            "upstreams.app.endpoints[0]",
            "a loop",
        ),
        (
            {
                "top": {
                    "upstreams": {
                        "app": {
                            "endpoints": ["a.test:80", "b.test:80"],
                            "outlier": {"max_ejected": "80%"},
                        }
                    }
                }
            },
            "upstreams.app.outlier.max_ejected",
            "then the ejected are asked all the same",
        ),
        (
            {"top": {"upstreams": {"app": {"endpoints": ["a.test:80"] * 2}}}},
            "upstreams.app.endpoints[1]",
            "a.test:80 is there twice",
        ),
        (
            {"top": {"drain": {"lead": "27s"}}},
            "drain",
            "leaves requests no time to end",
        ),
        (
            {"retry": {"preset": "off", "codes": [503]}},
            "routes[0].retry",
            "never retries",
        ),
        (
            {"timeouts": {"request": "1s"}, "circuit_breaker": {"slow_call": "2s"}},
            "routes[0].circuit_breaker",
            "slow_call is not under timeouts.request",
        ),
    ],
)
def test_what_is_hardly_meant_is_a_warning(
    route: dict[str, Any], path: str, words: str
) -> None:
    found = warnings(**route)
    assert len(found) == 1
    assert found[0].startswith(f"{path}: ")
    assert words in found[0]


def test_a_retry_that_is_off_does_not_ask_for_a_per_try_timeout() -> None:
    defaults = {"retry": {"preset": "idempotent"}}
    assert warnings(retry={"preset": "off"}, top={"defaults": defaults}) == []


def test_port_0_may_be_asked_for_twice() -> None:
    """The kernel gives each its own."""
    top = {"admin": {"listen": "127.0.0.1:0"}, "health": {"listen": "127.0.0.1:0"}}
    assert warnings(top=top) == []


def test_every_mistake_is_told_in_the_order_of_the_file() -> None:
    text = (
        "service: 1\nservice: 2\nupstreams: {app: {endpoints: [x]}}\n"
        "routes: [{name: a, upstream: app, hots: []}]\nlog: {levl: info}\n"
    )
    with pytest.raises(SettingsError) as caught:
        load_text(text, "x")
    assert [one.line for one in caught.value.problems] == [1, 2, 3, 4, 5]


def test_one_mistake_does_not_hide_another_of_a_different_kind() -> None:
    """What no single model can see is told of the parts that do fit."""
    text = (
        "servce: a\n"
        "upstreams: {app: {endpoints: [x]}}\n"
        "routes:\n"
        "- {name: a, upstream: app, hots: []}\n"
        "- {name: b, upstream: ap}\n"
        "- {name: b, upstream: app, matches: [{path: {value: b}}]}\n"
        "- {name: c, upstream: app, rety: {}, timeouts: {request: 1s, per_try: 2s}}\n"
    )
    with pytest.raises(SettingsError) as caught:
        load_text(text, "x")
    assert [(one.line, one.path) for one in caught.value.problems] == [
        (1, "servce"),
        (2, "upstreams.app.endpoints[0]"),
        (4, "routes[0].hots"),
        (5, "routes[1].upstream"),
        (6, "routes[2].name"),
        (6, "routes[2].matches[0].path.value"),
        (7, "routes[3].rety"),
        (7, "routes[3].timeouts.per_try"),
    ]


def test_patterns_that_are_too_many_together_are_told_at_their_route(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is good alone; what they need together is over what a set may take."""
    monkeypatch.setattr(paths, "_SET_BYTES", 4096)
    monkeypatch.setattr(paths, "_SET_MAX_BYTES", 4096)
    pattern = {"type": "RegularExpression", "value": "/[a-z]{50}/[0-9]{50}"}
    assert problems(**matching(pattern)) == [
        "routes[0]: 1 path patterns need more than 0 MiB, together with those of other"
        " routes use prefixes, or fewer patterns"
    ]


def test_without_a_file_the_command_line_is_to_blame() -> None:
    with pytest.raises(SettingsError) as caught:
        from_upstream("8080")
    assert str(caught.value).startswith("command line: upstreams.app.endpoints[0]:")


_WORDS = st.sampled_from(
    [
        "name",
        "upstream",
        "app",
        "retry",
        "off",
        "timeouts",
        "routes",
        "endpoints",
        "",
        "*",
    ]
)
_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _WORDS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3)
    ),
    max_leaves=8,
)
_TOP = st.sampled_from(
    ["service", "inbound", "limits", "defaults", "upstreams", "routes", "telemetry"]
)


@given(st.dictionaries(_TOP, _JUNK, max_size=4))
def test_any_data_is_a_snapshot_or_a_settings_error(top: dict[str, Any]) -> None:
    with contextlib.suppress(SettingsError):
        from_upstream("127.0.0.1:8080", **top)
