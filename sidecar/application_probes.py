"""Probes of the application that the kubelet leaves to the sidecar to ask.

An injection writes them into a variable of the sidecar's container (`kube/probes.py`):

    {"app/livenessProbe": {"httpGet": {"path": "/healthz"}, "number": 8080,
                           "timeoutSeconds": 1}}

Only these are asked, so nobody can have the sidecar ask anything else.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)

VARIABLE: Final = "SIDECAR_APPLICATION_PROBES"
PREFIX: Final = "/application/"


def _scheme(given: object) -> str:
    return str(given).lower() or "http"


class _Told(BaseModel):
    """A part of a manifest, where nothing given is as good as none."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None}


class HttpHeader(_Told):
    """One field of an HTTP probe."""

    name: str
    value: str = ""


class HttpGet(_Told):
    """An HTTP probe; its port is told beside it."""

    path: str = "/"
    scheme: Annotated[Literal["http", "https"], BeforeValidator(_scheme)] = "http"
    http_headers: list[HttpHeader] = Field(default=[], alias="httpHeaders")


class ApplicationProbe(BaseModel):
    """One probe: of HTTP, or of whether somebody listens."""

    http_get: HttpGet | None = Field(default=None, alias="httpGet")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(alias="number")
    timeout_s: Annotated[float, Field(gt=0)] = Field(
        default=1.0, alias="timeoutSeconds"
    )


_PROBES = TypeAdapter(dict[str, ApplicationProbe])


def probes_of(environ: Mapping[str, str]) -> dict[str, ApplicationProbe]:
    """Return the probes by "container/kind"; what cannot be read is logged."""
    text = environ.get(VARIABLE, "")
    if not text:
        return {}
    try:
        return _PROBES.validate_python(json.loads(text))
    except ValidationError as error:
        reason = _first_of(error)
    except (ValueError, RecursionError) as error:
        reason = str(error)
    _log.error("%s cannot be read: inject the pod again: %s", VARIABLE, reason)
    return {}


def _first_of(error: ValidationError) -> str:
    """Return the first mistake, without what was given: that may be a secret."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[
        0
    ]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
