"""How the check of the application is written, and what is told of it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from sidecar.settings.application import (
    CommandCheck,
    HttpCheck,
    HttpHook,
    TcpCheck,
    parse_statuses,
)
from sidecar.settings.differences import differences
from sidecar.settings.load import Loaded, load_text
from sidecar.settings.problem import SettingsError
from sidecar.settings.snapshot import Address

ORIGINAL = {"original_destination": True}


def load(upstream: dict[str, Any] | None = None, **application: Any) -> Loaded:
    return load_text(
        yaml.safe_dump(
            {
                "upstreams": {"app": upstream or {"endpoints": ["127.0.0.1:8080"]}},
                "routes": [{"name": "all", "upstream": "app"}],
                "health": {"application": application},
            }
        )
    )


def problems(upstream: dict[str, Any] | None = None, **application: Any) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load(upstream, **application)
    return [f"{p.path}: {p.message} {p.hint}" for p in raised.value.problems]


def test_without_one_nothing_is_checked() -> None:
    text = "upstreams: {a: {endpoints: ['127.0.0.1:1']}}\nroutes: []\n"
    assert load_text(text).snapshot.application is None


def test_what_is_left_out_is_where_inbound_routes_lead_to() -> None:
    check = load(tcp={}).snapshot.application
    assert check is not None
    assert check.probe == TcpCheck(Address("127.0.0.1", 8080))
    assert check.ports == {8080}
    check = load(http={"port": 9000}, memory="90%").snapshot.application
    assert check is not None
    assert isinstance(check.probe, HttpCheck)
    assert check.probe.address == Address("127.0.0.1", 9000)
    assert check.ports == {8080, 9000}
    assert (check.memory_max_ratio, check.memory_max_bytes) == (0.9, None)


def test_a_command_needs_no_port() -> None:
    check = load(ORIGINAL, command=["true"], memory="1MiB").snapshot.application
    assert check is not None
    assert check.probe == CommandCheck(("true",))
    assert (check.memory_max_ratio, check.memory_max_bytes) == (None, 1024 * 1024)


@pytest.mark.parametrize(
    ("given", "path", "words"),
    [
        ({}, "health.application", "must have one of http, tcp and command"),
        ({"interval": "1s"}, "health.application", "must have one of"),
        ({"http": {}, "tcp": {}}, "health.application", "must have one of"),
        (
            {"tcp": {}, "recovery": {"after": 2}},
            "health.application.recovery",
            "must have one of http and command",
        ),
        (
            {"http": {"status": ["600"]}},
            "health.application.http.status[0]",
            "'600' is not a status or a range",
        ),
        (
            {"http": {"status": []}},
            "health.application.http.status",
            "no answer would be good",
        ),
        ({"http": {"path": "x"}}, "health.application.http.path", "is not a path"),
        ({"tcp": {}, "memory": 0}, "health.application.memory", "must be over 0"),
        ({"tcp": {}, "memory": "x"}, "health.application.memory", "is not a size"),
        ({"command": "true"}, "health.application.command", "is not a list"),
        (
            {"tcp": {}, "recovery": {"http": {"url": "host/path"}}},
            "health.application.recovery.http.url",
            "is not a URL",
        ),
        (
            {"tcp": {}, "recovery": {"http": {"url": "http://u:pw@host:99999/"}}},
            "health.application.recovery.http.url",
            "has a port or a host that none can be",
        ),
        (
            {"tcp": {}, "recovery": {"http": {"url": "http://host:http/"}}},
            "health.application.recovery.http.url",
            "has a port or a host that none can be",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(
    given: dict[str, Any], path: str, words: str
) -> None:
    [problem] = problems(**given)
    assert problem.startswith(f"{path}: ")
    assert words in problem


def test_a_port_that_no_route_tells_is_asked_for() -> None:
    [problem] = problems(ORIGINAL, http={"path": "/healthz"})
    assert problem.startswith("health.application.http: has no port")
    assert load(ORIGINAL, http={"port": 1}).snapshot.application is not None


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"timeout": "5s"}, "timeout", "is not below interval"),
        ({"response_time": "1s"}, "response_time", "is not below timeout"),
        ({"memory": "90%"}, "memory", "give a size"),
        (
            {"recovery": {"command": ["true"], "min_interval": "0s"}},
            "recovery.min_interval",
            "cannot have recovered within 10 s",
        ),
        (
            {"recovery": {"command": ["no-such-program"]}},
            "recovery.command",
            "'no-such-program' is no program that is found here",
        ),
    ],
)
def test_what_is_hardly_meant_is_a_warning(
    given: dict[str, Any], key: str, words: str
) -> None:
    [warning] = load(tcp={}, **given).warnings
    assert warning.path == f"health.application.{key}"
    assert words in f"{warning.message} {warning.hint}"


def test_a_word_of_a_body_that_head_does_not_bring_is_a_warning() -> None:
    [warning] = load(http={"method": "HEAD", "body_contains": "ok"}).warnings
    assert warning.path == "health.application.http.body_contains"
    assert not load(http={"method": "HEAD"}).warnings


def test_good_settings_are_warned_of_nothing() -> None:
    recovery = {"http": {"url": "http://127.0.0.1:1/restart"}}
    loaded = load(http={}, response_time="500ms", memory="9MiB", recovery=recovery)
    assert loaded.warnings == []


@pytest.mark.parametrize(
    ("text", "statuses"),
    [(200, (200, 200)), ("204", (204, 204)), ("200-399", (200, 399))],
)
def test_statuses_are_one_or_a_range(
    text: int | str, statuses: tuple[int, int]
) -> None:
    assert parse_statuses(text) == statuses


@pytest.mark.parametrize("text", ["", "-", "200-", "399-200", "99", "1e2", "٢٠٠", True])
def test_what_is_no_status_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a status or a range"):
        parse_statuses(text)


def test_no_secret_is_in_what_is_told_of_a_change() -> None:
    """Neither a field's value nor a query nor an argument."""
    before = load(tcp={}).snapshot
    recovery = {"http": {"url": "http://h/x?key=s3cret", "headers": {"X": "s3cret"}}}
    after = load(
        http={"path": "/h?token=s3cret", "headers": {"X-Any": "s3cret"}},
        recovery=recovery,
    ).snapshot
    told = differences(before, after)
    assert told
    assert "s3cret" not in "\n".join(told)
    commands = load(command=["true", "s3cret"]).snapshot
    assert "s3cret" not in "\n".join(differences(before, commands))


def test_what_is_asked_is_named_without_its_secrets() -> None:
    check = load(http={"path": "/h?token=s3cret"}).snapshot.application
    assert check is not None
    assert str(check.probe) == "GET http://127.0.0.1:8080/h"
    assert str(CommandCheck(("run", "s3cret"))) == "command run"
    assert (
        str(HttpHook("PUT", "http://u:p@h/x?s3cret", ())) == "PUT http://(hidden)@h/x"
    )
