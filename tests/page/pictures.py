"""Makes the pictures of the page that the docs show: `make pictures`.

The demo runs as a newcomer starts it; what fails there fails in the pictures.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tests.page.browser import chromium, looking

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "docs" / "images"
BEFORE_S = 75  # Some groups are no longer new then.


@contextmanager
def demo() -> Iterator[str]:
    """Yield the address of its page."""
    with subprocess.Popen(
        [sys.executable, "-m", "sidecar", "demo", "--for", "300s", "--plain"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                found = re.search(r"In a browser: (http://\S+/)", line)
                if found:
                    yield found[1]
                    return
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with demo() as url, chromium() as browser:
        with looking(browser, url) as page:
            page.wait_for_timeout(BEFORE_S * 1000)
            page.screenshot(path=FOLDER / "page.png")
            page.get_by_role("button", name=re.compile("316-CONN-RESET")).click()
            page.wait_for_selector(".timeline")
            page.locator(".group.open").screenshot(path=FOLDER / "page-fault.png")
            page.keyboard.press("Escape")
            page.get_by_role("button", name="legacy", exact=True).click()
            page.wait_for_timeout(3000)
            page.locator("#routes").screenshot(path=FOLDER / "page-route.png")
        with looking(browser, url, color_scheme="dark") as page:
            page.wait_for_timeout(6000)
            page.screenshot(path=FOLDER / "page-dark.png")


def shrink() -> None:
    """Keep 256 colours: a page has few more, and a clone is fetched often."""
    for path in FOLDER.glob("page*.png"):
        with Image.open(path) as picture:
            few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(path, optimize=True)


if __name__ == "__main__":
    main()
    shrink()
