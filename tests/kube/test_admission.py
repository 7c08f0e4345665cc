"""Reviews: what is answered, and to what nothing can be."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.kube.admission import Answer, Outcome, ReviewError, answer
from sidecar.kube.injection import inject
from sidecar.kube.options import InjectionError, Options
from tests.kube.pods import OPTIONS, PODS, Pod

REAL = json.loads((Path(__file__).parent / "reviews/replica-set.json").read_bytes())


def asked(options: Options | None = None, **request: Any) -> Answer:
    """Ask with a real review, some fields of which are others."""
    review = copy.deepcopy(REAL)
    review["request"].update(request)
    return answer(json.dumps(review).encode(), options or Options())


@given(PODS, OPTIONS)
def test_the_patch_makes_of_the_pod_what_the_command_would(
    odd: Pod, options: Options
) -> None:
    """Applied by the rules of RFC 6902, to any pod; without one, all stays."""
    odd = json.loads(json.dumps(odd))  # Generated, two places may be one object.
    done = asked(options, object=odd)
    response = done.review["response"]
    assert response["uid"] == REAL["request"]["uid"]
    if done.outcome is Outcome.REFUSED:
        assert not response["allowed"]
        assert "patch" not in response
        with pytest.raises(InjectionError):
            inject(odd, options)
        return
    patch = json.loads(base64.b64decode(response.get("patch", "W10=")))
    assert ("patch" in response) is (done.outcome is Outcome.INJECTED)
    assert jsonpatch.apply_patch(odd, patch) == inject(odd, options).template


def test_a_pod_that_was_injected_from_a_file_is_left_as_it_is() -> None:
    """The file may have asked for more than the options here."""
    by_file = inject(
        REAL["request"]["object"], Options(intercept_inbound=True)
    ).template
    done = asked(object=by_file)
    assert done.outcome is Outcome.SKIPPED
    assert done.review["response"] == {"uid": REAL["request"]["uid"], "allowed": True}


def test_a_webhook_can_be_told_to_wait_for_the_wish_of_a_pod() -> None:
    pod = copy.deepcopy(REAL["request"]["object"])
    options = Options(inject=False)
    done = asked(options, object=pod)
    assert done.outcome is Outcome.SKIPPED
    assert "warnings" not in done.review["response"]
    pod["metadata"]["annotations"] = {"sidecar.316/inject": "true"}
    assert asked(options, object=pod).outcome is Outcome.INJECTED


def test_a_record_alone_does_not_keep_the_sidecar_away() -> None:
    pod = copy.deepcopy(REAL["request"]["object"])
    pod["metadata"]["annotations"] = {"sidecar.316/injected": '{"annotations": []}'}
    assert asked(object=pod).outcome is Outcome.INJECTED


@pytest.mark.parametrize(
    "request_", [{"operation": "UPDATE"}, {"operation": "DELETE", "object": None},
        {"kind": {"group": "apps", "version": "v1", "kind": "Deployment"}}],
)  # fmt: skip
def test_what_is_not_the_creation_of_a_pod_passes_with_a_warning(
    request_: dict[str, Any],
) -> None:
    response = asked(**request_).review["response"]
    assert response["allowed"]
    assert "patch" not in response
    assert "see the webhook's rules" in response["warnings"][0]


def test_a_warning_has_the_length_that_is_passed_on() -> None:
    pod = copy.deepcopy(REAL["request"]["object"])
    ports = [{"containerPort": port} for port in range(1000, 1200)]
    probe = {"preStop": {"tcpSocket": {"port": 1}}}
    pod["spec"]["containers"] = [
        {"name": f"c{port['containerPort']}", "ports": [port], "lifecycle": probe,
         "livenessProbe": {"grpc": {"port": port["containerPort"]}}}
        for port in ports
    ]  # fmt: skip
    response = asked(Options(intercept_inbound=True), object=pod).review["response"]
    assert [len(warning) for warning in response["warnings"]] == [256]


def test_the_log_names_a_pod_that_has_no_name_yet() -> None:
    assert asked().about == "shop/orders-6d5f7c9b8d-"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not an AdmissionReview of admission.k8s.io/v1"),
        (b'{"kind": "AdmissionReview"}', "not an AdmissionReview"),
        (
            b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1"}',
            "not an AdmissionReview of admission.k8s.io/v1",
        ),
        (
            b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}',
            "request.uid is missing",
        ),
    ],
)
def test_what_is_no_review_cannot_be_answered(data: bytes, words: str) -> None:
    with pytest.raises(ReviewError, match=words):
        answer(data, Options())


@pytest.mark.parametrize("pod", [None, [], "x"])
def test_a_review_without_a_pod_cannot_be_answered(pod: object) -> None:
    with pytest.raises(ReviewError, match="not a pod"):
        asked(object=pod)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["metadata", "annotations", "spec", "containers", "name", "ports", "os",
             "containerPort", "securityContext", "livenessProbe", "httpGet", "port"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["metadata", "spec"]), _JSON), OPTIONS)
def test_any_object_is_answered(pod: dict[str, Any], options: Options) -> None:
    """An API server sends none of these, but nothing else may come of them."""
    response = asked(options, object=pod).review["response"]
    assert response["allowed"] or response["status"]["message"]
