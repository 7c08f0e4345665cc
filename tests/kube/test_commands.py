"""`sidecar inject` and `sidecar webhook`, as a person calls them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trustme

from sidecar.cli import inject, webhook
from tests.kube.golden import HERE, OPTIONS

if TYPE_CHECKING:
    from pathlib import Path

DEPLOYMENT = HERE / "manifests" / "deployment.yaml"
INJECTED = DEPLOYMENT.with_suffix(".injected.yaml")
IMAGE = f"image={OPTIONS.image}"


def sidecar(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", *arguments],
        input=stdin,
        capture_output=True,
        timeout=50,
        check=False,
    )
    text = (done.stdout.decode(), done.stderr.decode())
    return subprocess.CompletedProcess(done.args, done.returncode, *text)


def ended(
    capsys: pytest.CaptureFixture[str], file: str, *given: str
) -> tuple[object, str]:
    """Inject into a file that is wrong; return the exit code and what was said."""
    with pytest.raises(SystemExit) as end:
        inject.command(file, list(given))
    said = capsys.readouterr()
    assert said.out == ""  # A pipe to kubectl carries all or nothing.
    return end.value.code, said.err


def test_a_file_is_injected_and_what_was_done_is_told() -> None:
    done = sidecar("inject", "-f", str(DEPLOYMENT), "--set", IMAGE)
    assert done.returncode == 0
    assert done.stdout == INJECTED.read_text("utf-8")
    assert done.stderr == f"{DEPLOYMENT}: Deployment/orders: changed\n"


def test_stdin_is_uninjected() -> None:
    done = sidecar("inject", "-f", "-", "--uninject", stdin=INJECTED.read_bytes())
    assert done.returncode == 0
    assert "sidecar-316@" not in done.stdout
    assert "initContainers" not in done.stdout
    assert done.stderr == "stdin: Deployment/orders: changed\n"


def test_a_file_without_pods_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none.yaml"
    path.write_bytes(b"\xef\xbb\xbfkind: X\n")
    inject.command(str(path))
    said = capsys.readouterr()
    assert (said.out, said.err) == ("kind: X\n", f"{path}: nothing here has pods\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: [", "line 1: not YAML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"apiVersion: v1\nkind: Pod\nspec: {}\n", "Pod/(no name): spec.containers is"),
    ],
)
def test_a_wrong_file_is_told_and_nothing_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, words: str
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_bytes(DEPLOYMENT.read_bytes() + b"\n---\n" + content)
    code, said = ended(capsys, str(path))
    assert code == 1
    assert said.startswith(f"{path}: ")
    assert words.removeprefix("line 1: ") in said


def test_one_wrong_pod_keeps_the_others_from_being_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = DEPLOYMENT.read_text("utf-8") + "---\napiVersion: v1\nkind: Pod\n"
    stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    code, said = ended(capsys, "-")
    assert code == 1
    assert said.startswith("stdin: Pod/(no name): spec.containers is missing")


@pytest.mark.parametrize(
    ("file", "reason"),
    [("/no/such", "No such file"), (os.sep, "Is a directory"), ("a\0b", "null byte")],
)
def test_a_file_that_cannot_be_read_is_told(
    capsys: pytest.CaptureFixture[str], file: str, reason: str
) -> None:
    code, said = ended(capsys, file)
    assert code == 1
    assert reason in said


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("image", "--set image: write it as NAME=VALUE"),
        ("imgae=x", "--set imgae: is not known (did you mean 'image'?)"),
        ("native=no", "--set native: 'no' is neither"),
        ("memory-limit=1Mi", "--set memory-limit (1Mi) is below memory-request ("),
    ],
)
def test_a_wrong_option_is_a_wrong_call(
    capsys: pytest.CaptureFixture[str], given: str, words: str
) -> None:
    code, said = ended(capsys, str(DEPLOYMENT), given)
    assert code == 2
    assert words in said


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """Files of a certificate and its key."""
    leaf = trustme.CA().issue_cert("webhook.example")
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    leaf.cert_chain_pems[0].write_to_path(str(cert))
    leaf.private_key_pem.write_to_path(str(key))
    return str(cert), str(key)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"given": ["x=1"]}, "webhook: x: is not known"),
        ({"listen": "8443"}, "its host is missing"),
        ({"lead": "5"}, "webhook: '5'"),
    ],
)
def test_a_wrong_call_of_the_webhook_is_told(
    pair: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
    options: dict[str, str],
    words: str,
) -> None:
    with pytest.raises(SystemExit) as end:
        webhook.command(*pair, **options)  # type: ignore[arg-type] # of the table
    assert end.value.code == 2
    assert words in capsys.readouterr().err


def test_a_missing_certificate_is_told(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        webhook.command("/no/such.crt", pair[1])
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert said == "webhook: /no/such.crt: cannot be read: No such file or directory\n"
