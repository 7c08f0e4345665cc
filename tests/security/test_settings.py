"""A configuration file can neither inject nor give away, nor be a bomb."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import typer
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sidecar.admin.masking import MASK, masked
from sidecar.cli import check, explain
from sidecar.settings.load import load_text
from sidecar.settings.problem import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typer.testing import Result

CANARY = "canary-7f3a"


def data_with(**route: Any) -> dict[str, Any]:
    top = route.pop("top", {})
    return {
        "upstreams": {"app": {"endpoints": ["127.0.0.1:8080"]}},
        "routes": [{"name": "all", "upstream": "app", **route}],
        **top,
    }


def run(command: Callable[..., None], *arguments: str) -> Result:
    """Call a command of the command line."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command)
    return CliRunner().invoke(app, arguments)


def problems(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_text(text, "x.yaml")
    return [str(problem) for problem in caught.value.problems]


def value_places(text: str) -> list[dict[str, Any]]:
    """Return a route for each place that goes into a head, with `text` there."""
    both = ("request", "response")
    return [
        *({f"{way}_headers": {kind: {"x-a": text}}}
          for way in both for kind in ("set", "add")),
        *({f"{way}_headers": {kind: {text: "1"}}}
          for way in both for kind in ("set", "add")),
        {"request_headers": {"set": {"x-a": ["1", text]}}},
        {"request_headers": {"remove": [text]}},
        {"rewrite": {"path": "/" + text}},
        {"rewrite": {"prefix": "/" + text}},
        {"rewrite": {"host": text}},
        {"name": text},
        {"top": {"service": text}},
        {"filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {
            "set": [{"name": "x", "value": text}]}}]},
        {"filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": text}}]},
        {"filters": [{"type": "URLRewrite", "urlRewrite": {"path": {
            "type": "ReplaceFullPath", "replaceFullPath": "/" + text}}}]},
        {"top": {"upstreams": {text: {"endpoints": ["127.0.0.1:1"]}}},
         "upstream": text},
    ]  # fmt: skip


@pytest.mark.parametrize("evil", ["a\r\nInjected: 1", "a\nb", "a\rb", "a\0b", "a\x7fb"])
@pytest.mark.parametrize("place", range(len(value_places(""))))
def test_no_value_that_goes_into_a_head_can_hold_a_line_break(
    place: int, evil: str
) -> None:
    text = json.dumps(data_with(**value_places(evil)[place]), indent=1)
    found = problems(text)  # JSON is YAML, and its escapes are read.
    assert all(one.startswith("x.yaml:") for one in found)
    line, column = found[0].split(":")[1:3]
    assert int(line) > 1
    assert int(column) > 0
    assert all(len(one.splitlines()) == 1 for one in found)


@settings(deadline=None)
@given(st.text(min_size=1, max_size=30), st.integers(0, len(value_places("")) - 1))
def test_what_is_let_in_is_visible_ascii(text: str, place: int) -> None:
    try:
        loaded = load_text(json.dumps(data_with(**value_places(text)[place])), "x")
    except SettingsError:
        return
    assert text.isascii()
    assert text.replace("\t", " ").isprintable()
    assert loaded.snapshot.routes


SECRETS = [
    {"request_headers": {"set": {"Authorization": f"Bearer {CANARY}\xe9"}}},
    {"request_headers": {"set": {"x-plain": f"{CANARY}\xe9"}}},
    {"request_headers": {"add": {"x-plain": [f"{CANARY}\n"]}}},
    {"request_headers": f"Authorization: {CANARY}"},
    {"request_headers": {"set": {"x-plain": {"value": CANARY}}}},
    {"request_headers": {"remove": CANARY}},
    {"response_headers": {"set": {"Set-Cookie": f"a={CANARY}\xe9"}}},
    {"matches": [{"headers": [{"name": "x-api-key", "value": f"{CANARY}\xe9"}]}]},
    {"matches": [{"headers": [{"name": "x-key", "value": f"({CANARY}",
                               "type": "RegularExpression"}]}]},
    {"matches": [{"query": [{"name": "key", "value": f"({CANARY}",
                             "type": "RegularExpression"}]}]},
    {"matches": [{"headers": f"x: {CANARY}"}]},
    {"filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {
        "set": [{"name": "Authorization", "value": f"{CANARY}\xe9"}]}}]},
    {"top": {"upstreams": {"app": {"endpoints": [f"http://u:{CANARY}@a:80"]}}}},
    {"top": {"upstreams": {"app": {"endpoints": [f"http://a:80/?key={CANARY}"]}}}},
    {"top": {"admin": {"token_file": {"token": CANARY}}}},
    {"top": {"admin": {"token": CANARY}}},
    {"top": {"admin": {"token_file": f"{CANARY}\n"}}},
]  # fmt: skip


