"""`make soak MINUTES=5`: traffic through a sidecar whose origin misbehaves.

Exit code 0: nothing lost, doubled, out of order, unexplained or left over; 1: the
sentences say what was. docs/operations.md tells how to read them.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from tests.soak import report
from tests.soak.chaos import ROOT
from tests.soak.run import Soak

_MOST_MINUTES = 60.0


def main() -> int:
    """Run; return the exit code."""
    arguments = _arguments()
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        sys.stderr.write(f"soak: {folder} holds files already; name an empty folder\n")
        return 2
    code = ROOT / ".venv" / "compiled" if arguments.compiled else None
    if code is not None and not any(code.glob("sidecar/exchange.*.so")):
        sys.stderr.write("soak: nothing is compiled; call `make compile` first\n")
        return 2
    _say(f"soak of {arguments.minutes:g} min, seed {arguments.seed}, logs in {folder}")
    soak = Soak(folder, arguments.seed)
    outcome = asyncio.run(soak.run(60.0 * arguments.minutes, code))
    for line in report.lines(outcome):
        _say(line)
    _say(f"seed {arguments.seed}, logs in {folder}")
    return 1 if outcome.violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument(
        "--minutes", type=_minutes, default=1.0, help=f"up to {_MOST_MINUTES:g}"
    )
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(10**6), help="of all chance"
    )
    parser.add_argument("--folder", help="for the logs; default: a new one")
    parser.add_argument(
        "--compiled", action="store_true", help="soak what `make compile` made"
    )
    return parser.parse_args()


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes <= _MOST_MINUTES:
        msg = f"{text} is not above 0 and at most {_MOST_MINUTES:g}"
        raise argparse.ArgumentTypeError(msg)
    return minutes


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
