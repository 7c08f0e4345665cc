"""Show where nginx, HAProxy and the sidecar differ: `python -m tests.differential`.

For each request: its status and how many requests went on, by proxy. "all" as an
argument shows the rows that all agree on, too.
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from tests.differential.peers import MISSING, NAMES, Outcome, Peers
from tests.differential.rows import ROWS


def main(arguments: list[str]) -> int:
    """Print the table; return the exit code."""
    if MISSING:
        sys.stderr.write(f"differential: not installed: {', '.join(MISSING)}\n")
        return 2
    table = Table("request", *NAMES, title="status -> requests that went on")
    with Peers.running() as peers:
        outcomes = {name: peers.ask(raw) for name, raw in ROWS.items()}
    for name, outcome in outcomes.items():
        cells = [_cell(outcome[peer]) for peer in NAMES]
        if "all" in arguments or len(set(cells)) > 1:
            table.add_row(name, *cells)
    Console(width=120).print(table)
    return 0


def _cell(outcome: Outcome) -> str:
    statuses = " ".join(map(str, outcome.statuses)) or "-"
    sent = [
        f"{request.method.decode('latin-1')} {request.target.decode('latin-1')[:12]}"
        + (f" +{len(request.body)}" if request.body else "")
        for request in outcome.requests
    ]
    return f"{statuses} -> {', '.join(sent) or 'nothing'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
