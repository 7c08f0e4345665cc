"""Annotations: each is read, and what cannot be read is refused by its name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.kube.options import NAMES, PREFIX, InjectionError, Options


def refusal_of(annotations: dict[str, object]) -> str:
    with pytest.raises(InjectionError) as refused:
        Options().for_pod(annotations)
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("inject", "false", "inject", False),
        ("image", "reg.example:5000/a/b:1@sha256:00", "image", None),
        ("config-map", "orders-sidecar.v2", "config_map", None),
        ("cpu-request", "50m", "cpu_request", None),
        ("cpu-limit", "1.5", "cpu_limit", None),
        ("memory-request", "64Mi", "memory_request", None),
        ("memory-limit", "1G", "memory_limit", None),
        ("intercept-inbound", "true", "intercept_inbound", True),
        ("intercept-outbound", "true", "intercept_outbound", True),
        ("rewrite-probes", "false", "rewrite_probes", False),
        ("intercept-probe-ports", "true", "intercept_probe_ports", True),
        ("exclude-inbound-ports", "22, 80,22", "exclude_inbound_ports", (22, 80)),
        ("exclude-outbound-ports", "", "exclude_outbound_ports", ()),
        ("exclude-outbound-cidrs", "fd00::/8", "exclude_outbound_cidrs", ("fd00::/8",)),
        ("log-level", "error", "log_level", None),
        ("native", "false", "native", False),
    ],
)
def test_each_annotation_sets_its_option(
    name: str, text: str, field: str, value: object
) -> None:
    found = Options().for_pod({PREFIX + name: text})
    assert getattr(found, field) == (text if value is None else value)


def test_the_table_above_has_every_annotation() -> None:
    (mark,) = test_each_annotation_sets_its_option.pytestmark  # type: ignore[attr-defined] # pytest puts it there
    assert tuple(row[0] for row in mark.args[1]) == NAMES


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("imgae", "x", "is not known (did you mean 'image'?)"),
        ("", "x", "is not known (there are: inject, image,"),
        ("native", "yes", '\'yes\' is neither "true" nor "false"'),
        ("native", True, "True is not a string; write it in quotes"),
        ("image", "two words", "is not the name of an image"),
        ("image", "", "is not the name of an image"),
        ("image", "-rm", "is not the name of an image"),
        ("config-map", "Orders", "is not the name of a ConfigMap"),
        ("cpu-limit", "100Mi", "is not an amount of CPU"),
        ("memory-limit", "100m", "is not an amount of memory"),
        ("memory-limit", "-1Mi", "is not an amount of memory"),
        ("exclude-inbound-ports", "80,,81", "'' is not a port"),
        ("exclude-inbound-ports", "65536", "'65536' is not a port"),
        ("exclude-inbound-ports", "²", "is not a port"),
        ("exclude-outbound-ports", "http", "'http' is not a port"),
        ("exclude-outbound-cidrs", "10.0.0.1/8", "is not a network"),
        ("log-level", "trace", "is not one of debug, info"),
    ],
)
def test_a_wrong_annotation_is_refused_by_name(
    name: str, value: object, words: str
) -> None:
    told = refusal_of({PREFIX + name: value})
    assert told.startswith(f"{PREFIX}{name}: ")
    assert words in told


def test_all_that_is_wrong_is_told_at_once() -> None:
    told = refusal_of({f"{PREFIX}native": "x", f"{PREFIX}image": ""})
    assert f"{PREFIX}native: " in told
    assert f"{PREFIX}image: " in told


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ({"cpu-limit": "50m"}, "cpu-limit (50m) is below sidecar.316/cpu-request ("),
        ({"memory-request": "0.5Gi"}, f"memory-limit ({Options().memory_limit}) is"),
        ({"memory-request": "192M", "memory-limit": "187499k"}, "is below"),
    ],
)
def test_a_limit_below_its_request_is_refused(
    annotations: dict[str, str], words: str
) -> None:
    assert words in refusal_of({PREFIX + k: v for k, v in annotations.items()})


def test_what_is_not_ours_is_not_read() -> None:
    given = {"team": 1, "sidecar.istio.io/inject": "x", f"{PREFIX}injected": "x"}
    assert Options().for_pod(given) == Options()


@given(st.sampled_from(NAMES), st.text())
def test_any_text_is_taken_or_refused_by_name(name: str, text: str) -> None:
    try:
        Options().for_pod({PREFIX + name: text})
        told = PREFIX + name
    except InjectionError as error:
        told = str(error)
    assert PREFIX + name in told
