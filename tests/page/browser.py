"""Headless Chromium before the page, and a program whose requests fail on purpose."""

from __future__ import annotations

import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import sync_playwright

from sidecar.admin.page import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MARKS = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
    pytest.mark.skipif(load() is None, reason="`make page` was not run"),
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("page"),  # One browser is enough for two cores.
]
# Without the network, which it would else look for at every start.
_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE_MS = 20_000


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_QUIET)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def looking(browser: Browser, url: str, **context: Any) -> Iterator[Page]:
    """Open a page; at the end, it must have met no error and asked nobody else."""
    opened = browser.new_context(viewport={"width": 1440, "height": 1000}, **context)
    opened.set_default_timeout(PATIENCE_MS)
    page = opened.new_page()
    errors: list[str] = []
    elsewhere: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if _is_bad(said) else None)
    page.on(
        "request", lambda r: elsewhere.append(r.url) if _is_away(r.url, url) else None
    )
    page.goto(url)
    try:
        yield page
        assert not errors
        assert not elsewhere
    finally:
        opened.close()


def _is_bad(said: Any) -> bool:
    """Tell whether it is an error of the page: that a server is gone is none."""
    return said.type == "error" and "Failed to load resource" not in said.text


def _is_away(asked: str, url: str) -> bool:
    parts = urlsplit(url)
    return not asked.startswith((f"{parts.scheme}://{parts.netloc}/", "data:"))


class _Origin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        is_bad = self.path.startswith("/bad")
        self.send_response(503 if is_bad else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def origin() -> Iterator[str]:
    """Yield the address of an application that fails under /bad."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Origin)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(address: str, method: str = "GET") -> int:
    """Return the status of what is answered at `HOST:PORT/PATH`."""
    try:
        with urlopen(Request(f"http://{address}", method=method)) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code
