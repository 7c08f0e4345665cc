"""The webhook's certificate, kept fresh: a Secret, and what the API server believes.

    read the webhook  ->  its Service's DNS names
    read the Secret   ->  is its certificate good for them, and long enough?
    no: make another one
    write the webhook's caBundle: the new one beside the old one
    write the Secret: after it, so that no pod serves what is not believed yet

Any number may do so at once, and each may end anywhere: both objects are written only
as they were read (`resourceVersion`), and whoever comes second begins again.
"""

from __future__ import annotations

import asyncio
import base64
import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sidecar.kube.account import ConflictError
from sidecar.kube.self_signed import Pair, bundle_with, new_pair, reason_to_renew
from sidecar.kube.template import mapping

if TYPE_CHECKING:
    from sidecar.clock import Clock

_ATTEMPTS = 5
_DAY_S = 86_400.0
_WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


class CertifyingError(Exception):
    """What the webhook says of itself cannot be worked with."""


class Objects(Protocol):
    """Where the two objects are: the API server."""

    async def get(self, path: str) -> dict[str, Any]:
        """Return an object."""

    async def update(self, path: str, value: dict[str, Any]) -> None:
        """Write one as it was read and changed.

        Raises:
            ConflictError: Somebody else wrote it since.
        """


@dataclass(frozen=True, slots=True)
class Plan:
    """Which objects, and how long a certificate lasts."""

    namespace: str
    secret: str
    webhook: str
    valid_s: float
    renew_before_s: float

    @property
    def secret_path(self) -> str:
        """Where the Secret is."""
        return f"/api/v1/namespaces/{self.namespace}/secrets/{self.secret}"

    @property
    def webhook_path(self) -> str:
        """Where the webhook's configuration is."""
        return f"{_WEBHOOKS}/{self.webhook}"


async def certify(objects: Objects, plan: Plan, clock: Clock) -> list[str]:
    """Make sure of the certificate; return what was done, in sentences.

    Raises:
        AccountError: The API server could not be asked, or said no.
        CertifyingError: The webhook is called by no Service.
        OpensslError: A certificate could not be made.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return await _attempt(objects, plan, clock)
        except ConflictError:
            continue
    return await _attempt(objects, plan, clock)


async def _attempt(objects: Objects, plan: Plan, clock: Clock) -> list[str]:
    webhook = await objects.get(plan.webhook_path)
    secret = await objects.get(plan.secret_path)
    names, old = names_of(webhook), pair_of(secret)
    now_s = clock.wall_ns() / 1e9
    reason = await asyncio.to_thread(
        reason_to_renew, old, names, now_s, plan.renew_before_s
    )
    pair, told = old, []
    if reason or pair is None:
        valid_days = round(plan.valid_s / _DAY_S)
        pair = await asyncio.to_thread(new_pair, names, valid_days)
    changed = believing(webhook, pair, old, now_s)
    if changed != webhook:
        await objects.update(plan.webhook_path, changed)
        told.append(f"{plan.webhook}: its certificate is believed")
    if pair != old:
        await objects.update(plan.secret_path, holding(secret, pair))
        told.append(f"{plan.namespace}/{plan.secret}: new certificate, for {reason}")
    return told or ["nothing to do: the certificate is good, and believed"]


def names_of(webhook: dict[str, Any]) -> tuple[str, ...]:
    """Return the DNS names by which the API server calls a webhook.

    Raises:
        CertifyingError: It calls none by a Service.
    """
    places = [_service_of(each) for each in webhook.get("webhooks") or ()]
    names = {f"{p.get('name')}.{p.get('namespace')}.svc" for p in places if p}
    if not names:
        msg = "none of its webhooks has a clientConfig.service to be called by"
        raise CertifyingError(msg)
    return tuple(sorted(names))


def pair_of(secret: dict[str, Any]) -> Pair | None:
    """Return what a Secret of TLS holds; None if it holds not both."""
    data = mapping(secret.get("data"))
    certificate, key = (_text(data.get(name)) for name in ("tls.crt", "tls.key"))
    return Pair(certificate, key) if certificate and key else None


def holding(secret: dict[str, Any], pair: Pair) -> dict[str, Any]:
    """Return a Secret that holds this pair; all else of it stays."""
    data = {
        **mapping(secret.get("data")),
        "tls.crt": _encoded(pair.certificate),
        "tls.key": _encoded(pair.key),
    }
    return {**secret, "data": data}


def believing(
    webhook: dict[str, Any], pair: Pair, old: Pair | None, now_s: float
) -> dict[str, Any]:
    """Return a webhook that is believed with `pair`, and with `old` until it ends.

    Where `pair` is believed already, nothing changes.
    """
    changed = copy.deepcopy(webhook)
    for each in changed.get("webhooks") or ():
        if _service_of(each):
            config = each["clientConfig"]
            bundle = _text(config.get("caBundle"))
            if pair.certificate not in bundle:
                others = f"{old.certificate if old else ''}\n{bundle}"
                text = bundle_with(pair.certificate, others, now_s)
                config["caBundle"] = _encoded(text)
    return changed


def _service_of(webhook: Any) -> dict[str, Any]:
    return mapping(mapping(mapping(webhook).get("clientConfig")).get("service"))


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(encoded: Any) -> str:
    """Return text that was in base64; an empty one for anything else."""
    try:
        return base64.b64decode(encoded or "", validate=True).decode("ascii")
    except (ValueError, TypeError):
        return ""
