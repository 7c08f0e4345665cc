"""The webhook, asked over TLS as the API server asks, and as a process."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import signal
import ssl
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import jsonpatch
import pytest
import trustme
from prometheus_client import parser

from sidecar.accept.listener import ListenError
from sidecar.clock import LoopClock
from sidecar.kube.certificates import Certificates
from sidecar.kube.injection import inject, is_injected
from sidecar.kube.options import Options
from sidecar.kube.webhook import MAX_BODY_BYTES, Places, Webhook
from sidecar.settings.snapshot import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REVIEWS = Path(__file__).parent / "reviews"
REVIEW = (REVIEWS / "replica-set.json").read_bytes()
ANYWHERE = Places(Address("127.0.0.1", 0), Address("127.0.0.1", 0))
JSON = {"Content-Type": "application/json"}


class Authority:
    """Signs certificates of 127.0.0.1 into `folder`; clients trust it."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.cert, self.key = folder / "tls.crt", folder / "tls.key"
        self.renew()

    def renew(self) -> None:
        leaf = self._ca.issue_cert("127.0.0.1")
        leaf.private_key_pem.write_to_path(str(self.key))
        leaf.cert_chain_pems[0].write_to_path(str(self.cert))

    def trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._ca.configure_trust(context)
        return context


class Asker:
    """Asks as the API server does, or as kubelet and Prometheus do."""

    def __init__(
        self, authority: Authority, addresses: dict[str, tuple[str, int]]
    ) -> None:
        self._trusting = authority.trusting()
        self._addresses = addresses

    async def mutate(self, data: bytes) -> tuple[int, str]:
        host, port = self._addresses["webhook"]
        url = f"https://{host}:{port}/mutate?timeout=10s"
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                url, data=io.BytesIO(data), headers=JSON, ssl=self._trusting
            ) as got,
        ):
            return got.status, await got.text()

    async def get(self, path: str) -> tuple[int, str]:
        host, port = self._addresses["health"]
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{host}:{port}{path}") as got,
        ):
            return got.status, await got.text()

    async def certificate(self) -> str:
        """Return what the webhook shows at a new connection."""
        host, port = self._addresses["webhook"]
        _, writer = await asyncio.open_connection(host, port, ssl=self._trusting)
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
        return ssl.DER_cert_to_PEM_cert(shown)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def made(
    authority: Authority, options: Options | None = None, body_s: float = 10.0
) -> Webhook:
    certificates = Certificates(str(authority.cert), str(authority.key))
    clock = LoopClock(asyncio.get_running_loop())
    return Webhook(options or Options(), certificates, clock, body_s)


@asynccontextmanager
async def serving(
    authority: Authority, options: Options | None = None
) -> AsyncIterator[Asker]:
    webhook = made(authority, options)
    await webhook.start(ANYWHERE)
    try:
        yield Asker(authority, webhook.addresses)
    finally:
        await webhook.close()


def patched(review: bytes, answer: str) -> dict[str, Any]:
    """Return the pod as the API server goes on with it."""
    patch = base64.b64decode(json.loads(answer)["response"]["patch"])
    pod = json.loads(review)["request"]["object"]
    done = jsonpatch.apply_patch(pod, json.loads(patch))
    assert isinstance(done, dict)
    return done


async def test_a_pod_gets_what_the_command_would_give_it(authority: Authority) -> None:
    options = Options(image="registry.example/sidecar-316:1", intercept_inbound=True)
    async with serving(authority, options) as asker:
        status, answer = await asker.mutate(REVIEW)
    assert status == 200
    pod = json.loads(REVIEW)["request"]["object"]
    assert patched(REVIEW, answer) == inject(pod, options).template


@pytest.mark.parametrize("name", ["misspelt", "opted-out", "host-network"])
async def test_a_pod_without_a_sidecar_gets_a_word(
    authority: Authority, name: str
) -> None:
    async with serving(authority) as asker:
        status, answer = await asker.mutate((REVIEWS / f"{name}.json").read_bytes())
    golden = json.loads((REVIEWS / f"{name}.answer.json").read_bytes())
    assert (status, json.loads(answer)) == (200, golden)


@pytest.mark.parametrize(
    ("data", "status", "sentence"),
    [
        (b"{", 400, "the body is not JSON\n"),
        (b"{}", 400, "the body is not an AdmissionReview of admission.k8s.io/v1\n"),
        (
            b" " * (MAX_BODY_BYTES + 1),
            413,
            f"the body has more than {MAX_BODY_BYTES} bytes\n",
        ),
    ],
)
async def test_what_is_no_review_gets_a_sentence(
    authority: Authority, data: bytes, status: int, sentence: str
) -> None:
    async with serving(authority) as asker:
        assert await asker.mutate(data) == (status, sentence)
        assert (await asker.mutate(REVIEW))[0] == 200


