"""docs/operations.md says what is so."""

from __future__ import annotations

import json
import re
import shutil
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession

from sidecar.app import App
from sidecar.demo.shop import start_shop
from sidecar.record.metrics.collector import SidecarCollector
from sidecar.settings.load import load_text
from sidecar.settings.snapshot import Address
from tests.docs.serving import serving, shell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
CONFIG = """
inbound: {listen: "127.0.0.1:0"}
health: {listen: "127.0.0.1:0"}
admin: {listen: "127.0.0.1:0"}
upstreams:
  shop: {endpoints: ["127.0.0.1:PORT"]}
  gone: {endpoints: ["127.0.0.1:1"]}
  pair: {endpoints: ["127.0.0.1:1", "127.0.0.1:2"]}
routes:
  - {name: shop, upstream: shop}
  - {name: gone, upstream: gone, matches: [{path: {value: /gone}}]}
  - {name: pair, upstream: pair, matches: [{path: {value: /pair}}]}
telemetry: {tracing: {enabled: true}, logs: {enabled: true}, access_log: {mode: all}}
"""
SUFFIXES = {"counter": "_total", "info": "_info"}


async def observed() -> tuple[list[Metric], list[dict[str, object]]]:
    """Return every metric and log line of a sidecar that met success and failure."""
    lines = StringIO()
    shop = await start_shop(Address("127.0.0.1", 0))
    port = shop.addresses[0][1]
    app = App(load_text(CONFIG.replace("PORT", str(port))), stream=lines)
    await app.start()
    try:
        host, port = app.addresses["inbound"]
        async with ClientSession() as session:
            # The second failure opens the breaker.
            for path in ("/catalogue", "/gone", "/gone", "/pair"):
                async with session.get(f"http://{host}:{port}{path}") as answer:
                    await answer.read()
        collector = SidecarCollector(app.recorder, app.clock, lambda: app.runtime)
        metrics = list(collector.collect())
    finally:
        assert app.recorder.book.logs is not None
        app.recorder.book.logs.listen_no_more()
        app.recorder.tracer = app.recorder.book.logs = None  # Nobody takes them.
        await app.close()
        await shop.cleanup()
    return metrics, [json.loads(line) for line in lines.getvalue().splitlines()]


def metric_rows(metrics: list[Metric]) -> Iterator[str]:
    yield "| metric | type | labels | meaning |"
    yield "|---|---|---|---|"
    for one in metrics:
        name = f"`{one.name}{SUFFIXES.get(one.type, '')}`"
        labels = list(getattr(one, "_labelnames", ()))
        if one.type == "info":
            labels = sorted(one.samples[0].labels)
        shown = ", ".join(f"`{label}`" for label in labels)
        yield f"| {name} | {one.type} | {shown} | {one.documentation} |"


async def test_every_metric_is_in_the_table_with_its_labels_and_meaning() -> None:
    """Where it is not: the table to paste is in the failure's message."""
    metrics, _ = await observed()
    table = "\n".join(metric_rows(metrics))
    assert table in TEXT, f"docs/operations.md lacks:\n{table}"


def test_every_attribute_of_a_span_is_told() -> None:
    source = (ROOT / "sidecar" / "record" / "otlp" / "spans.py").read_text(
        encoding="utf-8"
    )
    names = re.findall(r'"((?:http|url|client|sidecar|error)\.[a-z_.]+)"', source)
    assert len(names) > 10
    missing = [name for name in names if f"`{name}`" not in TEXT]
    assert missing in ([], ["http.request.method_original"])


async def test_every_field_of_the_log_is_listed() -> None:
    _, lines = await observed()
    found = {str(line["event"]): line for line in lines}
    assert found.keys() == {"request", "316_FAULT", "breaker", "endpoint"}
    for event, line in found.items():
        fields = ", ".join(f"`{name}`" for name in line if name != "event")
        row = f"| `{event}` | {fields} |"
        assert row in TEXT, f"docs/operations.md lacks:\n{row}"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_command_of_the_admin_api_is_answered(tmp_path: Path) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    with serving(tmp_path) as addresses:
        for command in block.splitlines():
            answer = json.loads(shell(command, tmp_path, addresses))
            assert "error" not in answer, command


def test_every_path_of_the_admin_api_is_told() -> None:
    source = (ROOT / "sidecar" / "admin" / "api.py").read_text(encoding="utf-8")
    for path in re.findall(r'router\.add_[a-z]+\("(/[a-z-]*)', source):
        assert f"15000{path}" in TEXT
