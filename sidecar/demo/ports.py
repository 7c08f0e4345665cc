"""Which ports the demo takes: those of demo.yaml, or free ones where they are taken.

Two demos at once, or one beside a sidecar that serves, do not get in each other's way.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

HOST = "127.0.0.1"
OWN = {"inbound": 15006, "health": 15020, "admin": 15000}  # As demo.yaml has them.
SHOP = 18316
NOBODY = 18317


@dataclass(slots=True)
class Ports:
    """The port in use for each one of demo.yaml."""

    used: dict[int, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # For people, a line each.

    def take(self, who: str, wanted: int, used: int) -> None:
        """Note what stands in for the port that demo.yaml has."""
        self.used[wanted] = used
        if used != wanted:
            self.notes.append(f"port {wanted} is taken: {who} uses {used} instead")

    def in_text(self, text: str) -> str:
        """Return demo.yaml with the ports in use."""
        for wanted, used in self.used.items():
            text = text.replace(f"{HOST}:{wanted}", f"{HOST}:{used}")
        return text


def hold_port(wanted: int) -> socket.socket:
    """Bind `wanted`, or a free port if that is taken, and do not listen.

    Whoever connects is refused, and nobody else can come to listen there.
    """
    held = socket.socket()
    try:
        held.bind((HOST, wanted))
    except OSError:
        held.bind((HOST, 0))
    return held


def port_of(held: socket.socket) -> int:
    """Return the port that a socket is bound to."""
    return int(held.getsockname()[1])


def reason_against(port: int) -> str:
    """Return why no server could listen there now; empty if one could."""
    with socket.socket() as probe:
        # As servers do: what a server left behind in TIME_WAIT is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""
