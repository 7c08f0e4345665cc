"""A wire for each test, and after it a look at what was left behind."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.support.wire import FakeWire

if TYPE_CHECKING:
    from collections.abc import Iterator


class MakeWire(Protocol):
    """Makes a wire with keys of its one route, its upstream, the top level."""

    def __call__(
        self,
        *,
        upstream: dict[str, Any] | None = None,
        top: dict[str, Any] | None = None,
        **route: Any,
    ) -> FakeWire: ...


@pytest.fixture
def make(caplog: pytest.LogCaptureFixture) -> Iterator[MakeWire]:
    """Return what makes a wire; what a test leaves behind, or logs, fails it."""
    wires: list[FakeWire] = []

    def make(**keys: Any) -> FakeWire:
        wires.append(FakeWire(**keys))
        return wires[-1]

    yield make
    for wire in wires:
        wire.end()
    errors = [r for r in caplog.get_records("call") if r.levelno >= logging.ERROR]
    assert not errors, errors


@pytest.fixture
def wire(make: MakeWire) -> FakeWire:
    """Return a wire with nothing but defaults."""
    return make()
