"""The commands that the demo suggests, and what each will show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hint:
    """A command line for a shell, and what comes of it."""

    command: str
    shows: str

    def __str__(self) -> str:
        """Return it so that it can be pasted, comment and all."""
        return f"{self.command}  # {self.shows}"


def hints(base: str, health: str, admin: str) -> list[Hint]:
    """Return what to try, the best first.

    Args:
        base: URL of the inbound listener, without a path.
        health: That of the health server.
        admin: That of the admin server.
    """
    return [
        Hint(f"curl -i {base}/prices", "30 % of tries fail; yet 200: tried again"),
        Hint(f"curl -i {base}/legacy", "502, then 503 316-CIRCUIT-OPEN"),
        Hint(f"curl -i -X POST {base}/orders", "200, or 503 316-ORDER-SUBMIT-ERR"),
        Hint(f"curl -s '{admin}/faults?limit=1'", "the last failure, in full"),
        Hint(f"curl -i {base}/report", "200, or 504 316-TIMEOUT-ERR over 400 ms"),
        Hint(f"curl -i -X POST {base}/payments", "502 316-CONN-RESET, not tried again"),
        Hint(
            f"curl -i -H 'Accept: text/plain' {base}/nowhere",
            "404 316-ROUTE-NOT-FOUND",
        ),
        Hint(f"curl -N {base}/events", "a stream of five ticks"),
        Hint(f"curl -s {admin}/breakers", "the state of each breaker"),
        Hint(f"curl -s {health}/metrics", "for Prometheus"),
    ]
