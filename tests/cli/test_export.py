"""`sidecar export`, and the other commands on files with HTTPRoutes in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from sidecar.cli import main
from sidecar.settings.load import load_text
from tests.support.httproutes import documents, http_route, rule

if TYPE_CHECKING:
    from pathlib import Path

LEAST = "service: orders\nupstreams: {app: {endpoints: ['127.0.0.1:8080']}}\n"
ROUTES = "routes: [{name: all, upstream: app}]\n"
ODD = "routes: [{name: a, upstream: app}, {name: b, upstream: app, priority: 1}]\n"


class Called:
    """What a command printed, and how it ended."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> None:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in arguments])
        self.out, self.err = capsys.readouterr()
        self.code = ended.value.code


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.yaml"


def test_routes_are_printed_as_objects(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(LEAST + ROUTES)
    done = Called(capsys, "export", "-c", file, "--format", "httproute")
    assert (done.code, done.err) == (0, "")
    (one,) = yaml.safe_load_all(done.out)
    assert one["kind"] == "HTTPRoute"
    assert one["metadata"]["namespace"] == "default"
    (route,) = load_text("service: orders\n" + done.out).snapshot.routes
    assert route.name == "default.orders-0.all"


def test_what_is_not_said_is_told_and_nothing_printed(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(LEAST + ODD)
    done = Called(capsys, "export", "-c", file)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"{file}:3:61: routes[1].priority: is not said\n")


def test_lossy_prints_what_can_be_said(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(LEAST + ODD)
    done = Called(capsys, "export", "-c", file, "--lossy", "--namespace", "shop")
    assert done.code == 0
    assert done.err == f"warning: {file}:3:61: routes[1].priority: is not said\n"
    (one,) = yaml.safe_load_all(done.out)
    assert [rule["name"] for rule in one["spec"]["rules"]] == ["a", "b"]
    assert one["metadata"]["namespace"] == "shop"


def test_a_route_that_no_object_can_hold_is_left_out_by_name(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(LEAST + "routes: [{name: a, upstream: app, hosts: [a.example]}]\n")
    done = Called(capsys, "export", "-c", file, "--lossy")
    assert (done.code, done.out) == (1, "")
    assert "warning: route 'a' is left out\n" in done.err
    assert "there is no route that an HTTPRoute can say" in done.err


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("service: 7\n", (), "service: 7"),
        (LEAST + ROUTES, ("--namespace", "A B"), "is not the name of a Service"),
        (
            LEAST.replace("orders", "o.shop") + ROUTES,
            ("--namespace", "x"),
            "'shop', no",
        ),
    ],
)
def test_a_mistake_is_told(
    text: str,
    arguments: tuple[str, ...],
    words: str,
    file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file.write_text(text)
    done = Called(capsys, "export", "-c", file, *arguments)
    assert (done.code, done.out) == (1, "")
    assert words in done.err


def test_a_file_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Called(capsys, "export", "-c", tmp_path / "none.yaml")
    assert done.code == 1
    assert "none.yaml: cannot be read" in done.err


def test_check_explain_and_diff_take_objects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(documents(http_route(rule(timeouts={"request": "2s"}))))
    new.write_text(documents(http_route(rule(timeouts={"request": "5s"}))))
    assert Called(capsys, "check", "--strict", old).out.startswith(f"{old}: good: 1 ")
    told = Called(capsys, "explain", "-c", old, "GET", "/")
    assert f"route     shop.orders.0 ({old}:13)" in told.out
    assert "request 2 s" in told.out
    changes = Called(capsys, "diff", "--exit-code", old, new)
    assert changes.code == 3
    assert changes.out == 'route "shop.orders.0": timeouts: request: 2s -> 5s\n'
