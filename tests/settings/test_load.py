"""Good files load; bad ones are told line, column, key and the nearest name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.settings.load import from_upstream, load_file, load_text
from sidecar.settings.problem import SettingsError
from sidecar.settings.schema import schema_text

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
SHIPPED = sorted({*CONFIG.rglob("*.yaml")} - {CONFIG / "examples/alertmanager.yaml"})
GOOD = """\
service: orders
inbound: {listen: 0.0.0.0:15006}
upstreams:
  app:
    endpoints: [127.0.0.1:8080]
routes:
  - name: submit-order
    matches: [{path: {type: PathPrefix, value: /orders}, method: POST}]
    upstream: app
    timeouts: {request: 2s, per_try: 500ms}
    retry: {preset: safe, max_retries: 2}
    circuit_breaker: {failure_ratio: 50%, min_requests: 20, window: 10s, open: 5s}
"""


def problems_of(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_text(text, "x.yaml")
    return str(caught.value)


def test_units_become_seconds_bytes_and_ratios() -> None:
    route = load_text(GOOD).snapshot.routes[0]
    assert route.timeouts.request_s == 2.0
    assert route.timeouts.per_try_s == 0.5
    assert route.breaker is not None
    assert route.breaker.failure_ratio == 0.5


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("max_retries", "max_retry", "11:27", "did you mean 'max_retries'?"),
        ("upstream: app", "upstream: ap", "9:5", "did you mean 'app'?"),
        ("request: 2s", "request: 2 s", "10:16", "is not a duration"),
        ("safe", "save", "11:13", "'safe', 'idempotent', 'off'"),
        ("50%", "150%", "12:23", "is not a ratio"),
        ("per_try: 500ms", "per_try: 5s", "10:29", "is over request"),
        ("/orders", "orders", "8:41", "does not start with /"),
        ("127.0.0.1:8080", "127.0.0.1", "5:17", "is not an address"),
        ("service: orders", "service: [", "", "is not YAML"),
        ("inbound:", "service:", "2:1", "is there twice (first in line 1)"),
        (
            "PathPrefix, value: /orders",
            "RegularExpression, value: /(x",
            "8:48",
            "RE2 refuses",
        ),
    ],
)
def test_a_mistake_is_shown_where_it_is(
    old: str, new: str, place: str, words: str
) -> None:
    text = problems_of(GOOD.replace(old, new))
    assert text.startswith(f"x.yaml:{place}")
    assert words in text
    assert len(text.splitlines()) == 1


def test_off_is_a_word() -> None:
    route = load_text(GOOD.replace("preset: safe", "preset: off")).snapshot.routes[0]
    assert route.retry.preset == "off"


@pytest.mark.parametrize("text", ["", "- 1", "7", "a: !!python/object:os.system x"])
def test_what_is_no_configuration(text: str) -> None:
    assert problems_of(text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe")
    for path in (tmp_path, tmp_path / "none.yaml", binary):
        with pytest.raises(SettingsError) as caught:
            load_file(str(path))
        assert str(path) in str(caught.value)


def test_no_file_at_all() -> None:
    snapshot = from_upstream("127.0.0.1:8080").snapshot
    assert str(snapshot.upstreams["app"].endpoints[0]) == "127.0.0.1:8080"
    assert snapshot.routes[0].timeouts.request_s == 15.0


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_file_that_we_ship_is_good(path: Path) -> None:
    warnings = map(str, load_file(str(path)).warnings)
    # Secrets are where it is to serve, not here.
    assert [text for text in warnings if "cannot be read: No such" not in text] == []


def test_the_schema_is_fresh() -> None:
    """`make schema` makes it anew."""
    shipped = (ROOT / "config" / "schema.json").read_text(encoding="utf-8")
    assert json.loads(shipped) == json.loads(schema_text())
