"""What is done to help an application that is unhealthy: a request, or a command."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import ClientError
from yarl import URL

from sidecar.health.probes import fields_of, new_session, words_of
from sidecar.settings.application import CommandCheck, HttpHook

if TYPE_CHECKING:
    from sidecar.health.commands import Commands
    from sidecar.settings.application import Recovery

_REASON: Final = "SIDECAR_CHECK_REASON"  # In the environment of a command.
_SUCCESS: Final = range(200, 400)


@dataclass(frozen=True, slots=True)
class Helped:
    """What came of it."""

    is_good: bool
    detail: str


async def run_hook(recovery: Recovery, reason: str, commands: Commands) -> Helped:
    """Do it once, within its time; what goes wrong is returned.

    Args:
        recovery: What to do.
        reason: Why, for who is asked.
        commands: Runs what is a command.
    """
    act = recovery.act
    try:
        if isinstance(act, CommandCheck):
            told = {_REASON: reason}
            ended = await commands.run(act.words, recovery.timeout_s, told)
            return Helped(ended.code == 0, str(ended))
        async with asyncio.timeout(recovery.timeout_s):
            return await _call(act)
    except TimeoutError:
        return Helped(False, f"no answer within {recovery.timeout_s:g} s")
    except (ClientError, OSError, ValueError) as error:
        return Helped(False, words_of(error))


async def _call(act: HttpHook) -> Helped:
    async with (
        new_session() as session,
        session.request(
            act.method, URL(act.url), headers=fields_of(act.headers), data=b"",
            allow_redirects=False,
        ) as answer,
    ):  # fmt: skip
        return Helped(answer.status in _SUCCESS, f"answered {answer.status}")
