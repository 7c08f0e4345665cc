"""The command line: one file a command, loaded when it is called.

Exit codes: 0 fine, 1 the user's input is wrong, 2 the call is wrong, 3 an answer that
was asked for as a code (`diff --exit-code`).
"""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module

_COMMANDS = {
    "demo": "see it at work: a shop that misbehaves, and the sidecar before it",
    "explain": "show which route a request takes, and why",
    "run": "serve with a configuration file, or in front of one address",
    "iptables": "lead a pod's connections through the sidecar",
    "check": "check a configuration file",
    "diff": "tell what another configuration would change for traffic",
    "export": "print the routes as HTTPRoutes of the Gateway API",
    "top": "see a running sidecar: traffic, breakers, faults, live",
    "faults": "show the catalogue of 316 codes, or follow those that happen",
    "alerts": "print alert rules for Prometheus, or try who is told without",
    "dashboard": "print a dashboard for Grafana",
    "inject": "put the sidecar into Kubernetes manifests",
    "webhook": "serve as the admission webhook that does so",
    "certify": "keep the certificate of that webhook fresh",
    "schema": "print the JSON Schema of the configuration",
}


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the arguments name."""
    try:
        try:
            _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            if sys.stdout is not None:  # It may have been closed.
                sys.stdout.flush()
    except OSError as error:
        if not _is_of_stdout(error):
            raise
        if error.errno != errno.EPIPE:  # Whoever read it has left, and knows.
            sys.stderr.write(f"stdout: {error.strerror}\n")
        _give_up_stdout()
        sys.exit(1)


def _is_of_stdout(error: OSError) -> bool:
    """Tell whether what is printed could not be; other files have a name."""
    return error.errno in (*_FULL, errno.EPIPE) and error.filename is None


def _give_up_stdout() -> None:
    """Let what is left to print go nowhere, or Python would complain at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _run(given: list[str]) -> None:
    if given[:1] == ["--version"]:
        from sidecar import __version__  # noqa: PLC0415 - one option needs it

        _say(f"sidecar {__version__}")
        return
    if not given or given[0] in ("-h", "--help", "help"):
        _say(_help())
        sys.exit(0 if given else 2)
    if given[0] not in _COMMANDS:
        _complain(given[0])
        sys.exit(2)
    import typer  # noqa: PLC0415 - nothing above needs it

    module = import_module(f"sidecar.cli.{given[0]}")
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=getattr(module, "HELP_MARKUP", "rich"),
    )
    app.command()(module.command)
    app(given[1:], prog_name=f"sidecar {given[0]}")


def _help() -> str:
    rows = "\n".join(f"  {name:<10}{text}" for name, text in _COMMANDS.items())
    return (
        "Usage: sidecar COMMAND [OPTIONS]\n\nA sidecar proxy that names every "
        f"failure.\n\n{rows}\n\nExample: sidecar run --upstream 127.0.0.1:8080\n"
        "Each command explains itself with --help."
    )


def _complain(word: str) -> None:
    from rapidfuzz import fuzz, process  # noqa: PLC0415 - only after a mistake

    best = process.extractOne(word, list(_COMMANDS), scorer=fuzz.ratio, score_cutoff=50)
    hint = f"; did you mean {best[0]!r}?" if best else ""
    sys.stderr.write(f"sidecar: no command {word!r}{hint}\nTry sidecar --help.\n")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
