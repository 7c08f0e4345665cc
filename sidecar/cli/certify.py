"""sidecar certify: keep the webhook's certificate fresh."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from typing import Annotated

import typer

from sidecar.cli.ending import fail
from sidecar.settings.units import parse_duration

_DAY_S = 86_400
_SECRET = re.compile(r"([a-z0-9-]{1,63})/([a-z0-9.-]{1,253})")
_NAME = re.compile(r"[a-z0-9.-]{1,253}")


def command(
    secret: Annotated[
        str, typer.Option(metavar="NAMESPACE/NAME", help="Where it is kept.")
    ] = "sidecar-316/sidecar-webhook",  # noqa: S107 - the name of one
    webhook: Annotated[
        str, typer.Option(metavar="NAME", help="The MutatingWebhookConfiguration.")
    ] = "sidecar-316",
    valid: Annotated[str, typer.Option(help="How long one lasts.")] = "2160h",
    renew_before: Annotated[
        str, typer.Option(help="Make another one when so much is left.")
    ] = "720h",
    account: Annotated[
        str, typer.Option(metavar="FOLDER", help="With token and ca.crt.")
    ] = "/var/run/secrets/kubernetes.io/serviceaccount",
) -> None:
    """Make the webhook's certificate if it is missing or ends soon; else do nothing.

    Runs in a pod, and needs openssl. It writes the Secret, and the caBundle by which
    the API server believes the webhook; the old one is believed until it ends.

    Example: sidecar certify --secret sidecar-316/sidecar-webhook
    """
    place = _SECRET.fullmatch(secret)
    if place is None:
        fail(f"--secret: {secret!r} is not NAMESPACE/NAME", code=2)
    if _NAME.fullmatch(webhook) is None:
        fail(f"--webhook: {webhook!r} is not the name of an object", code=2)
    valid_s, before_s = (
        _duration("valid", valid),
        _duration("renew-before", renew_before),
    )
    if valid_s < _DAY_S or before_s >= valid_s:
        fail("--valid: a day at least, and longer than --renew-before", code=2)
    asyncio.run(_run((place[1], place[2]), webhook, (valid_s, before_s), account))


async def _run(
    secret: tuple[str, str], webhook: str, times_s: tuple[float, float], account: str
) -> None:
    from sidecar.clock import LoopClock  # noqa: PLC0415 - --help does not need it
    from sidecar.kube.account import Account, AccountError  # noqa: PLC0415 - likewise
    from sidecar.kube.certifying import (  # noqa: PLC0415 - likewise
        CertifyingError,
        Plan,
        certify,
    )
    from sidecar.kube.self_signed import OpensslError  # noqa: PLC0415 - likewise

    clock = LoopClock(asyncio.get_running_loop())
    try:
        objects = Account(account, os.environ)
        told = await certify(objects, Plan(*secret, webhook, *times_s), clock)
    except (AccountError, CertifyingError, OpensslError) as error:
        fail(f"certify: {error}")
    for sentence in told:
        sys.stderr.write(f"certify: {sentence}\n")


def _duration(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        fail(f"--{option}: {error}", code=2)
