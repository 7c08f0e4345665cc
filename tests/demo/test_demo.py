"""The demo, as a person sees it: what it suggests is what comes."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.demo import ports
from tests.support.terminal import CURSOR, ENTER, LEAVE, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "sidecar", "demo"]
# What stands in the output of each command, by the end of its URL.
SHOWN = {
    "/prices": r'HTTP/1.1 200 .*"ok": true',
    "/legacy": r"HTTP/1.1 50[23] .*x-316-code: 316-(RETRY-EXHAUSTED|CIRCUIT-OPEN)",
    "/orders": r'HTTP/1.1 (200 .*"ok": true|503 .*x-316-code: 316-ORDER-SUBMIT-ERR)',
    "/faults?limit=1": r'"event": "316_FAULT".*"fix": ',
    "/report": r'HTTP/1.1 (200 .*"ok": true|504 .*x-316-code: 316-TIMEOUT-ERR)',
    "/payments": r"HTTP/1.1 502 .*x-316-code: 316-CONN-RESET",
    "/nowhere": r"HTTP/1.1 404 .*316-ROUTE-NOT-FOUND.*text/plain",
    "/events": r"data: tick 1 of 5.*data: tick 5 of 5",
    "/breakers": r'"route": "legacy".*"state": ',
    "/metrics": r"app_316_fault_total\{.*sidecar_breaker_state\{",
}
needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None, reason="curl is not installed"
)
_HINT = re.compile(r"  (curl .*?)\s+# (.*)")


class Demo:
    """One that runs, and what it has said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            self.said.append(line.rstrip("\n"))
            if line.startswith("In a browser: "):
                break

    @property
    def hints(self) -> list[tuple[str, str]]:
        """Commands with what they are said to show."""
        found = map(_HINT.fullmatch, self.said)
        return [(match[1], match[2]) for match in found if match]

    @property
    def ports(self) -> set[int]:
        """Those in its commands."""
        found = re.findall(r"127\.0\.0\.1:([0-9]+)", str(self.hints))
        return {int(port) for port in found}

    def end(self, number: signal.Signals = signal.SIGINT) -> str:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        assert err == ""
        return out


@contextmanager
def demo(*arguments: str) -> Iterator[Demo]:
    with subprocess.Popen(
        [*COMMAND, "--plain", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            yield Demo(process)
        finally:
            process.kill()


def shell(command: str) -> str:
    """Return what a person sees, in one line."""
    done = subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return " ".join((done.stdout + done.stderr).split())


@needs_curl
def test_two_at_once_each_show_what_they_say_and_end_with_a_summary() -> None:
    """A port that one of them has is not the other's, and that is said."""
    with demo() as first, demo() as second:
        assert not first.ports & second.ports
        for running in (first, second):
            assert len(running.hints) == len(SHOWN)
            for name, port in ports.OWN.items():
                note = f"Note: port {port} is taken: {name} uses "
                is_told = any(line.startswith(note) for line in running.said)
                assert is_told != (port in running.ports)
            for command, shows in running.hints:
                check_hint(command, shows)
            out = running.end()
            assert running.process.returncode == 0
            assert re.search(r"^prices +[0-9]+", out, re.MULTILINE)
            assert re.search(r"^ +[0-9]+ x 316-ROUTE-NOT-FOUND +P2", out, re.MULTILINE)
            assert "316-CLIENT-ABORT" not in out  # Its own calls end before it does.


def check_hint(command: str, shows: str) -> None:
    (expected,) = [
        wanted for end, wanted in SHOWN.items() if command.strip("'").endswith(end)
    ]
    # Three failures in a row are rare, and come; ten times over they do not.
    outputs = (shell(command) for _ in range(10))
    assert any(re.search(expected, output) for output in outputs), command
    # What the text beside a command promises is in what is expected of it.
    for promised in re.findall(r"316-[A-Z]+-[A-Z-]+", shows):
        assert promised.removeprefix("316-") in expected


def test_it_ends_by_itself_after_a_given_time() -> None:
    with demo("--for", "2s") as running:
        out, err = running.process.communicate(timeout=50)
    assert err == ""
    assert running.process.returncode == 0
    assert "requests, " in out


def test_a_port_that_was_asked_for_is_had_or_refused_by_name() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "--plain", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
            cwd=ROOT,
        )
    assert done.returncode == 1
    assert done.stderr == (
        f"demo: inbound cannot have port {port}: Address already in use; "
        "choose another --port, or leave it out\n"
    )


def test_whoever_stops_reading_is_no_error() -> None:
    with demo() as running:
        assert running.process.stdout is not None
        running.process.stdout.close()
        assert running.process.wait(30) == 0
        assert running.process.stderr is not None
        assert running.process.stderr.read() == ""


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal(COMMAND)
    yield terminal
    terminal.close()


def test_the_screen_is_given_back_before_the_summary(terminal: Terminal) -> None:
    terminal.read_until("last faults")
    terminal.process.send_signal(signal.SIGINT)
    terminal.read_all()
    assert terminal.process.wait(30) == 0
    view, _, after = terminal.shown.partition(LEAVE)
    assert ENTER in view
    assert "what it does" in view
    assert "requests, " in after
    assert CURSOR in view[view.rindex(ENTER) :] + after


def test_a_second_signal_ends_at_once(terminal: Terminal) -> None:
    """It is sent as soon as the first was; whatever was under way is let go."""
    terminal.read_until("last faults")
    terminal.process.send_signal(signal.SIGINT)
    terminal.process.send_signal(signal.SIGTERM)
    terminal.read_all()
    assert terminal.process.wait(30) == 0
    assert LEAVE in terminal.shown
    assert CURSOR in terminal.shown


@needs_curl
def test_the_last_failure_is_json() -> None:
    """A person may pipe it into a tool that reads JSON."""
    with demo() as running:
        (command,) = [c for c, _ in running.hints if "limit=1" in c]
        records: list[dict[str, object]] = []
        while not records:
            records = json.loads(shell(command))
    assert records[0]["event"] == "316_FAULT"
