"""The live view fits its terminal, from small to large."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from sidecar.demo.hints import hints
from sidecar.demo.numbers import NO_ROUTE, Met, Row
from sidecar.demo.view import picture
from sidecar.faults.catalogue import FaultCode

NAMES = ["catalogue", "prices", "orders", "report", "stock", "payments", "legacy"]
STATES = ["closed", "half_open", "open", "off"]
ROWS = [
    Row(name, STATES[i % 4], 123_456, 12_345, 1_234, 0.021, 9.999)
    for i, name in enumerate([*NAMES, "events"])
] + [Row(NO_ROUTE)]
HINTS = hints(*(f"http://127.0.0.1:{port}" for port in (65535, 65534, 65533)))


def record(code: FaultCode, route: str) -> dict[str, Any]:
    spec = code.spec
    return {
        "code": spec.code,
        "severity": spec.severity.name,
        "route": route,
        "status": spec.status,
        "fix": spec.fix,
    }


MET = [Met(7, record(code, "legacy")) for code in list(FaultCode)[:20]]


def drawn(width: int, height: int, met: list[Met], *, color: bool = False) -> list[str]:
    system = "standard" if color else None
    console = Console(
        width=width,
        height=height,
        file=StringIO(),
        force_terminal=True,
        color_system=system,  # type: ignore[arg-type]  # A literal of theirs.
    )
    with console.capture() as captured:
        console.print(picture(ROWS, met, HINTS, 3661.0, (width, height)))
    return captured.get().splitlines()


@pytest.mark.parametrize(
    "size", [(80, 24), (80, 25), (100, 30), (120, 40), (240, 80), (40, 12), (20, 5)]
)
@pytest.mark.parametrize("met", [MET, MET[:1], []], ids=["many", "one", "none"])
def test_nothing_is_wider_or_higher_than_the_terminal(
    size: tuple[int, int], met: list[Met]
) -> None:
    lines = drawn(*size, met)
    assert max(map(cell_len, lines)) <= size[0]
    assert len(lines) <= max(size[1], 2 + len(ROWS))  # The screen cuts the rest.


def test_80_by_24_has_routes_breakers_faults_with_their_fix_and_commands() -> None:
    lines = drawn(80, 24, MET)
    text = "\n".join(lines)
    for row in ROWS:
        assert any(line.startswith(row.name) for line in lines)
    for words in ("closed", "half open", "open", "123456", "90%", "21 ms", "9999 ms"):
        assert words in text
    for met in MET[:2]:
        assert met.record["code"] in text
        assert met.record["fix"][:70] in text
    for hint in HINTS[:4]:
        assert hint.command in text


def test_a_large_terminal_has_every_command_and_what_it_shows() -> None:
    text = "\n".join(drawn(120, 45, MET))
    for hint in HINTS:
        assert hint.command in text
        assert hint.shows in text


def test_breakers_have_the_colour_of_a_traffic_light() -> None:
    text = "\n".join(drawn(80, 24, [], color=True))
    assert "\x1b[32mclosed" in text
    assert "\x1b[33mhalf open" in text
    assert "\x1b[1;31mopen" in text
