"""sidecar check: is a configuration good?"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sidecar import capacity
from sidecar.settings.load import load_file
from sidecar.settings.problem import SettingsError
from sidecar.settings.units import parse_size
from sidecar.upstream.tls import tls_problems


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def command(
    file: Annotated[str, typer.Argument(help="Configuration file (YAML).")],
    *,
    strict: Annotated[
        bool, typer.Option("--strict", help="A warning is an error, too.")
    ] = False,
    memory: Annotated[
        int | None,
        typer.Option(
            parser=_size,
            metavar="SIZE",
            help="Warn of what a pod with this memory limit has no room for: 208MiB.",
        ),
    ] = None,
) -> None:
    """Tell every error with its place; exit 1 if there is one.

    Example: sidecar check config/sidecar.yaml
    """
    try:
        loaded = load_file(file)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n{file}: {_count(len(error.problems), 'error')}\n")
        sys.exit(1)
    settings, snapshot = loaded.settings, loaded.snapshot
    # Of files elsewhere, for this may be another machine than the one that serves.
    elsewhere = tls_problems(snapshot)
    warnings = [
        *map(str, [*loaded.warnings, *elsewhere]),
        *capacity.shortages(snapshot, memory),
    ]
    for warning in warnings:
        sys.stderr.write(f"warning: {warning}\n")
    if strict and warnings:
        sys.stderr.write(f"{file}: {_count(len(warnings), 'warning')}\n")
        sys.exit(1)
    version = snapshot.version
    sys.stdout.write(
        f"{file}: good: {_count(len(settings.routes), 'route')}, "
        f"{_count(len(settings.upstreams), 'upstream')}, version {version}\n"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
