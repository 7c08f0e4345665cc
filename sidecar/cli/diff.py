"""sidecar diff: what would another configuration change for traffic?"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sidecar.settings.differences import differences
from sidecar.settings.load import Loaded, load_file
from sidecar.settings.problem import SettingsError


def command(
    old: Annotated[str, typer.Argument(help="Configuration file in force (YAML).")],
    new: Annotated[str, typer.Argument(help="The one that is to be.")],
    *,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 3 if there is a difference.")
    ] = False,
) -> None:
    """Tell in words what a reload would change; an order or a comment is nothing.

    Example: sidecar diff sidecar.yaml sidecar.new.yaml
    """
    changes = differences(_loaded(old).snapshot, _loaded(new).snapshot)
    for change in changes:
        sys.stdout.write(f"{change}\n")
    if not changes:
        sys.stdout.write("no difference for traffic\n")
    if changes and exit_code:
        sys.exit(3)


def _loaded(path: str) -> Loaded:
    try:
        return load_file(path)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
