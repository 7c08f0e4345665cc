"""What every model of the YAML stands on: one base class, and the forms of words."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from sidecar.settings.units import Shape

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])"

Name = Annotated[
    str,
    Shape(
        r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?",
        "a name: letters, digits, '.', '_', '-', at most 63",
    ),
]
FieldName = Annotated[
    str, Shape(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", "the name of a header field")
]
FieldValue = Annotated[
    str,
    Shape(
        r"(?:[!-~](?:[\t -~]*[!-~])?)?",
        "a field value: visible ASCII, no line break, no space at its ends",
    ),
]
Method = Annotated[
    str, Shape(r"[A-Z][A-Z0-9_-]*", "a method, in upper case such as POST")
]
HostName = Annotated[
    str, Shape(rf"{_HOST}(?::[0-9]{{1,5}})?", "a host such as app.example:8080")
]
HostPattern = Annotated[
    str,
    Shape(
        rf"\*|\*\.{_LABEL}(?:\.{_LABEL})*|{_HOST}",
        "a host such as app.example or *.example, without scheme, port and path",
    ),
]
TargetPath = Annotated[
    str,
    Shape(
        r"/[!-\"$->@-~]*",
        "a path: starts with /, ASCII, percent-encoded, without query",
    ),
]
FilePath = Annotated[str, Shape(r"[^\x00-\x1f\x7f]+", "the path of a file")]
TraceUrl = Annotated[
    str,
    Shape(
        r"https?://[^\s{}\x00-\x1f\x7f]+\{trace_id\}[^\s{}\x00-\x1f\x7f]*",
        "where a trace is shown, such as https://traces.example/trace/{trace_id}",
    ),
]
SocketPath = Annotated[
    str,
    Shape(
        r"/[^\x00-\x1f\x7f]{1,106}",  # sun_path has 108 bytes, one of them a NUL.
        "the path of a Unix socket: absolute (an abstract one has no permissions), "
        "at most 107 bytes",
    ),
]
AppCode = Annotated[
    str, Shape(r"(?=.{5,64}$)316(?:-[A-Z0-9]+)+", "a code such as 316-ORDER-SUBMIT-ERR")
]


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


FieldValues = Annotated[tuple[FieldValue, ...], BeforeValidator(_as_list, FieldValue)]


class Settings(BaseModel):
    """Base of every model: immutable, and an unknown key is an error.

    A key with nothing behind it (all that stood there is commented out) means
    its default, as in Kubernetes.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, arbitrary_types_allowed=True
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_empty_keys(cls, data: Any) -> Any:
        if isinstance(data, dict) and None in data.values():
            return {key: value for key, value in data.items() if value is not None}
        return data
