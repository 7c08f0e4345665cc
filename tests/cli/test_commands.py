"""The commands, as a person calls them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def sidecar(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sidecar", *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.parametrize(
    "command", ["run", "check", "explain", "faults", "schema", "demo"]
)
def test_each_command_explains_itself_with_an_example(command: str) -> None:
    done = sidecar(command, "--help")
    assert done.returncode == 0
    assert f"Example: sidecar {command}" in done.stdout


def test_check_good_and_bad(tmp_path: Path) -> None:
    assert sidecar("check", "config/sidecar.yaml").returncode == 0
    bad = tmp_path / "bad.yaml"
    bad.write_text("upstreams: {}\nroutes: []\nservce: x\n")
    done = sidecar("check", str(bad))
    assert done.returncode == 1
    assert (
        f"{bad}:3:1: servce: is not a known key (did you mean 'service'?)"
        in done.stderr
    )
    assert "Traceback" not in done.stderr


def test_faults_one_all_and_none() -> None:
    assert "316-CONN-STALE" in sidecar("faults").stdout
    assert "keep-alive" in sidecar("faults", "conn-stale").stdout
    done = sidecar("faults", "316-CONN-STAL")
    assert done.returncode == 1
    assert "did you mean 316-CONN-STALE?" in done.stderr


def test_explain_names_winner_and_losers() -> None:
    done = sidecar("explain", "-c", "config/demo.yaml", "GET", "http://shop/prices")
    assert done.stdout.startswith("route     prices")
    assert done.stdout.count("\nnot ") == 2


def test_an_unknown_command() -> None:
    done = sidecar("rnu")
    assert done.returncode == 2
    assert "did you mean 'run'?" in done.stderr


def test_run_says_which_port_is_taken_and_ends_on_a_signal(tmp_path: Path) -> None:
    config = tmp_path / "sidecar.yaml"
    config.write_text(
        "inbound: {listen: '127.0.0.1:0'}\nhealth: {listen: '127.0.0.1:0'}\n"
        "admin: {listen: '127.0.0.1:0'}\nupstreams: {a: {endpoints: ['127.0.0.1:1']}}\n"
        "routes: [{name: r, upstream: a}]\ndrain: {lead: 0s}\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "sidecar", "run", "-c", str(config)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "serving: inbound 127.0.0.1:" in line
        port = line.split("inbound 127.0.0.1:")[1].split(",")[0]
        config.write_text(
            config.read_text().replace("'127.0.0.1:0'", f"'127.0.0.1:{port}'", 1)
        )
        taken = sidecar("run", "-c", str(config))
        assert taken.returncode == 1
        assert f"inbound: cannot listen on 127.0.0.1:{port}" in taken.stderr
        assert "Traceback" not in taken.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
