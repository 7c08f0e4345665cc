"""sidecar check: is a configuration good?"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sidecar.settings.load import load_file
from sidecar.settings.problem import SettingsError


def command(
    file: Annotated[str, typer.Argument(help="Configuration file (YAML).")],
) -> None:
    """Tell every error with its place; exit 1 if there is one.

    Example: sidecar check config/sidecar.yaml
    """
    try:
        loaded = load_file(file)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        count = len(error.problems)
        sys.stderr.write(f"{file}: {count} error{'s' if count > 1 else ''}\n")
        sys.exit(1)
    for warning in loaded.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    snapshot = loaded.snapshot
    sys.stdout.write(
        f"{file}: good: {len(snapshot.routes)} routes, "
        f"{len(snapshot.upstreams)} upstreams, version {snapshot.version}\n"
    )
