"""`sidecar explain`, as a person calls it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner

from sidecar.cli.explain import command, raw_request
from sidecar.wire.head import parse_request

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

YAML = """\
upstreams:
  app: {endpoints: ["127.0.0.1:8080", "127.0.0.1:8081"]}
  old: {endpoints: ["127.0.0.1:9090"]}
routes:
  - name: submit
    matches:
      - {path: {value: /orders}, method: POST, headers: [{name: X-Env, value: t}]}
    upstream: app
    timeouts: {request: 2s, per_try: 500ms}
    retry: {preset: idempotent, max_retries: 3}
    circuit_breaker: {failure_ratio: 40%, slow_call: 1s}
    rewrite: {prefix: /v2, host: inner.example}
    request_headers: {set: {x-side: "1"}, remove: [x-env]}
  - {name: orders, matches: [{path: {value: /orders}}], upstream: old}
  - {name: rest, upstream: old, circuit_breaker: off, retry: {preset: off}}
  - {name: items, matches: [{path: {value: /items}}], upstream: old}
  - {name: out, listener: outbound, hosts: [api.example], upstream: old}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "sidecar.yaml"
    file.write_text(YAML)
    return str(file)


def run(*arguments: str) -> Result:
    app = typer.Typer(add_completion=False)
    app.command()(command)
    return CliRunner().invoke(app, arguments)


def test_it_tells_what_applies_and_why_the_next_two_lost(config: str) -> None:
    url = "http://shop.example/orders/1?a=b"
    done = run("-c", config, "POST", url, "-H", "X-Env: t", "-H", "Connection: x-hop")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == f"route     submit ({config}:5)"
    assert lines[1].endswith("PathPrefix /orders, method POST, header x-env = t")
    assert lines[2] == "upstream  app: 127.0.0.1:8080, 127.0.0.1:8081"
    assert lines[3] == "sent on   POST /v2/1?a=b HTTP/1.1"
    assert "          Host: inner.example" in lines
    assert "          x-side: (hidden)" in lines  # It might be a secret.
    assert not any("X-Env" in line for line in lines)
    assert "request 2 s, per try 500 ms" in done.stdout
    assert "retry     idempotent: at most 3, on connect-failure" in done.stdout
    assert "opens at 40% failures, or 80% slower than 1 s of 20" in done.stdout
    assert "outlier   ejects after 5 failures in a row, half of up to 4" in done.stdout
    assert lines[-2:] == [
        "not orders (line 14): it matches too, but submit asks for the method, "
        "this one does not",
        "not rest (line 15): it matches too, but the path of submit is longer: "
        "/orders, against /",
    ]


def test_what_is_off_is_said_to_be_off(config: str) -> None:
    done = run("-c", config, "GET", "/x")
    assert "\nretry     off\nbreaker   off\n" in done.stdout


def test_no_route_names_the_fault_and_the_nearest(config: str) -> None:
    done = run("-c", config, "GET", "http://b.example/x", "--listener", "outbound")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "no route: 404 316-ROUTE-NOT-FOUND",
        "not out (line 17): the host 'b.example' is not api.example",
    ]


def test_json_tells_the_same_and_all_losers(config: str) -> None:
    done = run("-c", config, "GET", "/orders", "--json")
    data: dict[str, Any] = json.loads(done.stdout)
    assert data["route"]["name"] == "orders"
    assert data["route"]["upstream"]["endpoints"] == ["127.0.0.1:9090"]
    assert data["route"]["retry"]["on"] == ["connect-failure", "refused", "reset"]
    assert data["fault"] is None
    assert [(loser["route"], loser["lost_at"]) for loser in data["losers"]] == [
        ("rest", "precedence"),
        ("submit", "method"),
        ("items", "path"),
    ]
    missed = json.loads(
        run("-c", config, "GET", "/", "--json", "--listener", "outbound").stdout
    )
    assert (missed["route"], missed["fault"]) == (None, "316-ROUTE-NOT-FOUND")


@pytest.mark.parametrize(
    ("url", "fields", "target", "host"),
    [
        ("/a?b=http://c", [], b"/a?b=http://c", b"localhost"),
        ("http://u:p@H.example:81/a#b", [], b"/a", b"H.example:81"),
        ("h.example/a", [], b"/a", b"h.example"),
        ("http://h", [], b"/", b"h"),
        ("http://h?x", [], b"/?x", b"h"),
        ("/ü b%2F", [], b"/%C3%BC%20b%2F", b"localhost"),
        ("http://h/a", ["host: other"], b"/a", b"other"),
        ("*", [], b"*", b"localhost"),
        ("//a", [], b"//a", b"localhost"),
    ],
)
def test_a_url_becomes_the_request_that_a_client_would_make(
    url: str, fields: list[str], target: bytes, host: bytes
) -> None:
    head = parse_request(raw_request("OPTIONS", url, fields))
    assert (head.target, head.authority) == (target, host)


@pytest.mark.parametrize("field", ["novalue", "a b: c", "a: b\r\nc: d", ": x"])
def test_a_field_that_is_none_is_a_wrong_call(config: str, field: str) -> None:
    done = run("-c", config, "GET", "/", "-H", field)
    assert done.exit_code == 2
    assert "expected 'name: value'" in done.stderr


def test_what_a_proxy_refuses_is_not_explained(config: str) -> None:
    done = run("-c", config, "GET", "http://a b/")
    assert done.exit_code == 1
    assert done.stderr.startswith("400: no proxy takes this request: Host is malformed")


def test_a_bad_file_tells_its_problems(tmp_path: Path) -> None:
    done = run("-c", str(tmp_path / "none.yaml"), "GET", "/")
    assert done.exit_code == 1
    assert "none.yaml" in done.stderr