@pytest.mark.parametrize("route", SECRETS, ids=range(len(SECRETS)))
def test_check_does_not_quote_what_may_be_a_secret(
    route: dict[str, Any], tmp_path: Path
) -> None:
    """Its output ends in the logs of a pipeline."""
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump(data_with(**route)), encoding="utf-8")
    done = run(check.command, str(file))
    assert done.exit_code == 1, done.output
    assert f"{file}:" in done.output
    assert CANARY not in done.output


@pytest.mark.parametrize(
    "text",
    [f"request_headers: {{set: {{a: !!int {CANARY}}}}}", f"token: !!float '{CANARY}'",
     f"token: '{CANARY}", f"token: [{CANARY}", f"a: {CANARY}\n b: *{CANARY[:0]}x"],
)  # fmt: skip
def test_what_is_not_yaml_is_told_without_a_piece_of_it(text: str) -> None:
    assert problems(text)
    assert all(CANARY not in one for one in problems(text))


def test_what_is_no_secret_is_quoted_still() -> None:
    found = problems(json.dumps(data_with(timeouts={"request": "5 parsecs"})))
    assert "'5 parsecs' is not a duration" in found[0]


def test_explain_tells_no_value_that_a_route_writes_or_asks_for(
    tmp_path: Path,
) -> None:
    secret = {"headers": [{"name": "x-api-key", "value": CANARY}]}
    edits = {"set": {"Authorization": CANARY, "x-plain": CANARY}, "add": {"x": CANARY}}
    data = data_with(request_headers=edits, response_headers=edits)
    data["routes"].append({"name": "gate", "upstream": "app", "matches": [secret]})
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    for more in ((), ("--json",), ("-H", "x-api-key: no"), ("--json", "-H", "x: y")):
        done = run(explain.command, "-c", str(file), "GET", "/", *more)
        assert done.exit_code == 0, done.output
        assert MASK in done.output
        assert CANARY not in done.output


PLAIN = st.recursive(
    st.none() | st.booleans() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(deadline=None)
@given(st.sampled_from(["set", "add"]), PLAIN)
def test_of_edits_config_shows_names_alone(kind: str, value: object) -> None:
    found = masked({"request_headers": {kind: {"x-plain": value}}})
    assert texts_of(found["request_headers"][kind]["x-plain"]) <= {MASK}


def texts_of(value: object) -> set[str]:
    if isinstance(value, str):
        return {value}
    if isinstance(value, list):
        return {text for inner in value for text in texts_of(inner)}
    if isinstance(value, dict):
        return {text for inner in value.values() for text in texts_of(inner)}
    return set()


def test_config_masks_edits_as_the_gateway_api_writes_them() -> None:
    edits = [{"name": "x-plain", "value": CANARY}, {"name": "x-b", "value": CANARY}]
    shown = masked({"filters": [{"request_header_modifier": {"set": edits}}]})
    assert CANARY not in json.dumps(shown)
    assert "x-plain" in json.dumps(shown)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"http://u:{CANARY}@c:4317/v1", f"http://{MASK}@c:4317/v1"),
        (f"http://c/v1?key={CANARY}&a=b", f"http://c/v1?{MASK}"),
        (f"http://{CANARY}@c/?{CANARY}", f"http://{MASK}@c/?{MASK}"),
        ("http://c:4317", "http://c:4317"),
    ],
)
def test_user_password_and_query_of_a_url_are_masked(url: str, shown: str) -> None:
    assert masked({"endpoint": url}) == {"endpoint": shown}


BOMBS = [
    "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n"
              for n in range(9)),
    "a: " + "[" * 100_000,
    "a: &a {b: *a}",
    "{" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS, ids=["laughs", "deep", "ring", "maps"])
def test_a_yaml_bomb_is_refused(bomb: str) -> None:
    assert problems(bomb)
