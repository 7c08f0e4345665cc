"""sidecar faults: the catalogue, an entry of it, or the faults of a sidecar, live."""

from __future__ import annotations

import json
import random
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sidecar.cli.admin_options import ADMIN, Admin, Socket, TokenFile, ask, place_of
from sidecar.cli.ending import fail
from sidecar.faults.catalogue import FaultCode, find, proxy_error_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.terminal.client import Place


def command(  # noqa: PLR0917 - typer calls it by name
    code: Annotated[
        str | None, typer.Argument(help="Such as 316-CONN-REFUSED.")
    ] = None,
    follow: Annotated[  # noqa: FBT002 - a flag of the command line
        bool,
        typer.Option(
            "--follow", "-f", help="Tell what a running sidecar meets, as it happens."
        ),
    ] = False,
    severity: Annotated[
        str | None, typer.Option(help="Follow: of this one, P0 to P3.")
    ] = None,
    route: Annotated[str | None, typer.Option(help="Follow: of this route.")] = None,
    upstream: Annotated[
        str | None, typer.Option(help="Follow: of this upstream.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Follow: from 15m ago, or from 2026-01-31T12:00:00Z; else the last 10."
        ),
    ] = None,
    as_json: Annotated[  # noqa: FBT002 - likewise
        bool, typer.Option("--json", help="Follow: the whole record, one a line.")
    ] = False,
    only_code: Annotated[
        str | None, typer.Option("--code", help="Follow: of this code.")
    ] = None,
    admin: Admin = ADMIN,
    socket: Socket = "",
    token_file: TokenFile = "",
) -> None:
    """Show the catalogue of 316 codes, or one of them; or follow those that happen.

    Example: sidecar faults 316-CONN-STALE

    Example: sidecar faults --follow --severity P1
    """
    given = {"severity": severity, "route": route, "upstream": upstream}
    query = {name: value for name, value in given.items() if value is not None}
    if not follow:
        if query or since or as_json or only_code:
            fail("faults: that option goes with --follow only", code=2)
        _show(code)
        return
    if wanted := only_code or code:
        query["code"] = _full_name(wanted)
    if severity is not None:
        query["severity"] = severity.upper()
    place = place_of(admin, socket, token_file)
    ask("faults", _follow(place, query, since or "", _teller(as_json=as_json)))


async def _follow(
    place: Place,
    query: dict[str, str],
    since: str,
    tell: Callable[[dict[str, Any]], None],
) -> None:
    from sidecar.terminal.client import AdminClient  # noqa: PLC0415 - aiohttp is heavy
    from sidecar.terminal.follow import Follower  # noqa: PLC0415 - likewise

    rng = random.Random()  # noqa: S311 - for waits, no secret
    async with AdminClient(place) as client:
        await Follower(client, query, since, tell=tell, note=_note, rng=rng).run()


def _teller(*, as_json: bool) -> Callable[[dict[str, Any]], None]:
    """Return what prints a record."""
    if as_json:
        return lambda record: _say(json.dumps(record))
    from rich.console import Console  # noqa: PLC0415 - rich is heavy

    from sidecar.terminal.line import line_of  # noqa: PLC0415 - likewise

    console = Console(highlight=False)

    def tell(record: dict[str, Any]) -> None:
        with console.capture() as captured:  # Its own way to end is not ours.
            console.print(line_of(record), soft_wrap=True, end="")
        _say(captured.get())

    return tell


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # Whoever reads it by a pipe reads it now.


def _note(text: str) -> None:
    sys.stderr.write(f"faults: {text}\n")


def _show(code: str | None) -> None:
    if code is None:
        for entry in FaultCode:
            spec = entry.spec
            status = spec.status or "-"
            row = f"{spec.code:<30}{spec.severity.name}  {status:<5}{spec.title}\n"
            sys.stdout.write(row)
        return
    name = _full_name(code)
    found = find(name)
    if found is None:
        _complain(name)
    else:
        sys.stdout.write(_entry(found))


def _full_name(code: str) -> str:
    return code.upper() if code.upper().startswith("316-") else f"316-{code.upper()}"


def _entry(code: FaultCode) -> str:
    spec = code.spec
    rows = {
        "code": spec.code,
        "title": spec.title,
        "severity": f"{spec.severity.name}: {spec.severity.value}",
        "layer": spec.layer.value,
        "trigger": spec.trigger.value,
        "HTTP status": spec.status or "as it came",
        "gRPC status": spec.grpc_status,
        "retry": spec.replay.value,
        "Proxy-Status": proxy_error_of(spec) or "-",
        "Envoy flag": spec.envoy_flag or "-",
        "meaning": spec.cause,
        "fix": spec.fix,
    }
    return "".join(f"{name:<14}{value}\n" for name, value in rows.items())


def _complain(name: str) -> None:
    from rapidfuzz import fuzz, process  # noqa: PLC0415 - only after a mistake

    known = [entry.spec.code for entry in FaultCode]
    best = process.extractOne(name, known, scorer=fuzz.ratio, score_cutoff=50)
    hint = f"; did you mean {best[0]}?" if best else ""
    fail(f"no code {name}{hint}")
