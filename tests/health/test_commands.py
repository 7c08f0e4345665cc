"""Commands are bounded in time and output, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import psutil
import pytest

from sidecar.admin.token import VARIABLE
from sidecar.health.commands import Commands

if TYPE_CHECKING:
    from pathlib import Path

LOOK_S = 0.01


def shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def is_running(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


async def until_gone(pid: int) -> None:
    while is_running(pid):
        await asyncio.sleep(LOOK_S)


async def pid_in(file: Path) -> int:
    while (text := text_of(file))[-1:] != "\n":
        await asyncio.sleep(LOOK_S)
    return int(text)


def text_of(file: Path) -> str:
    return file.read_text("utf-8") if file.exists() else ""


async def test_the_code_and_the_output_are_told() -> None:
    ended = await Commands().run(shell("echo out; echo err >&2; exit 3"), 5.0)
    assert (ended.code, ended.output) == (3, "out err")
    assert str(ended) == "ended with 3: out err"


async def test_a_long_output_is_read_and_cut() -> None:
    """What is not read would hold the command up."""
    ended = await Commands().run(shell("yes | head -c 1000000"), 20.0)
    assert ended.code == 0
    assert 100 < len(ended.output) <= 300


async def test_what_would_forge_a_line_of_the_log_is_shown_as_a_mark() -> None:
    ended = await Commands().run(shell(r"printf 'a\nb\033[31mc\377'"), 5.0)
    assert ended.output == "a b?[31mc\N{REPLACEMENT CHARACTER}"


async def test_time_that_is_up_ends_the_whole_group(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    script = f"sleep 1000 & echo $! >{file}; wait"
    ended = await Commands().run(shell(script), 2.0)
    assert ended.code is None
    assert "did not end in time" in str(ended)
    await until_gone(await pid_in(file))


async def test_who_stops_waiting_ends_it(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    script = f"sleep 1000 & echo $! >{file}; wait"
    waiting = asyncio.create_task(Commands().run(shell(script), 1000.0))
    pid = await pid_in(file)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until_gone(pid)


async def test_what_it_leaves_running_lives_on_and_holds_nobody_up(
    tmp_path: Path,
) -> None:
    """A hook may have started the application, which has its output, too."""
    file = tmp_path / "pid"
    ended = await Commands().run(shell(f"sleep 1000 & echo $! >{file}"), 20.0)
    pid = await pid_in(file)
    try:
        assert ended.code == 0
        assert is_running(pid)
    finally:
        os.kill(pid, 9)


async def test_the_token_of_the_admin_api_is_not_for_commands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "a secret")
    script = f'test -z "${VARIABLE}" && echo "$WHY"'
    ended = await Commands().run(shell(script), 5.0, {"WHY": "it fails"})
    assert (ended.code, ended.output) == (0, "it fails")


async def test_a_program_that_is_not_there_is_an_error_of_the_system() -> None:
    with pytest.raises(FileNotFoundError):
        await Commands().run(("/no/such/program",), 5.0)


def test_nothing_is_left_undead_where_orphans_are_ours(tmp_path: Path) -> None:
    """As in a container, where the sidecar is process 1."""
    file = tmp_path / "pid"
    program = f"""
        import asyncio, ctypes, os, time
        from sidecar.health.commands import Commands

        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER

        async def main():
            commands = Commands()
            script = "sleep 1000 & echo $! >{file}; wait"
            await commands.run(("sh", "-c", script), 2.0)
            pid = int(open("{file}").read())
            while os.path.exists(f"/proc/{{pid}}"):  # A zombie is there, too.
                await asyncio.sleep(0.01)
                commands.reap()

        asyncio.run(main())
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=30
    )


@pytest.mark.parametrize("turns", range(8))
async def test_who_leaves_while_it_starts_leaves_nothing(
    tmp_path: Path, turns: int
) -> None:
    """Whenever that is: it may run before this is known here."""
    file = tmp_path / "pid"
    script = f"sleep 1000 & echo $! >{file}; wait"
    waiting = asyncio.create_task(Commands().run(shell(script), 1000.0))
    for _ in range(turns):
        await asyncio.sleep(0)
    if turns == 7:
        await pid_in(file)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if text := text_of(file).strip():
        await until_gone(int(text))
