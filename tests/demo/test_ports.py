"""A port that is taken gives way to a free one."""

from __future__ import annotations

import socket
from importlib.resources import files
from pathlib import Path

import pytest

from sidecar.demo import ports
from sidecar.settings.load import load_text

ROOT = Path(__file__).parents[2]
TEXT = files("sidecar.demo").joinpath("demo.yaml").read_text(encoding="utf-8")


def test_the_demo_runs_the_file_that_is_shown_in_config() -> None:
    assert (ROOT / "config" / "demo.yaml").read_text(encoding="utf-8") == TEXT


def test_the_ports_are_those_of_the_file() -> None:
    loaded = load_text(TEXT)
    snapshot = loaded.snapshot
    assert not loaded.warnings
    (inbound,) = snapshot.listeners
    assert {
        "inbound": inbound.port,
        "health": snapshot.health[1],
        "admin": snapshot.admin[1],
    } == ports.OWN
    assert snapshot.upstreams["shop"].endpoints[0].port == ports.SHOP
    assert snapshot.upstreams["gone"].endpoints[0].port == ports.NOBODY


def test_whatever_is_taken_is_replaced_everywhere_and_told() -> None:
    chosen = ports.Ports()
    chosen.take("the shop", ports.SHOP, 40001)
    chosen.take("what refuses", ports.NOBODY, ports.NOBODY)
    upstreams = load_text(chosen.in_text(TEXT)).snapshot.upstreams
    assert upstreams["shop"].endpoints[0].port == 40001
    assert [e.port for e in upstreams["pair"].endpoints] == [40001, ports.NOBODY]
    assert chosen.notes == [f"port {ports.SHOP} is taken: the shop uses 40001 instead"]


def test_where_nobody_listens_everybody_is_refused_and_nobody_else_can_come() -> None:
    with ports.hold_port(0) as held, ports.hold_port(ports.port_of(held)) as other:
        port = ports.port_of(held)
        assert ports.port_of(other) != port
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((ports.HOST, port), timeout=5)
        assert ports.reason_against(port) == "Address already in use"
    assert ports.reason_against(port) == ""
