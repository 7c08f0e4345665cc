"""sidecar inject: put the sidecar into manifests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sidecar.cli.ending import fail
from sidecar.kube.documents import rewrite
from sidecar.kube.options import NAMES, InjectionError, Options
from sidecar.kube.workloads import Changed, inject_object, uninject_object

SET_HELP = (
    "NAME=VALUE, for pods whose annotation sidecar.316/NAME does not say otherwise: "
    + ", ".join(NAMES)
    + "."
)


def command(
    file: Annotated[
        str, typer.Option("-f", "--file", help="Manifests (YAML); - is stdin.")
    ],
    given: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help=SET_HELP)
    ] = None,
    *,
    uninject: Annotated[
        bool, typer.Option("--uninject", help="Take the sidecar out again.")
    ] = False,
) -> None:
    """Print manifests with a sidecar in each pod; the rest stays as it is.

    What was done goes to stderr. If anything is wrong, nothing is printed.

    Example: sidecar inject -f deploy.yaml --set image=registry.example/sidecar-316:1
    | kubectl apply -f -
    """
    try:
        options = options_of(given or [])
    except InjectionError as error:
        fail(f"--set {error}", code=2)

    def change(value: object) -> Changed:
        return uninject_object(value) if uninject else inject_object(value, options)

    shown = "stdin" if file == "-" else file
    try:
        text, notes = rewrite(_read(file), change)
    except InjectionError as error:
        fail(f"{shown}: {error}")
    except UnicodeDecodeError:
        fail(f"{shown}: not UTF-8")
    except (OSError, ValueError) as error:  # A path with a NUL is a ValueError.
        fail(f"{shown}: {getattr(error, 'strerror', None) or error}")
    for note in notes or ("nothing here has pods",):
        sys.stderr.write(f"{shown}: {note}\n")
    sys.stdout.write(text)


def options_of(given: list[str]) -> Options:
    """Return the options of some `--set NAME=VALUE`.

    Raises:
        InjectionError: One of them is wrong.
    """
    pairs = [word.partition("=") for word in given]
    for name, mark, _ in pairs:
        if not mark:
            msg = f"{name}: write it as NAME=VALUE"
            raise InjectionError(msg)
    return Options().changed({name: value for name, _, value in pairs})


def _read(file: str) -> str:
    data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    return data.decode("utf-8-sig")
