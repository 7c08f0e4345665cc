"""sidecar export: routes in the words of others."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Annotated, NoReturn

import typer

from sidecar.kube.documents import dumped
from sidecar.settings.documents import joined
from sidecar.settings.export import exported
from sidecar.settings.load import load_source
from sidecar.settings.problem import SettingsError
from sidecar.settings.source import read_file_documents


class Format(Enum):
    """What is printed."""

    HTTPROUTE = "httproute"


def command(
    config: Annotated[
        str, typer.Option("-c", "--config", help="Configuration file (YAML).")
    ],
    form: Annotated[
        Format, typer.Option("--format", help="HTTPRoutes of the Gateway API.")
    ] = Format.HTTPROUTE,
    namespace: Annotated[
        str | None,
        typer.Option(help="Of the sidecar, if `service` is no NAME.NAMESPACE."),
    ] = None,
    *,
    lossy: Annotated[
        bool, typer.Option("--lossy", help="Print what can be said of them.")
    ] = False,
) -> None:
    """Print the routes of a file as HTTPRoutes; the rest of the file stays in it.

    What no HTTPRoute can say is told on stderr; then nothing is printed, and it exits
    with 1, unless --lossy leaves it out.

    Example: sidecar export -c sidecar.yaml --format httproute --namespace shop
    """
    del form  # There is one.
    try:
        source = joined(read_file_documents(config))
        found = exported(load_source(source).settings, source, namespace)
    except SettingsError as error:
        _fail(str(error))
    except ValueError as error:
        _fail(f"{config}: {error}")
    for problem in found.unsaid:
        sys.stderr.write(f"{'warning: ' if lossy else ''}{problem}\n")
    if found.unsaid and not lossy:
        _fail(f"{config}: nothing is printed; --lossy leaves out what is not said")
    for name in found.left_out:
        sys.stderr.write(f"warning: route {name!r} is left out\n")
    if not found.objects:
        _fail(f"{config}: there is no route that an HTTPRoute can say")
    sys.stdout.write("".join(map(dumped, found.objects)))


def _fail(message: str) -> NoReturn:
    sys.stderr.write(message + "\n")
    sys.exit(1)
