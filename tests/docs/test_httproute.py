"""docs/httproute.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import BeforeValidator

from sidecar.settings.documents import joined
from sidecar.settings.httproute import REFUSED_FILTERS, HttpRoute, Refusal
from sidecar.settings.load import load_file
from sidecar.settings.schema import model_in
from sidecar.settings.source import read_file_documents
from tests.docs.serving import shell
from tests.docs.test_readme import first_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "httproute.md").read_text(encoding="utf-8")
COMMANDS = [
    (command, shown)
    for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    for command, shown in re.findall(r"\$ ([^\n]*)\n((?:(?!\$ )[^\n]*\n)*)", block)
]
ROWS = dict(
    re.findall(
        r"^\| `([A-Za-z.\[\]]+)` \| (supported|accepted|refused) \|", TEXT, re.MULTILINE
    )
)
# Looked at only for what must not be there, or not at all.
ACCEPTED = {"metadata.annotations", "status"}


def fields_of(model: type[BaseModel], at: str = "") -> Iterator[tuple[str, str]]:
    """Yield each field of an object, and what becomes of it."""
    for field in model.model_fields.values():
        inner = model_in(field.annotation)
        here = f"{at}{field.alias}"
        if inner is None:
            yield here, fate_of(here, field)
        else:
            many = "[]" if "tuple" in str(field.annotation) else ""
            yield from fields_of(inner, f"{here}{many}.")


def fate_of(path: str, field: FieldInfo) -> str:
    if path in ACCEPTED:
        return "accepted"
    validators = [one for one in field.metadata if isinstance(one, BeforeValidator)]
    is_refused = any(isinstance(one.func, Refusal) for one in validators)
    return "refused" if is_refused else "supported"


def test_the_table_has_every_field_and_what_becomes_of_it() -> None:
    assert dict(fields_of(HttpRoute)) == ROWS
    assert {"supported", "accepted", "refused"} == set(ROWS.values())


def test_the_reasons_of_refused_filters_are_those_that_are_told() -> None:
    for reason in REFUSED_FILTERS.values():
        assert f"| refused | {reason} |" in TEXT


@pytest.mark.parametrize(("command", "shown"), COMMANDS, ids=[c for c, _ in COMMANDS])
def test_a_command_prints_what_is_shown(command: str, shown: str) -> None:
    printed = shell(command, ROOT, {})
    assert first_missing(shown, printed) is None, printed


def test_the_example_is_good_and_has_what_the_page_tells() -> None:
    path = str(ROOT / "config" / "examples" / "httproute.yaml")
    loaded = load_file(path)
    assert loaded.warnings == []
    sides = {route.name: route.listener for route in loaded.snapshot.routes}
    assert sides.items() >= {
        ("shop.orders.submit", "inbound"),
        ("shop.orders.all", "inbound"),
        ("shop.stock.get", "outbound"),
    }
    own = read_file_documents(path)[0].data["upstreams"]
    assert set(joined(read_file_documents(path)).data["upstreams"]) == set(own)


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
