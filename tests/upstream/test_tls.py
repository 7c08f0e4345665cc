"""The files that TLS towards an upstream needs: which one is no good, and why."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sidecar.settings.load import load_text
from sidecar.settings.snapshot import UpstreamTls
from sidecar.upstream.tls import tls_context, tls_problems
from tests.support.certificates import Authority
from tests.support.proxy import proxied

ROOT = Path(__file__).parents[2]


def text_of(**tls: str) -> str:
    return yaml.safe_dump(
        {
            "inbound": {"listen": "127.0.0.1:0"},
            "health": {"listen": "127.0.0.1:0"},
            "admin": {"listen": "127.0.0.1:0"},
            "upstreams": {"app": {"endpoints": ["127.0.0.1:9"], "tls": tls}},
            "routes": [{"name": "all", "upstream": "app"}],
        }
    )


def told_of(**tls: str) -> list[str]:
    return [str(each) for each in tls_problems(load_text(text_of(**tls)).snapshot)]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


def sidecar(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sidecar", *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=ROOT,
    )


def test_good_files_are_no_problem(authority: Authority) -> None:
    assert told_of(ca_file=authority.ca_file, **authority.client_files("a.test")) == []
    assert told_of() == []


def test_a_file_that_is_gone_is_told_with_its_key(authority: Authority) -> None:
    gone = "cannot be read: No such file or directory"
    assert told_of(ca_file="/gone") == [f"/gone: upstreams.app.tls.ca_file: {gone}"]
    files = authority.client_files("a.test")
    for key in files:
        expected = f"/gone: upstreams.app.tls.{key}: {gone}"
        assert told_of(**(files | {key: "/gone"})) == [expected]


def test_a_file_that_holds_something_else_is_told_with_its_key(
    authority: Authority, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    (told,) = told_of(ca_file=str(empty))
    assert told.startswith(f"{empty}: upstreams.app.tls.ca_file: cannot be used: ")
    one, other = authority.client_files("a.test"), authority.client_files("b.test")
    (told,) = told_of(cert_file=one["cert_file"], key_file=other["key_file"])
    expected = "upstreams.app.tls.cert_file: cannot be used: key values mismatch"
    assert told == f"{one['cert_file']}: {expected}"


def test_without_verifying_nobody_is_refused() -> None:
    tls = UpstreamTls(None, None, None, None, verify=False)
    assert tls_context("app", tls).verify_mode is ssl.CERT_NONE


def test_run_ends_with_one_line_and_check_warns(tmp_path: Path) -> None:
    """A check may be on another machine than the one that serves."""
    file = tmp_path / "sidecar.yaml"
    file.write_text(text_of(ca_file="/gone"))
    words = "/gone: upstreams.app.tls.ca_file: cannot be read: No such file"
    done = sidecar("check", str(file))
    assert done.returncode == 0
    assert done.stderr.startswith(f"warning: {words}")
    done = sidecar("run", "-c", str(file))
    assert done.returncode == 1
    (line,) = [each for each in done.stderr.splitlines() if "warning:" not in each]
    assert line.startswith(words)


async def test_a_reload_is_rejected_with_the_same_words(tmp_path: Path) -> None:
    file = tmp_path / "sidecar.yaml"
    file.write_text(text_of(ca_file="/gone"))
    async with proxied(config=file) as proxy:
        before = proxy.app.runtime.upstreams
        done = await proxy.app.reloader.reload("a test")
        assert done.result == "rejected"
        (problem,) = done.problems
        assert problem.startswith("/gone: upstreams.app.tls.ca_file: cannot be read")
        assert proxy.app.runtime.upstreams is before
