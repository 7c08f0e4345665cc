"""From the manifests to the first pod with a sidecar: `k8s/base`, then the example.

The processes are those that the manifests start, with their arguments; the API server
is a store that gives a ServiceAccount the rights of the manifests and no more.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import ssl
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import jsonpatch
import pytest
import yaml

from tests.deploy.rendered import (
    arguments_of,
    kinds,
    namespace_of,
    needs_kubectl,
    objects_of,
    one,
    template_of,
)
from tests.kube.object_store import ObjectStore, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.deploy.rendered import Object

pytestmark = [
    needs_kubectl,
    pytest.mark.skipif(
        shutil.which("openssl") is None, reason="openssl is not installed"
    ),
]


def path_of(group: str, namespace: str, resource: str, name: str) -> str:
    start = f"/apis/{group}/v1" if group else "/api/v1"
    place = f"/namespaces/{namespace}" if namespace else ""
    return f"{start}{place}/{resource}/{name}"


def rights_of(objects: list[Object], account: str) -> set[tuple[str, str]]:
    """Return verbs and paths that the manifests allow a ServiceAccount."""
    rights: set[tuple[str, str]] = set()
    for binding in kinds(objects, "RoleBinding", "ClusterRoleBinding"):
        if account in [subject["name"] for subject in binding["subjects"]]:
            role = one(objects, binding["roleRef"]["kind"], binding["roleRef"]["name"])
            for rule in role["rules"]:
                (group,), (resource,) = rule["apiGroups"], rule["resources"]
                (name,) = rule["resourceNames"]
                path = path_of(group, namespace_of(role), resource, name)
                rights.update((verb, path) for verb in rule["verbs"])
    return rights


class Applied:
    """`k8s/base` after `kubectl apply -k`."""

    def __init__(self) -> None:
        self.objects = objects_of("base")
        self.store = ObjectStore()
        (secret,) = kinds(self.objects, "Secret")
        (hooks,) = kinds(self.objects, "MutatingWebhookConfiguration")
        self.secret = path_of("", "sidecar-316", "secrets", secret["metadata"]["name"])
        self.hooks = path_of(
            "admissionregistration.k8s.io",
            "",
            "mutatingwebhookconfigurations",
            hooks["metadata"]["name"],
        )
        self.store.put(self.secret, secret)
        self.store.put(self.hooks, hooks)

    def words(self, kind: str, name: str) -> list[str]:
        """Return what the container of a workload is started with."""
        (container,) = template_of(one(self.objects, kind, name))["spec"]["containers"]
        return arguments_of(container, self.objects, "sidecar-316")


async def sidecar(
    *arguments: str, stdin: bytes = b"", variables: dict[str, str] | None = None
) -> tuple[int | None, str, str]:
    """Run a command; return its code and what it wrote to stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sidecar", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | (variables or {}),
    )
    out, told = await process.communicate(stdin)
    return process.returncode, out.decode(), told.decode()


@asynccontextmanager
async def webhook(words: list[str], secret: Object, folder: Path) -> AsyncIterator[int]:
    """Run the webhook with the files of a Secret; yield its port."""
    for name, data in secret["data"].items():
        (folder / name).write_bytes(base64.b64decode(data))
    here = [word.replace("=/tls/", f"={folder}/") for word in words]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sidecar", *here),
        *("--listen=127.0.0.1:0", "--health=127.0.0.1:0", "--lead=0s"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        line = (await process.stderr.readline()).decode()
        found = re.search(r"webhook 127\.0\.0\.1:([0-9]+)", line)
        assert found is not None, line
        yield int(found[1])
    finally:
        process.terminate()
        await process.communicate()


async def ask(port: int, hook: Object, review: Object) -> Object:
    """Ask as the API server does: it believes the caBundle, for the Service's name."""
    config = hook["clientConfig"]
    bundle = base64.b64decode(config["caBundle"]).decode()
    place = config["service"]
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"https://127.0.0.1:{port}{place['path']}",
            json=review,
            ssl=ssl.create_default_context(cadata=bundle),
            server_hostname=f"{place['name']}.{place['namespace']}.svc",
        ) as answer,
    ):
        assert answer.status == 200
        found: Object = (await answer.json())["response"]
        return found


def review_of(template: Object) -> tuple[Object, Object]:
    """Return a pod as a ReplicaSet creates it, and the question about it."""
    metadata = {"generateName": "orders-6d5f7c9b8d-", **template["metadata"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    pod["spec"] = template["spec"]
    request: dict[str, Any] = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE",
        "namespace": "shop",
        "object": pod,
    }
    version = "admission.k8s.io/v1"
    return pod, {"apiVersion": version, "kind": "AdmissionReview", "request": request}


async def test_the_first_pod_gets_what_sidecar_inject_would_have_made_of_it(
    tmp_path: Path,
) -> None:
    applied = Applied()
    store = applied.store
    store.rights = rights_of(applied.objects, "sidecar-certify")
    async with serving(store, tmp_path) as pod_of_job:
        words = applied.words("Job", "sidecar-certify")
        account = f"--account={tmp_path}"
        code, _, told = await sidecar(*words, account, variables=pod_of_job)
    assert code == 0, told
    assert {each for each in store.rights if each not in store.asked} == set()

    words = applied.words("Deployment", "sidecar-webhook")
    (hook,) = store.objects[applied.hooks]["webhooks"]
    example = one(objects_of("overlays/example"), "Deployment", "orders")
    pod, review = review_of(template_of(example))
    async with webhook(words, store.objects[applied.secret], tmp_path) as port:
        answer = await ask(port, hook, review)
    patch = json.loads(base64.b64decode(answer["patch"]))
    by_webhook = jsonpatch.apply_patch(pod, patch)

    (option,) = (word for word in words if word.startswith("--set="))
    text = yaml.safe_dump(example)
    code, out, told = await sidecar("inject", "-f", "-", option, stdin=text.encode())
    assert code == 0, told
    by_file = template_of(yaml.safe_load(out))
    assert by_webhook["spec"] == by_file["spec"]
    assert by_webhook["metadata"]["annotations"] == by_file["metadata"]["annotations"]
    assert "sidecar.316/injected" in by_file["metadata"]["annotations"]


async def test_without_one_of_its_rights_certify_says_which_is_missing(
    tmp_path: Path,
) -> None:
    """So none of them is given for nothing."""
    needed = rights_of(objects_of("base"), "sidecar-certify")
    assert len(needed) == 4
    for missing in sorted(needed):
        applied = Applied()
        applied.store.rights = needed - {missing}
        async with serving(applied.store, tmp_path) as pod:
            words = applied.words("CronJob", "sidecar-certify")
            code, _, told = await sidecar(
                *words, f"--account={tmp_path}", variables=pod
            )
        verb, path = missing
        assert code == 1
        assert f"403: cannot {verb} it" in told
        assert "/".join(path.split("/")[-2:]) in told


def test_the_webhook_has_no_right_at_all() -> None:
    assert rights_of(objects_of("base"), "sidecar-webhook") == set()
