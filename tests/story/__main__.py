"""Plays the day and prints what each way showed: what docs/faults-howto.md tells.

python -m tests.story PICTURE.png
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from tests.page.browser import chromium, looking
from tests.story.day import Day, day
from tests.support.otlp import values_of

RUSH_S = 30


async def _run(*words: str, for_s: float | None = None) -> str:
    """Return what a command of the sidecar prints, for so long."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecar", *words,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if for_s is not None:
        await asyncio.sleep(for_s)
        process.terminate()
    out, _ = await process.communicate()
    return out.decode()


def _show(title: str, text: Any) -> None:
    sys.stdout.write(f"\n=== {title}\n{text}\n")
    sys.stdout.flush()


def _watch(admin: str, path: str, is_time: threading.Event) -> None:
    """Have the page open all the time, and take its picture when it is time."""
    with chromium() as browser, looking(browser, f"{admin}/") as page:
        while not is_time.is_set():
            page.wait_for_timeout(200)
        page.locator("[data-group]").filter(has_text="316-ORDER-SUBMIT-ERR").click()
        page.wait_for_selector(".timeline")
        page.wait_for_timeout(500)
        page.screenshot(path=path)


async def _span(scene: Day, fault_id: str) -> dict[str, Any]:
    span = await scene.span_of(fault_id)
    return {
        "name": span.name,
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "ms": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
        **values_of(span),
    }


async def main(picture: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with day(Path(folder)) as scene:
            await asyncio.sleep(8)
            is_time = threading.Event()
            watching = asyncio.create_task(
                asyncio.to_thread(_watch, scene.admin, picture, is_time)
            )
            await asyncio.sleep(6)
            _show("top, calm", await _run("top", "--once", "--admin", scene.admin))
            scene.promote()
            follow = asyncio.create_task(
                _run("faults", "--follow", "--admin", scene.admin, for_s=6.0)
            )
            first = await scene.told("316-ORDER-SUBMIT-ERR", "firing")
            _show("alert", json.dumps(first, indent=2))
            _show("follow", await follow)
            await asyncio.sleep(RUSH_S)
            _show("top, rush", await _run("top", "--once", "--admin", scene.admin))
            is_time.set()
            await watching
            _show("bodies", json.dumps(scene.oncall.bodies, indent=1))
            for letter in scene.team.letters:
                _show("mail", letter.as_string())
            record = await _curl(f"{scene.admin}/faults/{first['fault_id']}")
            _show("record", record)
            _show("span", json.dumps(await _span(scene, first["fault_id"]), indent=2))
            scene.mend()
            over = await scene.told("316-ORDER-SUBMIT-ERR", "resolved")
            _show("resolved", json.dumps(over, indent=2))
            _show("top, mended", await _run("top", "--once", "--admin", scene.admin))
            _show("events", await _curl(f"{scene.admin}/events?kind=recovery"))
            _show("answers", Counter(scene.clients.statuses))


async def _curl(url: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "curl", "-s", url, stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    return out.decode()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
