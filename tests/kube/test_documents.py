"""YAML in and out: nothing changes its meaning, and no more than need be its look."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.kube.documents import rewrite
from sidecar.kube.options import InjectionError, Options
from sidecar.kube.workloads import Changed, inject_object

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: one}
spec: {containers: [{name: app}]}
"""
RING = "{hostNetwork: true, containers: [{name: app, x: &a [*a]}]}"
MISPLACED = """\
apiVersion: batch/v1
kind: CronJob
metadata: {name: c}
spec: {jobTemplate: {metadata: {annotations: {sidecar.316/native: "true"}}, spec: {}}}
"""


def injected(text: str) -> str:
    return rewrite(text, lambda value: inject_object(value, Options()))[0]


def notes_of(text: str) -> tuple[str, ...]:
    return rewrite(text, lambda value: inject_object(value, Options()))[1]


def refusal_of(text: str) -> str:
    with pytest.raises(InjectionError) as refused:
        injected(text)
    return str(refused.value)


def written(value: Any) -> str:
    """Return how a value stands in a document that changes."""
    text, _ = rewrite("a: 1\n", lambda _: Changed({"value": value}, ()))
    return text


def read(text: str) -> Any:
    """Return what a document holds, as it was understood."""
    found: list[Any] = []

    def note(value: Any) -> Changed:
        found.append(value)
        return Changed(value, ())

    rewrite(text, note)
    return found[-1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "---\n---\n",
        "kind:   Service # as it is\napiVersion: v1\n",
        "{apiVersion: v1, kind: Service}",
        "- a\n- list\n",
        "word",
        "a: |\n  ---\n  b\r\n",
        "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nspec: {tasks: []}\n",
        "apiVersion: v1\nkind: List\nitems: []\n",
        "apiVersion: v1\nkind: List\nitems: null\n",
        "apiVersion: v1\nkind: List\nitems: [{a: 1}, x]\n",
    ],
)
def test_what_has_no_pods_stays_as_it_is(text: str) -> None:
    assert injected(text) == text


def test_documents_beside_a_pod_stay_as_they_are() -> None:
    before, after = "# a\n---\nkind: X # b\n---\n", "\n---   # c\nkind:   Y\n"
    text = injected(f"{before}{POD}{after}")
    assert text.startswith(f"# a\n---\nkind: X # b\n---\n{POD.splitlines()[0]}\n")
    assert text.endswith("---   # c\nkind:   Y\n")
    assert len(list(yaml.safe_load_all(text))) == 3


def test_the_order_of_keys_stays() -> None:
    text = injected("kind: Pod\n" + POD.replace("kind: Pod\n", ""))
    assert list(yaml.safe_load(text)) == ["kind", "apiVersion", "metadata", "spec"]


def test_json_is_read_too() -> None:
    text = (
        '{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a"}]}}'
    )
    assert "sidecar-316" in injected(text)


@pytest.mark.parametrize("word", ["1e3", "0o17", "y", "N", "2024-01-01", "12:30", "~",
    "0x1F", "1_000", ".5", "+.inf", "yes", "on", "null", "0b11", "1.", "-1e+3",
])  # fmt: skip
def test_a_string_that_looks_like_something_else_is_quoted(word: str) -> None:
    assert written(word) in (f"value: '{word}'\n", f'value: "{word}"\n')


@pytest.mark.parametrize(
    "word", ["100m", "96Mi", "app:1", "a-b", "/healthz", "10.0.0.0/8"]
)
def test_an_ordinary_word_is_not(word: str) -> None:
    assert written(word) == f"value: {word}\n"


def test_lines_stay_lines() -> None:
    assert written("a: 1\nb: 2\n") == "value: |\n  a: 1\n  b: 2\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-01-01", "2024-01-01"),
        ("12:30", "12:30"),
        ("0644", 0o644),
        ("0", 0),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        ("-7", -7),
        ("yes", True),
        ("y", "y"),
        ("1.2.3", "1.2.3"),
        ("100m", "100m"),
    ],
)
def test_words_are_read_as_kubectl_reads_them(text: str, value: object) -> None:
    found = read(f"a: {text}\n")["a"]
    assert (found, type(found)) == (value, type(value))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(_VALUES)
def test_what_is_written_is_read_as_the_same(value: object) -> None:
    """By this reader, and by one that keeps to YAML 1.1."""
    text = written(value)
    assert read(text) == {"value": value}
    assert yaml.safe_load(text) == {"value": value}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{POD}---\na: [\n", "line 7: not YAML"),
        (f"{POD}---\na: 1\nb: 2\na: 3\n", "line 8: not YAML: key 'a' stands twice"),
        ("a: \0", "not YAML"),
        ("a: !!python/object/apply:os.getcwd []", "not YAML"),
        ("[" * 10_000, "nested too deep"),
        (POD.replace("{containers: [{name: app}]}", RING), "nested too deep"),
        ("a: *b", "line 1: not YAML"),
        (POD.replace("[{name: app}]", "[]"), "Pod/one: spec.containers is missing"),
        (POD.replace("spec:", "x:"), "Pod/one: spec.containers is missing"),
        (
            "apiVersion: apps/v1\nkind: Deployment\n",
            "Deployment/(no name): spec is mis",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, annotations: "
            '{sidecar.316/inject: "false"}}\nspec: {template: {}}\n',
            "Deployment/d: sidecar.316/inject stands above the pod template: move "
            "it to spec.template.metadata.annotations",
        ),
        (MISPLACED, "CronJob/c: sidecar.316/native stands above the pod template"),
        ("%YAML 1.1\n", "line 2: not YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, words: str) -> None:
    assert words in refusal_of(text)


def test_each_pod_is_told_of() -> None:
    wish = "{name: two, annotations: {sidecar.316/inject: 'false'}}"
    out = POD.replace("{name: one}", wish)
    assert notes_of(f"{POD}---\n{out}---\nkind: X\n") == (
        "Pod/one: changed",
        "Pod/two: left alone: sidecar.316/inject is false",
    )
