"""sidecar check: is a configuration good?"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sidecar.settings.load import load_file
from sidecar.settings.problem import SettingsError


def command(
    file: Annotated[str, typer.Argument(help="Configuration file (YAML).")],
    *,
    strict: Annotated[
        bool, typer.Option("--strict", help="A warning is an error, too.")
    ] = False,
) -> None:
    """Tell every error with its place; exit 1 if there is one.

    Example: sidecar check config/sidecar.yaml
    """
    try:
        loaded = load_file(file)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n{file}: {_count(len(error.problems), 'error')}\n")
        sys.exit(1)
    for warning in loaded.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    if strict and loaded.warnings:
        sys.stderr.write(f"{file}: {_count(len(loaded.warnings), 'warning')}\n")
        sys.exit(1)
    settings, version = loaded.settings, loaded.snapshot.version
    sys.stdout.write(
        f"{file}: good: {_count(len(settings.routes), 'route')}, "
        f"{_count(len(settings.upstreams), 'upstream')}, version {version}\n"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
