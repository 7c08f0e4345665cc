"""`k8s/overlays/demo` as processes: client, its sidecar, the shop's sidecar, the shop.

With the commands and configurations of the manifests; only addresses are others, since
all of it is on one host here. The collector is one of the tests.
"""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import yaml

from tests.deploy.rendered import (
    configurations,
    needs_kubectl,
    objects_of,
    one,
    template_of,
)
from tests.support import otlp
from tests.support.process import LOOK_S, sidecar
from tests.support.proxy import ANYWHERE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DEMO = "overlays/demo"

pytestmark = needs_kubectl


def configuration(name: str, upstream: str, port: int, collector: str) -> Any:
    """Return a configuration of the demo that sends to these places."""
    value = yaml.safe_load(dict(configurations(objects_of(DEMO)))[name])
    for route in value["routes"]:
        if route.get("circuit_breaker") is False:  # What this reader makes of off.
            route["circuit_breaker"] = "off"
    for listener in {"inbound", "outbound", "health", "admin"} & value.keys():
        value[listener]["listen"] = ANYWHERE
    value["upstreams"][upstream]["endpoints"] = [f"127.0.0.1:{port}"]
    value["telemetry"]["tracing"]["endpoint"] = collector
    return value


@asynccontextmanager
async def part(name: str, place: str) -> AsyncIterator[str]:
    """Run a container's command with another place; yield its first line."""
    pod = template_of(one(objects_of(DEMO), "Deployment", name))["spec"]
    (container,) = pod["containers"]
    python, *command = container["command"]
    assert python == "python"
    which, _ = container["args"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command, which, place), stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        yield (await process.stderr.readline()).decode()
    finally:
        process.terminate()
        await process.communicate()


async def test_a_trace_leads_from_the_client_to_the_shop(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("shop", "client")]
    for folder in folders:
        folder.mkdir()
    with otlp.by_grpc() as collector:
        async with part("shop", ANYWHERE) as line:
            port = int(re.findall(r":(\d+)", line)[0])
            shops = configuration("shop-sidecar", "app", port, collector.endpoint)
            async with sidecar(folders[0], **shops) as before_shop:
                inbound = before_shop.inbound
                clients = configuration(
                    "client-sidecar", "shop", inbound, collector.endpoint
                )
                async with (
                    sidecar(folders[1], **clients) as beside_client,
                    part("client", f"http://127.0.0.1:{beside_client.outbound}"),
                ):
                    while not is_joined(collector):
                        await asyncio.sleep(LOOK_S)
    services = {resource["service.name"] for resource in collector.resources}
    assert services == {"client", "shop"}


def is_joined(collector: otlp.Collector) -> bool:
    """Tell whether one trace has a request at both sidecars."""
    traces = [
        span.trace_id for span in collector.spans if span.kind == span.SPAN_KIND_SERVER
    ]
    return len(set(traces)) < len(traces)
