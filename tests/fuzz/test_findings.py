"""What fuzzing and the differential test have found, so that it stays found."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from sidecar.settings.load import load_text
from sidecar.settings.problem import SettingsError
from tests.support.wire import FakeWire, get

if TYPE_CHECKING:
    from types import FrameType

_WRONG = """
upstreams: {app: {endpoints: ["10.0.0.1:80"]}}
routes:
  - &wrong
    {name: a, upstream: app, filters: [3, 4, {type: x}], matches: [{path: 3}], retry: 3}
"""


@pytest.mark.parametrize("blank", ["\t", "\t ", " \t\t"])
def test_a_length_goes_on_as_all_readers_take_it(blank: str) -> None:
    """Tabs around it are allowed; nginx, for one, refuses them, and one may guess."""
    wire = FakeWire()
    wire.client().send(get("/", f"Content-Length:{blank}3{blank}", method="PUT"))
    wire.client().send(get("/", f"Content-Length:{blank}3{blank}", method="PUT"))
    for origin in wire.origins:
        assert b"\r\nContent-Length: 3\r\n" in origin.received
    assert len(wire.origins) == 2
    wire.end()


def calls_to_load(text: str) -> int:
    """Return how many calls it takes to find a file's problems."""
    count = 0

    def called(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        with pytest.raises(SettingsError):
            load_text(text)
    finally:
        sys.setprofile(before)
    return count


def test_a_file_with_many_mistakes_costs_no_more_for_each_of_them() -> None:
    """A small file of aliases can have thousands: it took minutes to say so."""
    calls_to_load(_WRONG)  # What is done once is done.
    few, many = (calls_to_load(_WRONG + "  - *wrong\n" * n) for n in (40, 160))
    assert many < 5 * few
