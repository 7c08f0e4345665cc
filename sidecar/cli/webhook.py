"""sidecar webhook: put the sidecar into pods as they are created."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sidecar.cli.ending import fail
from sidecar.cli.inject import SET_HELP, options_of
from sidecar.kube.certificates import CertificateError, Certificates
from sidecar.kube.options import InjectionError, Options
from sidecar.settings.units import parse_address, parse_duration

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Address


def command(  # noqa: PLR0917 - typer calls it by name
    cert: Annotated[
        str, typer.Option(metavar="FILE", help="Certificate and its chain (PEM).")
    ],
    key: Annotated[str, typer.Option(metavar="FILE", help="Its key (PEM).")],
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS", help="For the API server, with TLS.")
    ] = "0.0.0.0:8443",
    health: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Health and metrics, without.")
    ] = "0.0.0.0:15020",
    lead: Annotated[
        str, typer.Option(help="Serve on for so long after SIGTERM, not ready.")
    ] = "5s",
    given: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help=SET_HELP)
    ] = None,
) -> None:
    """Serve as a mutating admission webhook: the same patch as sidecar inject.

    The files of the certificate are looked at each second, and loaded when changed.

    Example: sidecar webhook --cert /tls/tls.crt --key /tls/tls.key
    """
    try:
        options = options_of(given or [])
        places = parse_address(listen), parse_address(health)
        lead_s = parse_duration(lead)
    except (InjectionError, ValueError) as error:
        fail(f"webhook: {error}", code=2)
    try:
        certificates = Certificates(cert, key)
    except CertificateError as error:
        fail(f"webhook: {error}")
    from sidecar.record.own_log import install  # noqa: PLC0415 - once all is good

    install(sys.stderr, "INFO")
    asyncio.run(_run(options, certificates, places, lead_s))


async def _run(
    options: Options,
    certificates: Certificates,
    places: tuple[Address, Address],
    lead_s: float,
) -> None:
    from sidecar.accept.listener import ListenError  # noqa: PLC0415 - likewise
    from sidecar.clock import LoopClock  # noqa: PLC0415 - --help does not need it
    from sidecar.kube.webhook import Places, Webhook  # noqa: PLC0415 - likewise

    webhook = Webhook(options, certificates, LoopClock(asyncio.get_running_loop()))
    try:
        await webhook.start(Places(*places))
    except ListenError as error:
        fail(str(error))
    told = ", ".join(
        f"{name} {host}:{port}" for name, (host, port) in webhook.addresses.items()
    )
    logging.getLogger("sidecar").info("serving: %s", told)
    await webhook.run(lead_s)
