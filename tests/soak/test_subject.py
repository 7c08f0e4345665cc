"""What is left over at the end of a soak is told; nothing else is."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import pytest

from tests.soak.subject import Counts, Subject, complaints, growth

if TYPE_CHECKING:
    from pathlib import Path

MIB = 2**20
NOTHING = Counts(**{field.name: 3 for field in fields(Counts)})


@pytest.mark.parametrize("name", [field.name for field in fields(Counts)])
def test_more_of_anything_is_left_over_and_less_is_not(name: str) -> None:
    more, less = replace(NOTHING, **{name: 4}), replace(NOTHING, **{name: 2})
    told = f"left over: {name.replace('_', ' ')} 3 -> 4"
    assert list(more.left_since(NOTHING)) == [told]
    assert list(less.left_since(NOTHING)) == []
    assert list(NOTHING.left_since(NOTHING)) == []


@pytest.mark.parametrize(
    ("after_mib", "is_told"), [(60, False), (70, False), (71, True)]
)
def test_memory_may_grow_by_a_tenth_and_a_little(
    after_mib: int, *, is_told: bool
) -> None:
    assert any(growth(60 * MIB, after_mib * MIB)) == is_told


@pytest.mark.parametrize(
    "line",
    [
        "Traceback (most recent call last):",
        "ERROR sidecar.exchange: exchange failed",
        "RuntimeError: coroutine raised StopIteration",
        "Exception ignored in: <function f>",
    ],
)
def test_an_error_in_its_log_is_a_complaint(line: str) -> None:
    log = f"INFO sidecar: serving: inbound\n{line}\n"
    [told] = complaints(0, log)
    assert line in told


def test_a_quiet_end_is_none() -> None:
    log = "INFO sidecar: serving: inbound\nINFO sidecar.app: draining\n"
    assert list(complaints(0, log)) == []
    assert list(complaints(-9, log)) == ["the sidecar ended with exit code -9, not 0"]


@pytest.mark.timeout(60)
async def test_what_a_client_holds_open_is_seen(tmp_path: Path) -> None:
    """The measure itself: a connection and its descriptor, then neither."""
    subject = Subject(tmp_path)
    try:
        await subject.start(origin_port=1)
        before = await subject.settled()
        link = await subject.connect()
        while (await subject.counts()).connections == 0:
            pass
        held = list((await subject.counts()).left_since(before))
        assert "left over: connections 0 -> 1" in held
        link.close()
        assert not any((await subject.until_quiet(before)).left_since(before))
        assert list(await subject.end()) == []
    finally:
        await subject.kill()
