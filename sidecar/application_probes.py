"""Probes of the application that the kubelet leaves to the sidecar to ask.

An injection writes them into a variable of the sidecar's container (`kube/probes.py`):

    {"app/livenessProbe": {"httpGet": {"path": "/healthz"}, "number": 8080,
                           "timeoutSeconds": 1}}

Only these are asked, so nobody can have the sidecar ask anything else.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)

VARIABLE: Final = "SIDECAR_APPLICATION_PROBES"
PREFIX: Final = "/application/"


class HttpHeader(BaseModel):
    """One field of an HTTP probe."""

    name: str
    value: str = ""


class HttpGet(BaseModel):
    """An HTTP probe; its port is told beside it."""

    path: str = "/"
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
    except (ValueError, ValidationError, RecursionError) as error:
        _log.error("%s cannot be read: inject the pod again: %s", VARIABLE, error)
        return {}