async def test_a_body_that_does_not_come_is_not_awaited_for_ever(
    authority: Authority,
) -> None:
    webhook = made(authority, body_s=0.05)
    await webhook.start(ANYWHERE)
    host, port = webhook.addresses["webhook"]
    reader, writer = await asyncio.open_connection(host, port, ssl=authority.trusting())
    writer.write(b"POST /mutate HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
    assert b" 408 " in await reader.readline()
    writer.close()
    await webhook.close()


async def test_each_review_is_counted_by_what_became_of_it(
    authority: Authority,
) -> None:
    async with serving(authority) as asker:
        for name in ("replica-set", "dry-run", "opted-out", "misspelt"):
            await asker.mutate((REVIEWS / f"{name}.json").read_bytes())
        await asker.mutate(b"{")
        text = (await asker.get("/metrics"))[1]
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }
    reviews = {
        key[1]: n for key, n in samples.items() if key[0].endswith("reviews_total")
    }
    assert reviews == {"injected": 2, "skipped": 1, "refused": 1, "bad_request": 1}
    assert samples["sidecar_webhook_review_duration_seconds_count",] == 4
    assert samples["sidecar_webhook_certificate_loads_total", "good"] == 1


async def test_a_taken_port_is_told_and_nothing_is_left(authority: Authority) -> None:
    async with serving(authority) as asker:
        other = made(authority)
        health = Address(*asker._addresses["health"])
        with pytest.raises(ListenError, match="health: cannot listen on"):
            await other.start(Places(Address("127.0.0.1", 0), health))
        host, port = other.addresses["webhook"]
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection(host, port)


async def test_it_is_ready_until_it_ends(authority: Authority) -> None:
    webhook = made(authority)
    assert webhook.not_ready_reason == "starting"
    await webhook.start(ANYWHERE)
    asker = Asker(authority, webhook.addresses)
    assert await asker.get("/healthz/ready") == (200, "ready\n")
    running = asyncio.create_task(webhook.run(lead_s=60.0))
    await asyncio.sleep(0)
    webhook.ask_to_end()
    while (await asker.get("/healthz/ready"))[0] == 200:
        pass  # That it hears of the end is the condition.
    assert await asker.get("/healthz/ready") == (503, "not ready: ending\n")
    assert await asker.get("/healthz/live") == (200, "live\n")
    assert (await asker.mutate(REVIEW))[0] == 200  # In the time of its lead.
    webhook.ask_to_end()
    await running


async def test_a_review_under_way_is_answered_before_the_end(
    authority: Authority,
) -> None:
    webhook = made(authority)
    await webhook.start(ANYWHERE)
    host, port = webhook.addresses["webhook"]
    reader, writer = await asyncio.open_connection(host, port, ssl=authority.trusting())
    writer.write(
        b"POST /mutate HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        b"Content-Length: %d\r\n\r\n" % len(REVIEW)
    )
    assert b" 100 " in await reader.readuntil(b"\r\n\r\n")  # It waits for the body.
    ending = asyncio.create_task(webhook.close())
    await asyncio.sleep(0)
    assert not ending.done()
    writer.write(REVIEW)
    assert b" 200 " in await reader.readline()
    writer.close()
    await ending


@asynccontextmanager
async def process(
    authority: Authority, *options: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Asker, asyncio.StreamReader]]:
    """Run `sidecar webhook`; it listens when this is yielded."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecar", "webhook",
        "--cert", str(authority.cert), "--key", str(authority.key),
        "--listen", "127.0.0.1:0", "--health", "127.0.0.1:0", *options,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert started.stderr is not None
    try:
        line = (await started.stderr.readline()).decode()
        places = re.findall(r"(webhook|health) (127\.0\.0\.1):(\d+)", line)
        assert len(places) == 2, line
        addresses = {name: (host, int(port)) for name, host, port in places}
        yield started, Asker(authority, addresses), started.stderr
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def test_as_a_process_it_injects_renews_its_certificate_and_ends(
    authority: Authority,
) -> None:
    async with process(authority, "--set", "log-level=debug", "--lead", "0s") as (
        running, asker, told,
    ):  # fmt: skip
        pod = patched(REVIEW, (await asker.mutate(REVIEW))[1])
        assert is_injected(pod)
        assert pod["spec"]["initContainers"][0]["args"][-1] == "debug"
        assert b"shop/orders-6d5f7c9b8d- injected" in await told.readline()

        before, good = await asker.certificate(), authority.cert.read_bytes()
        authority.cert.write_bytes(b"broken")
        assert b"the old one stays" in await told.readline()
        assert await asker.certificate() == before
        authority.cert.write_bytes(good)
        assert b"new certificate" in await told.readline()
        authority.renew()
        while await asker.certificate() == before:
            await asyncio.sleep(0.02)
        assert (await asker.mutate(REVIEW))[0] == 200

        running.send_signal(signal.SIGTERM)
        assert await running.wait() == 0
