"""sidecar demo: see it at work, with nothing else installed."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sidecar.settings.units import parse_duration


def command(
    for_: Annotated[
        str | None, typer.Option("--for", help="End after so long, such as 10s.")
    ] = None,
    plain: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--plain", help="Without a live view.")
    ] = False,
) -> None:
    """Run a shop that misbehaves on purpose, with the sidecar before it.

    Example: sidecar demo --for 10s --plain
    """
    try:
        for_s = None if for_ is None else parse_duration(for_)
    except ValueError as error:
        sys.stderr.write(f"--for: {error}\n")
        sys.exit(2)
    import uvloop  # noqa: PLC0415 - --help does not need it

    from sidecar.accept.listener import ListenError  # noqa: PLC0415
    from sidecar.demo.show import show  # noqa: PLC0415

    try:
        uvloop.run(show(for_s, is_plain=plain or not sys.stdout.isatty()))
    except (ListenError, OSError) as error:
        sys.stderr.write(f"demo: {error}\n")
        sys.exit(1)
