"""The admin token: where it is from, what is refused, and that nobody is told."""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.admin.token import VARIABLE, AdminToken
from sidecar.settings.load import load_text
from sidecar.settings.problem import SettingsError
from sidecar.settings.token_file import TokenError, checked, read_token
from tests.support.admin import TOKEN

if TYPE_CHECKING:
    from pathlib import Path

OTHER = "another-token-of-tests-0123"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n", encoding="utf-8")
    path.chmod(0o400)
    return path


def problems(**admin: str) -> list[str]:
    """Return errors, or else warnings, of a file with these keys of `admin`."""
    data = {
        "upstreams": {"app": {"endpoints": ["127.0.0.1:8080"]}},
        "routes": [{"name": "all", "upstream": "app"}],
        "admin": admin,
    }
    try:
        return [str(one) for one in load_text(yaml.safe_dump(data), "x").warnings]
    except SettingsError as error:
        return [f"error: {one}" for one in error.problems]


def test_either_place_will_do(file: Path) -> None:
    token = AdminToken(str(file), {VARIABLE: OTHER})
    assert token.is_it(TOKEN.encode())
    assert token.is_it(OTHER.encode())
    assert not token.is_it(b"")
    assert not token.is_it(b"x" * len(TOKEN))
    assert TOKEN not in repr(token)


def test_a_file_that_is_swapped_counts_from_then_on(file: Path) -> None:
    """As Kubernetes swaps a Secret: by a link to another folder."""
    token = AdminToken(str(file), {})
    assert token.is_it(TOKEN.encode())
    new = file.with_name("new")
    new.write_text(OTHER, encoding="utf-8")
    os.replace(new, file)  # noqa: PTH105 - the call that a rotation makes
    assert token.is_it(OTHER.encode())
    assert not token.is_it(TOKEN.encode())


def test_a_file_that_goes_lets_nobody_in(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And is told of once, not at each try."""
    token = AdminToken(str(file), {})
    file.unlink()
    for _ in range(3):
        assert not token.is_it(TOKEN.encode())
        assert not token.is_it(b"")
    assert token.is_wanted
    assert caplog.text.count("cannot be read: No such file") == 1


def test_it_is_compared_in_constant_time(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one function that the standard library has for it sees every guess."""
    seen: list[bytes] = []
    real = hmac.compare_digest

    def watched(given: bytes, wanted: bytes) -> bool:
        seen.append(given)
        return real(given, wanted)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    token = AdminToken(str(file), {VARIABLE: OTHER})
    assert token.is_it(TOKEN.encode())
    assert not token.is_it(b"guess")
    assert seen == [TOKEN.encode()] * 2 + [b"guess"] * 2  # Both, right or wrong.


@pytest.mark.parametrize(
    "bad", ["", "canary", "x" * 21, "x" * 5000, "a b" * 20, "\xe9" * 30]
)
def test_a_token_of_the_environment_that_is_no_good_is_not_used(
    bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = AdminToken(None, {VARIABLE: bad})
    assert not token.is_wanted
    assert not token.is_it(bad.encode())
    assert bool(caplog.records) is bool(bad)
    assert not bad or bad not in caplog.text


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_whatever_is_refused_is_not_quoted(data: bytes) -> None:
    """What is said of it depends on what is wrong, not on what it is."""
    said = verdict(data)
    assert said in VERDICTS or (said == "good" and len(data) >= 22)


VERDICTS = {
    "holds a token that is too short: it must have 22 to 4096 characters",
    "holds a token with characters other than A-Z a-z 0-9 - . _ ~ + / =",
}


def verdict(data: bytes) -> str:
    try:
        checked(data)
    except TokenError as error:
        return str(error)
    return "good"


def test_a_token_is_read_without_its_line_break(file: Path) -> None:
    assert read_token(str(file)) == TOKEN.encode()


def test_check_refuses_a_token_that_is_too_short(file: Path) -> None:
    file.chmod(0o600)
    file.write_text("canary", encoding="utf-8")
    [told] = problems(token_file=str(file))
    assert told.startswith("error: x:2:3: admin.token_file: ")
    assert "too short: it must have 22 to 4096 characters" in told
    assert "openssl rand -hex 32" in told
    assert "canary" not in told


def test_check_warns_of_a_file_that_everybody_may_read(file: Path) -> None:
    assert problems(token_file=str(file)) == []
    file.chmod(0o444)
    [told] = problems(token_file=str(file))
    assert "every user of this host may read the file" in told


@pytest.mark.parametrize("path", ["/none/token", "/", "x" * 5000])
def test_check_warns_of_a_file_that_cannot_be_read_here(path: str) -> None:
    """It may be there where it is to serve, and traffic does not depend on it."""
    [told] = problems(token_file=path)
    assert told.startswith("x:2:3: admin.token_file: the file cannot be read: ")


def test_check_demands_a_token_file_beyond_loopback(file: Path) -> None:
    [told] = problems(listen="0.0.0.0:15000")
    assert told.startswith("error: x:2:3: admin.listen: ")
    assert "set admin.token_file" in told
    [told] = problems(listen="0.0.0.0:15000", token_file=str(file))
    assert "the token goes over the network in plain HTTP" in told


@pytest.mark.parametrize(
    "path", ["admin.sock", "@abstract", "\0abstract", "/a\nb", "/" + "x" * 107, ""]
)
def test_check_refuses_a_socket_without_a_path_of_its_own(path: str) -> None:
    [told] = problems(socket=path)
    assert told.startswith("error: ")
    assert "admin.socket" in told
    assert "absolute (an abstract one has no permissions)" in told
