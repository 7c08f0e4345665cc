"""The files that we ship, the schema that editors read, and the two commands."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]  # It ships no types.
import pytest

from sidecar.cli import check, schema
from sidecar.settings.load import from_upstream, load_file, load_text
from sidecar.settings.models import FileSettings
from sidecar.settings.schema import model_in
from sidecar.settings.schema import schema as schema_data
from sidecar.settings.source import read_file, read_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

CONFIG = Path(__file__).parents[2] / "config"
WHOLE = CONFIG / "sidecar.yaml"
# Alertmanager's has another schema, see tests/observe; that with objects of Kubernetes
# has no one schema: the page on them has its test.
_OTHERS = ("alertmanager.yaml", "httproute.yaml")
SHIPPED = sorted(path for path in CONFIG.rglob("*.yaml") if path.name not in _OTHERS)


def uncommented() -> str:
    """Return config/sidecar.yaml with its commented keys as live ones.

    A list or mapping that is written out empty gives way to its example.
    """
    text = WHOLE.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^( *)# ( *)((?:- )?[a-z_{]+[a-z_]*: .*)$", r"\1\2\3", text)
    text = re.sub(r"(?m)^( *)# (- \{type: .*)$", r"\1\2", text)
    text = re.sub(r"(?m)^( +)rewrite: \{\}.*$", r"\1rewrite:", text)
    text = re.sub(r"(?m)^( +)#  ((?:prefix|path|host): .*)$", r"\1  \2", text)
    return re.sub(r"(?m)^( +)filters: \[\].*$", r"\1filters:", text)


def keys_of(
    model: type[BaseModel], at: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Yield the path of each key that a file may have, second names left out."""
    for name, field in model.model_fields.items():
        here = (*at, name)
        inner = model_in(field.annotation)
        if inner is None or name == "filters" or at in CONDITIONS:
            yield here
        elif here not in POLICIES_OF_A_ROUTE:
            yield from keys_of(inner, here)


def written(data: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of each key in a file, without the indexes of lists."""
    for item in data if isinstance(data, list) else [data]:
        if isinstance(item, dict):
            for key, value in item.items():
                yield (*at, key)
                yield from written(value, (*at, key))


# Shown as lists, with what stands in them beside; and in full below `defaults`.
CONDITIONS = {("routes", "matches")}
POLICIES_OF_A_ROUTE = {
    ("routes", "timeouts"),
    ("routes", "retry"),
    ("routes", "circuit_breaker"),
    ("routes", "slo"),
}


def test_the_whole_file_shows_every_key() -> None:
    data = read_text(uncommented(), "x").data
    data["upstreams"] = list(data["upstreams"].values())
    shown = set(written(data))
    assert [key for key in keys_of(FileSettings) if key not in shown] == []
    assert shown >= POLICIES_OF_A_ROUTE


def test_what_the_whole_file_has_in_comments_is_good_too() -> None:
    """But for filters, which stand for the short forms that are shown as well.

    And but for the second and third of which only one may be there.
    """
    left_out = r"(?m)^ +(filters:|- \{type: |path: /new|tcp: |command: \[).*\n"
    text = re.sub(left_out, "", uncommented())
    assert load_text(text).snapshot.routes[0].rewrite.prefix == b"/new"


def test_the_values_of_the_whole_file_are_the_defaults() -> None:
    whole = load_file(str(WHOLE)).snapshot
    bare = from_upstream("127.0.0.1:8080").snapshot
    same = {"version", "source", "routes"}
    for field in fields(bare):
        if field.name not in same:
            assert getattr(whole, field.name) == getattr(bare, field.name), field.name
    assert [replace(route, line=0) for route in whole.routes] == list(bare.routes)


def test_every_unit_in_the_whole_file_is_that_of_the_schema() -> None:
    """What is said to be the default is written as the schema writes it."""
    data, described = read_file(str(WHOLE)).data, schema_data()
    limits = described["$defs"]["LimitSettings"]["properties"]
    for key in ("request_line", "headers", "buffer"):
        assert data["limits"][key] == limits[key]["default"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_file_agrees_with_the_schema_that_it_names(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    found = json.loads((path.parent / named).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(found).validate(read_file(str(path)).data)


def test_the_schema_is_one_and_knows_second_names() -> None:
    described = schema_data()
    jsonschema.Draft202012Validator.check_schema(described)
    data = read_file(str(CONFIG / "examples" / "minimal.yaml")).data
    data["routes"][0]["timeouts"] = {"backendRequest": "1s"}
    data["routes"][0]["matches"] = [{"queryParams": [{"name": "a", "value": "b"}]}]
    jsonschema.validate(data, described)


@pytest.mark.parametrize(
    "wrong",
    [
        {"servce": "a"},
        {"drain": {"lead": "5"}},
        {"limits": {"headers": "64KB"}},
        {"log": {"level": "loud"}},
        {"telemetry": {"tracing": {"sample_ratio": 2}}},
        {"inbound": {"listen": "15006"}},
        {"upstreams": {"app": {"endpoints": []}}},
    ],
)
def test_editors_see_what_the_loader_would_refuse(wrong: dict[str, Any]) -> None:
    data = read_file(str(CONFIG / "examples" / "minimal.yaml")).data
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**data, **wrong}, schema_data())


def test_check_says_good_and_what_it_read(capsys: pytest.CaptureFixture[str]) -> None:
    check.command(str(WHOLE))
    out = capsys.readouterr().out
    assert "good: 1 route, 1 upstream, version" in out


def test_check_ends_with_1_and_tells_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("service: 1\nupstream: {}\nroutes: []\n", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        check.command(str(path))
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1
    assert lines[-1] == f"{path}: 3 errors"
    assert any(
        line.startswith(f"{path}:2:1: upstream: is not a known key") for line in lines
    )


def test_check_shows_warnings_and_may_refuse_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "upstreams: {app: {endpoints: ['127.0.0.1:1']}}\nroutes: []\n", encoding="utf-8"
    )
    check.command(str(path))
    assert "warning: " in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        check.command(str(path), strict=True)
    assert ended.value.code == 1


def test_the_schema_command_prints_what_is_shipped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    schema.command()
    shipped = (CONFIG / "schema.json").read_text(encoding="utf-8")
    assert capsys.readouterr().out == shipped
