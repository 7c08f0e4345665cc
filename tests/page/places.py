"""The sidecar that the page of the tests is of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.request import urlopen

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page

ADMIN, INBOUND = "127.0.0.1:15000", "127.0.0.1:15006"
CONFIG = """
service: orders
inbound: {{listen: "127.0.0.1:0"}}
health: {{listen: "127.0.0.1:0"}}
admin: {{listen: "127.0.0.1:0", trace_url: "https://traces.example/t/{{trace_id}}"}}
drain: {{lead: 0s}}
upstreams:
  app: {{endpoints: ["ORIGIN"]}}
  gone: {{endpoints: ["127.0.0.1:{nobody}"]}}
routes:
  - {{name: gone, upstream: gone, matches: [{{path: {{value: /gone}}}}]}}
  - {{name: checkout, upstream: app, matches: [{{path: {{value: /bad}}}}],
     circuit_breaker: off}}
  - {{name: rest, upstream: app}}
"""


class Place:
    """Where the sidecar is."""

    def __init__(self, addresses: dict[str, str]) -> None:
        self.admin = addresses[ADMIN]
        self.page = f"http://{self.admin}/"
        self.inbound = addresses[INBOUND]

    def records(self, query: str) -> list[dict[str, object]]:
        with urlopen(f"http://{self.admin}/faults?{query}") as answer:
            found: list[dict[str, object]] = json.load(answer)
            return found


def groups(page: Page) -> Locator:
    """Return the rows of groups; on a busy machine the loop may stand still, too."""
    return page.locator("[data-group]").filter(has_not_text="the sidecar itself")


def guarded(folder: Path) -> tuple[str, str]:
    """Return a configuration whose admin API is on the network, and its token."""
    token, file = "a-token-that-is-long-enough-to-be-one", folder / "token"
    file.write_text(f"{token}\n")
    file.chmod(0o600)
    config = CONFIG.replace("ORIGIN", "127.0.0.1:{nobody}").replace(
        'admin: {{listen: "127.0.0.1:0",',
        f'admin: {{{{listen: "0.0.0.0:0", token_file: {file},',
    )
    return config, token
