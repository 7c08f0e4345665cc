"""The check of the application in a sidecar that is a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import psutil

from tests.support.process import LOOK_S, sidecar
from tests.support.proxy import ANYWHERE

if TYPE_CHECKING:
    from pathlib import Path

UPSTREAMS = {"app": {"endpoints": ["127.0.0.1:1"]}}
AT_ONCE = {"lead": "0s", "grace": "10s"}


async def test_a_signal_in_the_midst_of_a_check_and_a_hook_ends_both(
    tmp_path: Path,
) -> None:
    """And quickly: the first check passes, the others hang, and so does the hook."""
    first, began = tmp_path / "first", tmp_path / "began"
    check = f"test -e {first} || {{ touch {first}; exit 0; }}; exec sleep 1000"
    hook = f"echo $$ >{began}; exec sleep 1000"
    application = {
        "command": ["sh", "-c", check],
        "interval": "50ms",
        "timeout": "2s",
        "unhealthy_after": 1,
        "recovery": {"command": ["sh", "-c", hook], "timeout": "10m"},
    }
    health = {"listen": ANYWHERE, "application": application}
    async with sidecar(
        tmp_path, upstreams=UPSTREAMS, health=health, drain=AT_ONCE
    ) as running:
        await running.until(503)
        while not (began.exists() and began.read_text("utf-8")):
            await asyncio.sleep(LOOK_S)
        left = psutil.Process(running.process.pid).children(recursive=True)
        assert left
        running.process.send_signal(signal.SIGTERM)
        await running.process.communicate()
        assert running.process.returncode == 0
        assert not [process for process in left if process.is_running()]


async def test_a_reload_that_is_asked_for_too_early_ends_nothing(
    tmp_path: Path,
) -> None:
    """While the file is read for the first time: SIGHUP would end a process."""
    file = tmp_path / "sidecar.yaml"
    os.mkfifo(file)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sidecar", "run", "-c", str(file)),
        stderr=asyncio.subprocess.PIPE,
    )
    # Opened once the other side reads.
    written = await asyncio.to_thread(file.open, "w", encoding="utf-8")
    process.send_signal(signal.SIGHUP)
    with written:
        written.write("service: [\n")
    _, words = await process.communicate()
    assert process.returncode == 1, words
    assert b"sidecar.yaml:" in words
