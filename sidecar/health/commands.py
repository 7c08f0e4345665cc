"""A command of the configuration: run without a shell, bounded in time and output.

It leads a process group of its own, which is killed as a whole when time is up or
when whoever waits for it is cancelled. What ends by itself may leave others behind: a
hook may have started the application.
"""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import Process
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.admin.token import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_BYTES: Final = 300
_PIECE_BYTES: Final = 4096
_DRAIN_S: Final = 0.1  # For the last words of one that has ended.


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int | None  # Below 0: minus the signal that ended it; None: time was up.
    output: str  # The beginning of what it said on stdout and stderr.

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.how}: {self.output}" if self.output else self.how

    @property
    def how(self) -> str:
        """Return it in words, without what it said."""
        if self.code is None:
            return "did not end in time, and was killed"
        if self.code < 0:
            return f"was ended by signal {-self.code}"
        return f"ended with {self.code}"


class Commands:
    """Runs commands, and leaves no process of one that was killed behind."""

    def __init__(self) -> None:
        self._killed: set[int] = set()  # Groups of which something may be left.

    async def run(
        self,
        words: tuple[str, ...],
        timeout_s: float,
        told: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run a command to its end, or to that of its time.

        Args:
            words: The program and its arguments.
            timeout_s: It is killed then.
            told: Variables of its environment, beside those of this process.

        Raises:
            OSError: It cannot be started.
        """
        self.reap()
        process = await self._start(words, told or {})
        kept = bytearray()
        reading = asyncio.create_task(_read(process, kept))
        is_killed = True
        try:
            async with asyncio.timeout(timeout_s):
                code: int | None = await process.wait()
            is_killed = False
        except TimeoutError:
            code = None
        finally:
            if is_killed:
                self._kill(process.pid)
            await _close(process, reading)
            self.reap()
        return Ended(code, _words(kept))

    async def _start(self, words: tuple[str, ...], told: Mapping[str, str]) -> Process:
        """Start a command; who is cancelled meanwhile has started none.

        It may run already when that is not known here yet.
        """
        starting = asyncio.create_task(_spawn(words, told))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            (started,) = await asyncio.gather(starting, return_exceptions=True)
            if isinstance(started, Process):
                self._kill(started.pid)
                await _close(started, asyncio.create_task(_read(started, bytearray())))
            raise

    def reap(self) -> None:
        """Let the system forget who was killed, where it is ours to do so.

        Children of a command become ours when this is process 1 of a container.
        """
        for group in [*self._killed]:
            try:
                while os.waitpid(-group, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                self._killed.discard(group)

    def _kill(self, group: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        self._killed.add(group)


async def _spawn(words: tuple[str, ...], told: Mapping[str, str]) -> Process:
    return await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=_environment(told),
        start_new_session=True,
    )


async def _close(process: Process, reading: asyncio.Task[None]) -> None:
    """Wait for the end of a process; its pipe may be held by others for longer."""
    await process.wait()
    await asyncio.wait((reading,), timeout=_DRAIN_S)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    transport = getattr(process, "_transport", None)  # Else the pipe stays open.
    if transport is not None:
        transport.close()


async def _read(process: Process, kept: bytearray) -> None:
    """Read all, so that nobody waits for it to be read; keep the beginning."""
    assert process.stdout is not None  # noqa: S101 - for the type checker
    while piece := await process.stdout.read(_PIECE_BYTES):
        kept += piece[: _MOST_BYTES - len(kept)]


def _words(kept: bytearray) -> str:
    """Return an output in a line that is safe to log."""
    text = " ".join(kept.decode("utf-8", "replace").split())
    return "".join(char if char.isprintable() else "?" for char in text)


def _environment(told: Mapping[str, str]) -> dict[str, str]:
    """Return what a command may know: not the token of the admin API."""
    known = {name: value for name, value in os.environ.items() if name != VARIABLE}
    return known | dict(told)
