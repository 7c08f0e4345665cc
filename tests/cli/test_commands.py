"""The commands, as a person calls them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.cli import check
from sidecar.settings.load import load_text
from sidecar.settings.problem import Problem, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NOBODY = 65534
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
    "command",
    [
        "run",
        "check",
        "diff",
        "explain",
        "export",
        "faults",
        "top",
        "schema",
        "demo",
        "inject",
        "iptables",
        "webhook",
        "alerts",
        "dashboard",
    ],
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


@pytest.mark.parametrize("to", ["bad", "1.2.3.4", "db:80", "10.0.0.1:99999", ":80"])
def test_explain_says_how_a_destination_is_written(to: str) -> None:
    options = ("-c", "config/demo.yaml", "--to", to, "GET", "/prices")
    done = sidecar("explain", *options)
    assert done.returncode == 2
    assert done.stderr.startswith(f"--to {to!r}: expected IP:PORT")


def test_explain_names_winner_and_losers() -> None:
    done = sidecar("explain", "-c", "config/demo.yaml", "GET", "http://shop/prices")
    assert done.stdout.startswith("route     prices")
    assert done.stdout.count("\nnot ") == 2
    done = sidecar("explain", "-c", "config/demo.yaml", "get", "/prices")
    assert done.returncode == 1
    assert "methods are in upper case" in done.stderr


def test_an_unknown_command() -> None:
    done = sidecar("rnu")
    assert done.returncode == 2
    assert "did you mean 'run'?" in done.stderr


def test_the_level_of_the_log_can_be_another_than_the_files(tmp_path: Path) -> None:
    """As a pod may ask, whose configuration is that of others, too."""
    path = tmp_path / "sidecar.yaml"
    path.write_text(
        "inbound: {listen: '127.0.0.1:0'}\nhealth: {listen: '127.0.0.1:0'}\n"
        "admin: {listen: '127.0.0.1:0'}\nupstreams: {a: {endpoints: ['127.0.0.1:1']}}\n"
        "routes: [{name: all, upstream: a}]\nlog: {level: info}\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "sidecar", "run", "-c", path, "--log-level", "debug"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            port = re.search(r"admin 127\.0\.0\.1:(\d+)", _serving(process.stderr))
            assert port is not None
            url = f"http://127.0.0.1:{port[1]}/log-level"
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert json.load(answer)["level"] == "debug"
        finally:
            process.kill()


def _serving(lines: Iterable[str]) -> str:
    """Return the line that tells the ports."""
    return next(line for line in lines if "serving:" in line)


@pytest.mark.parametrize("both", [[], ["-c", "x.yaml", "--upstream", "a:1"]])
def test_run_asks_for_a_file_or_an_upstream_and_not_for_both(both: list[str]) -> None:
    done = sidecar("run", *both)
    assert done.returncode == 2
    assert done.stderr == "give either -c FILE or --upstream HOST:PORT\n"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:8080", "leave out the scheme"),
        ("8080", "its host is missing, as in 127.0.0.1:8080"),
        ("localhost", "its port is missing"),
    ],
)
def test_an_upstream_that_is_no_address_is_told_what_it_lacks(
    address: str, words: str
) -> None:
    done = sidecar("run", "--upstream", address)
    assert done.returncode == 1
    assert words in done.stderr


def test_check_tells_what_a_pod_has_no_room_for() -> None:
    file = "config/sidecar.yaml"
    roomy = sidecar("check", file, "--memory", "4GiB", "--strict")
    assert (roomy.returncode, roomy.stderr) == (0, "")
    little = sidecar("check", file, "--memory", "128MiB", "--strict")
    assert little.returncode == 1
    assert "the memory limit is 128 MiB: serving" in little.stderr
    wrong = sidecar("check", file, "--memory", "128Mi")
    assert wrong.returncode == 2
    assert "64KiB or 1MiB" in wrong.stderr


# Whatever a person may give to `check` by mistake.
FILES: dict[str, bytes | None] = {
    "missing": None,
    "empty": b"",
    "comment": b"# nothing\n",
    "list": b"- a\n",
    "word": b"hello\n",
    "tabs": b"a:\n\tb: 1\n",
    "nul": b"service: a\0b\n",
    "binary": bytes(range(256)),
    "utf-16": "service: a\n".encode("utf-16"),
    "latin-1": "service: é\n".encode("latin-1"),
    "merge": b"a: &a {}\nb: {<<: *a}\n",
    "ring": b"a: &a [*a]\n",
    "twice": b"routes: []\nroutes: []\nupstreams: {}\n",
    "deep": b"[" * 10_000,
    "deep-mapping": b"{a: " * 10_000,
    "tag": b"service: !!python/object/apply:os.getcwd []\n",
    "documents": b"a: 1\n---\nb: 2\n",
    "unquoted": b"upstreams: {a: {endpoints: [::1:80]}}\nroutes: []\n",
}


@pytest.mark.parametrize("name", FILES)
def test_check_tells_what_is_wrong_with_a_file_and_never_fails_itself(
    name: str, tmp_path: Path
) -> None:
    path, data = tmp_path / f"{name}.yaml", FILES[name]
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SystemExit) as ended:
        check.command(str(path))
    assert ended.value.code == 1


def test_a_folder_and_a_file_that_may_not_be_read_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secret.yaml"
    path.touch(mode=0)
    for place, reason in ((tmp_path, "Is a directory"), (path, "Permission denied")):
        with pytest.raises(SystemExit) as ended, without_root(place is path):
            check.command(str(place))
        assert ended.value.code == 1
        assert f"{place}: cannot be read: {reason}\n" in capsys.readouterr().err


@contextmanager
def without_root(is_wanted: bool) -> Iterator[None]:  # noqa: FBT001 - one use
    """Be nobody for a while: root may read everything."""
    mine = os.geteuid()
    if mine == 0 and is_wanted:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if os.geteuid() != mine:
            os.seteuid(mine)


@pytest.mark.parametrize("lines", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_a_byte_order_mark_do_not_matter(
    lines: str, mark: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.yaml"
    text = (ROOT / "config/examples/minimal.yaml").read_text(encoding="utf-8")
    path.write_bytes((mark + text.replace("\n", lines)).encode())
    check.command(str(path))
    assert "good: 1 route" in capsys.readouterr().out


# Pieces of real files, in any order: nearly right, which is where checks are weak.
_PIECES = [
    "upstreams:",
    "routes:",
    "app:",
    "endpoints:",
    "-",
    "{}",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "name:_r",
    "upstream:_app",
    "127.0.0.1:80",
    "'",
    '"',
    "|",
    ">",
    "&a_",
    "*a",
    "<<:_",
    "!!int_",
    "!!bool_",
    "?_",
    "~",
    "off",
    "2s",
    "50%",
    "timeouts:",
    "retry:",
    "matches:",
    "path:",
    "hosts:",
    "value:_/(",
    "type:_RegularExpression",
    "defaults:",
    "circuit_breaker:",
    "1e999",
    "-1",
    "é",
    "\ufeff",
    "#_",
    "---",
]
_PIECE = st.sampled_from(
    [
        *(piece.replace("_", " ") for piece in _PIECES),
        " ",
        "  ",
        "\n",
        "\n  ",
        "\t",
        "\0",
    ]
)


@given(st.lists(_PIECE, max_size=30).map("".join))
@settings(max_examples=200)
def test_any_text_is_good_or_told_with_a_place(text: str) -> None:
    assert all(str(one).startswith("x.yaml:") for one in problems_of(text))


def problems_of(text: str) -> list[Problem]:
    try:
        load_text(text, "x.yaml")
    except SettingsError as error:
        return error.problems
    return []


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


def test_diff_tells_what_changes_for_traffic(tmp_path: Path) -> None:
    old, new, bad = (tmp_path / name for name in ("old.yaml", "new.yaml", "bad.yaml"))
    text = (
        "upstreams: {app: {endpoints: ['127.0.0.1:1']}}\n"
        "routes: [{name: a, upstream: app%s}]\n"
    )
    old.write_text(text % "")
    new.write_text(text % ", timeouts: {request: 2s}")
    bad.write_text("routes: 3\n")
    done = sidecar("diff", str(old), str(new))
    assert (done.returncode, done.stdout) == (
        0,
        'route "a": timeouts: request: 15s -> 2s\n',
    )
    assert sidecar("diff", "--exit-code", str(old), str(new)).returncode == 3
    same = sidecar("diff", "--exit-code", str(old), str(old))
    assert (same.returncode, same.stdout) == (0, "no difference for traffic\n")
    wrong = sidecar("diff", str(old), str(bad))
    assert wrong.returncode == 1
    assert f"{bad}:1:" in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize("buffer", ["", "1"])
@pytest.mark.parametrize("words", ["faults", "--version", "run --help", "schema"])
def test_a_full_disk_is_told_in_one_line(words: str, buffer: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sidecar", *words.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50,
            check=False,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": buffer},
        )
    assert done.stderr == "stdout: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize("words", ["faults", "--version"])
def test_whoever_does_not_read_on_is_told_nothing(words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as gone:  # noqa: PTH123 - a descriptor
        done = subprocess.run(
            [sys.executable, "-m", "sidecar", *words.split()],
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50,
            check=False,
            cwd=ROOT,
        )
    assert (done.stderr, done.returncode) == ("", 1)
