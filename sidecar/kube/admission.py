"""An AdmissionReview in, an AdmissionReview out: the webhook without its server.

Pure, and without side effects, so a dry run is a run. The contract is that of
admission.k8s.io/v1: the answer has the uid of the question, and a JSON patch (RFC 6902)
in base64 where something changes.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import jsonpatch

from sidecar.kube.injection import inject, is_injected
from sidecar.kube.options import InjectionError
from sidecar.kube.template import annotations_of, mapping

if TYPE_CHECKING:
    from sidecar.kube.options import Options

_VERSION, _KIND = "admission.k8s.io/v1", "AdmissionReview"
_POD = {"group": "", "version": "v1", "kind": "Pod"}
_MAX_WARNING_CHARS = 256  # What the API server passes on of one.


class ReviewError(Exception):
    """What came is no AdmissionReview that can be answered."""


class Outcome(Enum):
    """What became of a review; also a metric label: add new ones, never rename."""

    INJECTED = "injected"
    SKIPPED = "skipped"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer, and what it says."""

    review: dict[str, Any]
    outcome: Outcome
    about: str  # The pod, for the log.
    reason: str = ""


def answer(data: bytes, options: Options) -> Answer:
    """Return the answer to an AdmissionReview.

    Raises:
        ReviewError: It is none; says what is wrong with it.
    """
    request = _request(data)
    about = _about(request)
    if request.get("kind") != _POD or request.get("operation") != "CREATE":
        reason = "only Pods that are created get a sidecar: see the webhook's rules"
        return _skipped(request, about, reason)
    pod = request.get("object")
    if not isinstance(pod, dict):
        msg = "request.object is not a pod"
        raise ReviewError(msg)
    try:
        if is_injected(pod):
            return _skipped(request, about, "it has a sidecar already", is_told=False)
        injected = inject(pod, options)
    except InjectionError as error:
        return _refused(request, about, str(error))
    if injected.skipped:
        return _skipped(
            request, about, injected.skipped, is_told=_is_news(pod, options)
        )
    patch = jsonpatch.make_patch(pod, injected.template).patch
    encoded = base64.b64encode(json.dumps(patch).encode()).decode()
    response = {"allowed": True, "patchType": "JSONPatch", "patch": encoded}
    review = _review(request, response, injected.warnings)
    return Answer(review, Outcome.INJECTED, about, "; ".join(injected.warnings))


def _request(data: bytes) -> dict[str, Any]:
    """Return what is asked.

    Raises:
        ReviewError: It is not what the API server sends.
    """
    try:
        review = json.loads(data)
    except (ValueError, RecursionError):
        msg = "the body is not JSON"
        raise ReviewError(msg) from None
    found = mapping(review)
    if (found.get("apiVersion"), found.get("kind")) != (_VERSION, _KIND):
        msg = f"the body is not an {_KIND} of {_VERSION}"
        raise ReviewError(msg)
    request = mapping(found.get("request"))
    uid = request.get("uid")
    if not isinstance(uid, str) or not uid:
        msg = "request.uid is missing"
        raise ReviewError(msg)
    return request


def _about(request: dict[str, Any]) -> str:
    """Return the pod's name; one of a controller has none yet, only its beginning."""
    metadata = mapping(mapping(request.get("object")).get("metadata"))
    name = metadata.get("name") or metadata.get("generateName") or "(no name)"
    return f"{request.get('namespace') or '(no namespace)'}/{name}"


def _is_news(pod: dict[str, Any], options: Options) -> bool:
    """Tell whether a pod was left alone for another reason than its own wish."""
    return options.for_pod(annotations_of(pod)).inject


def _skipped(
    request: dict[str, Any], about: str, reason: str, *, is_told: bool = True
) -> Answer:
    warnings = (f"not injected: {reason}",) if is_told else ()
    review = _review(request, {"allowed": True}, warnings)
    return Answer(review, Outcome.SKIPPED, about, reason)


def _refused(request: dict[str, Any], about: str, reason: str) -> Answer:
    status = {
        "status": "Failure",
        "reason": "Invalid",
        "code": 422,
        "message": f"no sidecar can be injected: {reason}",
    }
    review = _review(request, {"allowed": False, "status": status})
    return Answer(review, Outcome.REFUSED, about, reason)


def _review(
    request: dict[str, Any], response: dict[str, Any], warnings: tuple[str, ...] = ()
) -> dict[str, Any]:
    told = [f"sidecar: {warning}"[:_MAX_WARNING_CHARS] for warning in warnings]
    return {
        "apiVersion": _VERSION,
        "kind": _KIND,
        "response": {
            "uid": request["uid"],
            **response,
            **({"warnings": told} if told else {}),
        },
    }
