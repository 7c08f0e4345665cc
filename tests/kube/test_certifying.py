"""`sidecar certify` at an API server that keeps objects as Kubernetes does."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.kube.account import Account, AccountError
from sidecar.kube.certifying import (
    CertifyingError,
    Plan,
    certify,
    names_of,
    pair_of,
)
from sidecar.kube.self_signed import Pair, facts_of, new_pair, reason_to_renew
from tests.kube.object_store import ObjectStore, serving
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DAY_S = 86_400.0
PLAN = Plan("sidecar-316", "sidecar-webhook", "sidecar-316", 90 * DAY_S, 30 * DAY_S)
NAME = "sidecar-webhook.sidecar-316.svc"
SERVICE = {"name": "sidecar-webhook", "namespace": "sidecar-316", "path": "/mutate"}
DONE = ["nothing to do: the certificate is good, and believed"]

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)


class Cluster:
    """The store as the manifests leave it, and who asks it."""

    def __init__(self, store: ObjectStore, folder: Path, pod: dict[str, str]) -> None:
        self.store = store
        self.folder = folder
        self.pod = pod
        self.clock = FakeClock()
        self.clock.advance(_seconds_since_the_clocks_start())

    async def certify(self) -> list[str]:
        account = Account(str(self.folder), self.pod)
        return await certify(account, PLAN, self.clock)

    @property
    def pair(self) -> Pair | None:
        return pair_of(self.store.objects[PLAN.secret_path])

    @property
    def bundle(self) -> str:
        (hook,) = self.store.objects[PLAN.webhook_path]["webhooks"]
        return base64.b64decode(hook["clientConfig"].get("caBundle", "")).decode()


def _seconds_since_the_clocks_start() -> float:
    """Return how far the fake clock is behind what openssl dates certificates with."""
    facts = facts_of(new_pair([NAME], 1).certificate)
    assert facts is not None
    return facts.ends_s - DAY_S - FakeClock().wall_ns() / 1e9


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    store = ObjectStore()
    hook: dict[str, Any] = {"name": "a", "clientConfig": {"service": dict(SERVICE)}}
    store.put(PLAN.webhook_path, {"metadata": {}, "webhooks": [hook]})
    store.put(PLAN.secret_path, {"metadata": {"labels": {"a": "b"}}, "type": "Opaque"})
    store.rights = {
        (verb, path)
        for verb in ("get", "update")
        for path in (PLAN.secret_path, PLAN.webhook_path)
    }
    async with serving(store, tmp_path) as pod:
        yield Cluster(store, tmp_path, pod)


async def test_it_makes_what_is_missing_and_then_has_nothing_to_do(
    cluster: Cluster,
) -> None:
    told = await cluster.certify()
    assert told == [
        "sidecar-316: its certificate is believed",
        "sidecar-316/sidecar-webhook: new certificate, for there is none",
    ]
    pair = cluster.pair
    assert pair is not None
    assert reason_to_renew(pair, [NAME], cluster.clock.wall_ns() / 1e9, 0.0) == ""
    assert cluster.bundle == pair.certificate
    before = dict(cluster.store.objects)
    assert await cluster.certify() == DONE
    assert cluster.store.objects == before


async def test_all_else_of_an_object_stays(cluster: Cluster) -> None:
    await cluster.certify()
    secret = cluster.store.objects[PLAN.secret_path]
    assert secret["metadata"]["labels"] == {"a": "b"}
    assert secret["type"] == "Opaque"
    (hook,) = cluster.store.objects[PLAN.webhook_path]["webhooks"]
    assert hook["clientConfig"]["service"] == SERVICE


async def test_it_renews_in_time_and_the_old_one_is_believed_until_it_ends(
    cluster: Cluster,
) -> None:
    await cluster.certify()
    first = cluster.pair
    cluster.clock.advance(59 * DAY_S)
    assert await cluster.certify() == DONE
    cluster.clock.advance(2 * DAY_S)
    assert "ends in 29 days" in (await cluster.certify())[-1]
    second = cluster.pair
    assert first is not None
    assert second is not None
    assert second != first
    assert cluster.bundle == second.certificate + first.certificate


async def test_it_is_believed_before_it_is_served(cluster: Cluster) -> None:
    await cluster.certify()
    writes = [path for verb, path in cluster.store.asked if verb == "update"]
    assert writes == [PLAN.webhook_path, PLAN.secret_path]


async def test_an_end_in_between_does_no_harm(cluster: Cluster) -> None:
    """Killed after the first write, or forbidden the second: the next run mends it."""
    assert cluster.store.rights is not None
    await cluster.certify()
    old = cluster.pair
    cluster.clock.advance(61 * DAY_S)
    cluster.store.rights.discard(("update", PLAN.secret_path))
    with pytest.raises(AccountError, match="403: cannot update it"):
        await cluster.certify()
    assert cluster.pair == old
    assert old is not None
    assert old.certificate in cluster.bundle
    cluster.store.rights.add(("update", PLAN.secret_path))
    await cluster.certify()
    new = cluster.pair
    assert new is not None
    assert new != old
    assert cluster.bundle.startswith(new.certificate)
    assert old.certificate in cluster.bundle


@pytest.mark.parametrize("at_write", [1, 2])
async def test_who_comes_second_begins_again(cluster: Cluster, at_write: int) -> None:
    """Another one makes a certificate just before this one writes."""
    await cluster.certify()
    other = {
        path: dict(cluster.store.objects[path])
        for path in (PLAN.webhook_path, PLAN.secret_path)
    }
    for path, bare in (
        (PLAN.secret_path, {"metadata": {}, "type": "Opaque"}),
        (PLAN.webhook_path, other[PLAN.webhook_path]),
    ):
        cluster.store.put(path, bare)

    def another_one() -> None:
        for path, value in other.items():
            cluster.store.put(path, value)

    def nobody() -> None:
        """Let this write go through."""

    cluster.store.before_write = [nobody] * (at_write - 1) + [another_one]
    assert await cluster.certify() == DONE
    assert cluster.pair == pair_of(other[PLAN.secret_path])


async def test_many_at_once_end_with_one_certificate_that_is_believed(
    cluster: Cluster,
) -> None:
    ended = await asyncio.gather(
        *(cluster.certify() for _ in range(4)), return_exceptions=True
    )
    assert [each for each in ended if isinstance(each, BaseException)] == []
    assert cluster.pair is not None
    assert cluster.pair.certificate in cluster.bundle
    assert await cluster.certify() == DONE


async def test_a_bundle_that_was_lost_is_written_again(cluster: Cluster) -> None:
    """As `kubectl replace` of the manifest would lose it."""
    await cluster.certify()
    hook: dict[str, Any] = {"name": "a", "clientConfig": {"service": dict(SERVICE)}}
    cluster.store.put(PLAN.webhook_path, {"metadata": {}, "webhooks": [hook]})
    cluster.store.objects[PLAN.webhook_path]["metadata"]["resourceVersion"] = "9"
    pair = cluster.pair
    assert await cluster.certify() == ["sidecar-316: its certificate is believed"]
    assert pair is not None
    assert cluster.pair == pair
    assert cluster.bundle == pair.certificate


async def test_what_the_server_refuses_is_told(cluster: Cluster) -> None:
    cluster.store.rights = set()
    words = "GET mutatingwebhookconfigurations/sidecar-316: 403: cannot get it"
    with pytest.raises(AccountError, match=words):
        await cluster.certify()
    cluster.store.rights = None
    del cluster.store.objects[PLAN.secret_path]
    words = "GET secrets/sidecar-webhook: 404: it is not found"
    with pytest.raises(AccountError, match=words):
        await cluster.certify()
    (cluster.folder / "token").write_text("another one")
    with pytest.raises(AccountError, match="401: Unauthorized"):
        await cluster.certify()


async def test_a_server_that_is_not_believed_gets_no_token(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    async with serving(ObjectStore(), other):
        shutil.copy(other / "ca.crt", cluster.folder / "ca.crt")
    with pytest.raises(AccountError, match="certificate"):
        await cluster.certify()
    assert cluster.store.asked == []


async def test_nobody_there_is_told(cluster: Cluster) -> None:
    cluster.pod["KUBERNETES_SERVICE_PORT"] = "1"
    with pytest.raises(AccountError, match=r"https://127\.0\.0\.1:1: .*onnect"):
        await cluster.certify()


def test_a_webhook_that_no_service_serves_is_told() -> None:
    for webhook in ({}, {"webhooks": None}, {"webhooks": [{"clientConfig": 1}, 2]}):
        with pytest.raises(CertifyingError, match=r"clientConfig\.service"):
            names_of(webhook)


@pytest.mark.parametrize(
    "data", [None, {}, {"tls.crt": "YQ=="}, {"tls.crt": "*", "tls.key": "YQ=="}]
)
def test_a_secret_without_both_holds_no_pair(data: object) -> None:
    assert pair_of({"data": data}) is None


async def run(cluster: Cluster | None, *options: str) -> tuple[int | None, str]:
    """Run `sidecar certify` as a process; return its exit code and what it said."""
    pod = cluster.pod if cluster else {}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sidecar", "certify", *options),
        env=os.environ | pod,
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    return process.returncode, told.decode()


async def test_as_a_process_it_says_what_it_did(cluster: Cluster) -> None:
    account = f"--account={cluster.folder}"
    code, told = await run(cluster, account)
    assert (code, len(told.splitlines())) == (0, 2)
    assert "new certificate, for there is none" in told
    code, told = await run(cluster, account)
    assert (code, told) == (0, f"certify: {DONE[0]}\n")
    code, told = await run(cluster, account, "--webhook=another")
    assert code == 1
    assert told.startswith("certify: GET mutatingwebhookconfigurations/another: 403")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 1, "certify: KUBERNETES_SERVICE_HOST is not set: this runs in a pod\n"),
        (("--secret=a",), 2, "--secret: 'a' is not NAMESPACE/NAME\n"),
        (("--webhook=a/b",), 2, "--webhook: 'a/b' is not the name of an object\n"),
        (("--valid=1h",), 2, "--valid: a day at least, and longer than --renew-"),
        (("--valid=90d",), 2, "--valid: "),
    ],
)
async def test_a_call_that_is_wrong_is_told(
    options: tuple[str, ...], code: int, words: str
) -> None:
    found = await run(None, *options)
    assert found[0] == code
    assert found[1].startswith(words)


async def test_a_pod_without_a_token_is_told(tmp_path: Path) -> None:
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    with pytest.raises(AccountError, match=r"token: cannot be .* mounted\?"):
        Account(str(tmp_path), pod)
    (tmp_path / "token").write_text("a")
    (tmp_path / "ca.crt").write_text("a")
    with pytest.raises(AccountError, match=r"ca\.crt: cannot be read: "):
        Account(str(tmp_path), pod)
