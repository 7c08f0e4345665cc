"""`sidecar top` and `faults --follow`, as a person has them before them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.docs.serving import serving
from tests.support.terminal import CURSOR, ENTER, LEAVE, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = [sys.executable, "-m", "sidecar"]


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Those of a sidecar whose upstream refuses."""
    with serving(tmp_path_factory.mktemp("top")) as addresses:
        for _ in range(6):
            with pytest.raises(HTTPError):
                urlopen(f"http://{addresses['127.0.0.1:15006']}/")
        yield addresses


@pytest.fixture
def admin(addresses: dict[str, str]) -> str:
    return f"http://{addresses['127.0.0.1:15000']}"


@pytest.fixture
def terminal(admin: str) -> Iterator[Terminal]:
    terminal = Terminal([*PROGRAM, "top", "--admin", admin])
    yield terminal
    terminal.close()


def told(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_keys_lead_from_a_group_to_its_record_and_back(terminal: Terminal) -> None:
    terminal.read_until("316-RETRY-EXHAUSTED")
    assert not terminal.echoes
    terminal.forget()
    terminal.type("\t\r")
    terminal.read_until("attempts, in")
    terminal.forget()
    terminal.type("\x1b")
    terminal.read_until("routes by worst")
    terminal.type("?")
    terminal.read_until("any key goes back")
    terminal.type(" q")
    terminal.read_all()
    assert terminal.process.wait(30) == 0
    assert ENTER in terminal.shown or LEAVE in terminal.shown


def test_ctrl_c_ends_it_and_gives_the_terminal_back(terminal: Terminal) -> None:
    terminal.read_until("q quit")
    terminal.process.send_signal(signal.SIGINT)
    terminal.read_all()
    assert terminal.process.wait(30) == 0
    after = terminal.shown[terminal.shown.index(ENTER) :]
    assert LEAVE in after
    assert CURSOR in after
    assert "Traceback" not in terminal.shown


def test_a_sidecar_that_ends_is_told_and_waited_for(tmp_path: Path) -> None:
    with serving(tmp_path) as addresses:
        place = f"http://{addresses['127.0.0.1:15000']}"
        terminal = Terminal([*PROGRAM, "top", "--admin", place])
        terminal.read_until("q quit")
    try:
        terminal.read_until("no connection: ")
        terminal.read_until("Connection refused")
        terminal.type("q")
        terminal.read_all()
        assert terminal.process.wait(30) == 0
        assert terminal.echoes
    finally:
        terminal.close()


def test_without_a_terminal_it_is_one_picture(admin: str) -> None:
    done = told("top", "--admin", admin)
    assert (done.returncode, done.stderr) == (0, "")
    assert "routes by worst" in done.stdout
    assert "316-RETRY-EXHAUSTED" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("command", [("top",), ("faults", "--follow")], ids=" ".join)
@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--admin", "http://127.0.0.1:1"), 1, "Connection refused: is the sidecar r"),
        (("--admin", "ftp://x"), 2, "is no address such as http://127.0.0.1:15000"),
        (("--socket", "/nowhere"), 1, "/nowhere: No such file or directory"),
        (("--token-file", "/nowhere"), 1, "--token-file /nowhere: cannot be read: No"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    command: tuple[str, ...], options: tuple[str, ...], code: int, words: str
) -> None:
    done = told(*command, *options)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--follow", "--severity", "P9"), "severity is 'P9'"),
        (("--follow", "--since", "yesterday"), "since: 'yesterday' is neither"),
        (("--severity", "P1"), "goes with --follow only"),
    ],
)
def test_faults_says_what_makes_no_sense(
    admin: str, options: tuple[str, ...], words: str
) -> None:
    done = told("faults", *options, "--admin", admin)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_what_is_followed_is_a_line_each_and_ends_by_a_signal(
    admin: str, end: signal.Signals
) -> None:
    options = ("--follow", "--json", "--code", "retry-exhausted", "--severity", "p1")
    with subprocess.Popen(
        [*PROGRAM, "faults", *options, "--admin", admin],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        record = json.loads(process.stdout.readline())
        assert record["code"] == "316-RETRY-EXHAUSTED"
        process.send_signal(end)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_a_pipe_that_nobody_reads_is_no_lost_connection(
    addresses: dict[str, str], admin: str
) -> None:
    """It ends at the first failure that it cannot tell."""
    with subprocess.Popen(
        [*PROGRAM, "faults", "--follow", "--admin", admin],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert " -> " in process.stdout.readline()
        process.stdout.close()
        while process.poll() is None:
            with pytest.raises(HTTPError):
                urlopen(f"http://{addresses['127.0.0.1:15006']}/")
        assert process.stderr.read() == ""
