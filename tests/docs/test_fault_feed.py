"""docs/fault-feed.md says what is so."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from sidecar.admin.fault_query import EVENT_QUERY, FAULT_QUERY
from sidecar.record.feed.group import State
from tests.docs.serving import serving, shell

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "fault-feed.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)[0].splitlines()
LISTS = [
    c for c in COMMANDS if "stream" not in c and ">" not in c and "openapi" not in c
]


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder, and a sidecar whose upstream refuses: its breaker has opened."""
    folder = tmp_path_factory.mktemp("feed")
    with serving(folder) as addresses:
        for _ in range(6):
            with pytest.raises(HTTPError):
                urlopen(f"http://{addresses['127.0.0.1:15006']}/")
        yield folder, addresses


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("command", LISTS)
def test_each_list_shows_something(
    command: str, served: tuple[Path, dict[str, str]]
) -> None:
    answer = json.loads(shell(command, *served))
    assert isinstance(answer, list)
    assert answer


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_exports_stream_and_document_are_what_they_are_called(
    served: tuple[Path, dict[str, str]],
) -> None:
    told = {
        command: shell(command, *served) for command in COMMANDS if command not in LISTS
    }
    assert len(told) == 4
    rows = list(csv.reader((served[0] / "faults.csv").read_text().splitlines()))
    assert len(rows) > 6
    lines = (served[0] / "faults.jsonl").read_text().splitlines()
    assert len([json.loads(line)["code"] for line in lines]) >= 6
    [stream] = [text for command, text in told.items() if "stream" in command]
    assert "retry: " in stream
    [document] = [text for command, text in told.items() if "openapi" in command]
    assert json.loads(document)["openapi"].startswith("3.")


def test_every_parameter_and_state_is_told() -> None:
    for param in (*FAULT_QUERY, *EVENT_QUERY):
        assert f"`{param.name}`" in TEXT
    for state in State:
        assert f"| `{state.value}` |" in TEXT
