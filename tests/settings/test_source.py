"""YAML in: plain data with places, and no file that harms the process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.settings.problem import SettingsError
from sidecar.settings.source import read_file, read_text

if TYPE_CHECKING:
    from pathlib import Path


def complaint(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read_text(text, "x.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("off", "off"),
        ("no", "no"),
        ("yes", "yes"),
        ("7", 7),
        ("0.5", 0.5),
        ("1m30s", "1m30s"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("'7'", "7"),
        ("!!str 7", "7"),
        ("~", None),
        ("", None),
        ("[a, {b: c}]", ["a", {"b": "c"}]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    """No sexagesimals, no dates, and only true and false are booleans."""
    assert read_text(f"a: {text}", "x").data == {"a": value}


def test_each_key_and_value_has_its_place() -> None:
    source = read_text("a:\n  - b: 1\n  - c\n", "x")
    assert source.places[("a",)] == (1, 1)
    assert source.places[("a", 0, "b")] == (2, 5)
    assert source.places[("a", 1)] == (3, 5)


def test_a_problem_below_what_is_written_points_at_what_is() -> None:
    source = read_text("a:\n  b: 1\n", "x")
    assert str(source.problem(("a", "b", "c", 0), "is bad")) == (
        "x:2:3: a.b.c[0]: is bad"
    )


def test_an_alias_stands_for_its_value() -> None:
    assert read_text("a: &x [1]\nb: *x\n", "x").data == {"a": [1], "b": [1]}


def test_a_byte_order_mark_is_no_content() -> None:
    assert read_text("\ufeffa: 1\n", "x").data == {"a": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("a: [", "is not YAML"),
        ("a:\n\t- b", "x.yaml:2:1: is not YAML: found character"),
        ("a: \0", "is not YAML"),
        ("a: *b", "x.yaml:1:4: there is no anchor &b"),
        ("a: 1\n---\nb: 2\n", "x.yaml:3:1: a second document begins here"),
    ],
)
def test_what_is_no_yaml_is_told(text: str, words: str) -> None:
    assert words in complaint(text)


@pytest.mark.parametrize(
    "text", ["a: " + "[" * 200_000, "{a: " * 50_000, "- " * 50_000]
)
def test_deep_nesting_is_refused_before_it_costs_the_stack(text: str) -> None:
    """The C library's own composer recurses until the process is gone."""
    assert "is nested too deeply" in complaint(text)


def test_an_alias_of_itself_ends() -> None:
    assert "go round in a ring" in complaint("a: &a [*a]")


def test_aliases_cannot_make_a_small_file_huge() -> None:
    lines = ["l0: &l0 [" + "x," * 20 + "]"]
    lines += [f"l{n}: &l{n} [" + f"*l{n - 1}," * 20 + "]" for n in range(1, 7)]
    assert "is too large" in complaint("\n".join(lines))


def test_what_can_be_told_beside_other_mistakes_waits_for_them() -> None:
    text = "a: 1\na: 2\n<<: {}\n? [b]\n: 1\nc: !!int d\nd: !!int\ne: !!bool maybe\n"
    source = read_text(text + "f: !!timestamp now\n", "x")
    assert [str(problem) for problem in source.problems] == [
        "x:2:1: a: is there twice (first in line 1)",
        "x:3:1: <<: is no key of YAML 1.2 (an alias can stand for a whole value;"
        " `defaults` is for what routes share)",
        "x:4:3: has a key that is not a word",
        "x:6:4: c: 'd' cannot be read",
        "x:7:4: d: '' cannot be read",
        "x:8:4: e: 'maybe' cannot be read",
        "x:9:4: f: 'now' cannot be read",
    ]
    assert source.data["a"] == 1


@pytest.mark.parametrize("name", ["", "none.yaml", "\0"])
def test_a_path_that_is_no_file_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError):
        read_file(f"{tmp_path}/{name}")


def test_other_encodings_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes("a: é".encode("latin-1"))
    with pytest.raises(SettingsError, match="is not UTF-8 at byte 3"):
        read_file(str(path))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a: 1\nb: \xe9\n", "x.yaml:2:4: is not UTF-8 at byte 8"),
        ("a: 1".encode("utf-16"), "x.yaml:1:1: is not UTF-8 at byte 0 (it is UTF-16"),
        (b"a: \xc3\xa9\0b", "x.yaml:1:5: is not YAML: control characters are not"),
        (b"a:\tx\n\tb: 1\n", "x.yaml:2:1: is not YAML: found a tab"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(
    tmp_path: Path, data: bytes, words: str
) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(data)
    with pytest.raises(SettingsError) as caught:
        read_file(str(path))
    assert words in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_data_or_a_settings_error(text: str) -> None:
    with contextlib.suppress(SettingsError):
        read_text(text, "x")


_VALUES = st.recursive(
    st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), _VALUES, max_size=4))
def test_what_yaml_writes_is_read_back(data: dict[str, object]) -> None:
    """Quoted, so that the writer's YAML 1.1 and this reader's 1.2 agree."""
    text = yaml.safe_dump(data, default_style='"', allow_unicode=True)
    assert read_text(text, "x").data == data or "<<" in text
