"""The README, run: each command prints what stands below it.

In what is shown, `...` stands for any lines, or for the rest of one; numbers and ids
are those of another run, and so is the state of a breaker.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from sidecar.settings.load import load_text
from tests.docs.serving import serving, shell

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(
    r"```console\n\$ ([^\n]*)\n(.*?)```", TEXT, re.DOTALL
)
ORDERS = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
ANYTHING = "..."


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands name; `orders.yaml` has two mistakes."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "config").symlink_to(ROOT / "config")
    assert ORDERS is not None
    text = ORDERS[1].replace("max_retries", "max_retry").replace("500ms", "5s")
    (folder / "orders.yaml").write_text(text, encoding="utf-8")
    return folder


def plain(line: str) -> str:
    """Return a line without what is different each time."""
    line = re.sub(r"\b[0-9a-f]{16,}\b", "ID", line)
    line = re.sub(r"\b(closed|open|half_open)$", "STATE", line.rstrip())
    line = re.sub(
        r"(?<![A-Za-z-])(- |[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?( ms)?)", "#", line
    )
    return re.sub(r"[# ]*#[# ]*", " # ", " ".join(line.split())).strip()


def first_missing(shown: str, printed: str) -> str | None:
    """Return the first line of what is shown that was not printed, in its order."""
    left = iter([plain(line) for line in printed.splitlines()])
    for line in shown.splitlines():
        start, mark, _ = line.partition(ANYTHING)
        wanted = plain(start)
        if not mark and not any(wanted == given for given in left):
            return line
        if mark and wanted and not any(given.startswith(wanted) for given in left):
            return line
    return None


@pytest.mark.parametrize(("command", "shown"), BLOCKS, ids=[c for c, _ in BLOCKS])
def test_a_command_prints_what_is_shown(command: str, shown: str, here: Path) -> None:
    is_curl = command.startswith("curl")
    if is_curl and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    printed = asked(command, here) if is_curl else shell(command, here, {})
    assert first_missing(shown, printed) is None, printed


def asked(command: str, here: Path) -> str:
    """Return what comes from a sidecar of which one request has failed, not more."""
    with serving(here) as addresses:
        if "127.0.0.1:15006" not in command:
            shell("curl -s http://127.0.0.1:15006/", here, addresses)
        return shell(command, here, addresses)


def test_what_is_shown_would_be_missed() -> None:
    """What the test above is worth."""
    assert first_missing("a 1\n...\nb 2 ms\n", "a 7\nx\nb 33 ms\n") is None
    assert first_missing("a 1\nb\n", "b\na 1\n") == "b"
    assert first_missing("a: no\n", "a: yes\n") == "a: no"
    assert first_missing("retry idempotent, ...\n", "retry safe\n") is not None


def test_every_command_that_is_not_run_here_is_one_of_these() -> None:
    """Each has a test elsewhere: of the Makefile, of `run`, of `inject`."""
    commands = "".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)).splitlines()
    assert [re.sub(r"\s+#.*", "", command) for command in commands] == [
        "make run",
        "make test",
        "make check",
        ".venv/bin/sidecar run --upstream 127.0.0.1:8080",
        ".venv/bin/sidecar inject -f deploy.yaml | kubectl apply -f -",
    ]


def test_the_configuration_is_good() -> None:
    assert ORDERS is not None
    assert load_text(ORDERS[1]).warnings == []


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_the_bench_has_its_place() -> None:
    assert TEXT.count("<!-- bench -->") == TEXT.count("<!-- /bench -->") == 1
    assert TEXT.index("<!-- bench -->") < TEXT.index("<!-- /bench -->")
