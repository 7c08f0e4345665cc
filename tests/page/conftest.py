"""One browser for all tests of the page; a sidecar for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.docs.serving import serving
from tests.page.browser import PATIENCE_MS, chromium, origin
from tests.page.places import CONFIG, Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with (
        origin() as address,
        serving(tmp_path, CONFIG.replace("ORIGIN", address)) as addresses,
    ):
        yield Place(addresses)
