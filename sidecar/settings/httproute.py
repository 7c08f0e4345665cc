"""The HTTPRoute of the Gateway API as models: every field, and what becomes of it.

A field is one of three: supported (a type of its own), accepted without a meaning for
traffic (`metadata`, `status`), or refused by name (`_refused`). None is passed over in
silence; `docs/httproute.md` has the table, and a test holds it to these models.

Source:
    Gateway API v1 HTTPRoute; GEP-1294 (Service as parent), GEP-1731 (retries),
    GEP-1742 (timeouts), GEP-2257 (durations).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from sidecar.settings.base import FieldName, FieldValue, HostName, Settings, TargetPath
from sidecar.settings.problem import shown
from sidecar.settings.units import Duration, Shape

GROUP = "gateway.networking.k8s.io"
ANNOTATION = "sidecar.316/"

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SUBDOMAIN = rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*"

Label = Annotated[
    str, Shape(_LABEL, "a DNS label: lower case letters, digits and '-', at most 63")
]
ServiceName = Annotated[
    str,
    Shape(
        r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?",
        "the name of a Service: lower case letters, digits and '-', at most 63",
    ),
]
ObjectName = Annotated[
    str, Shape(_SUBDOMAIN, "the name of an object: lower case, such as orders or a.b")
]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Weight = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
RetryCode = Annotated[int, Field(strict=True, ge=400, le=599)]
Attempts = Annotated[int, Field(strict=True, ge=0, le=10)]

REFUSED_FILTERS = {
    "RequestRedirect": "the proxy answers no redirects of its own",
    "RequestMirror": "a request is sent to one backend only",
    "CORS": "the application answers for itself",
    "ExternalAuth": "no other service is asked before a request",
    "ExtensionRef": "there are no filters beside those of the Gateway API",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Refuses whatever a field says that cannot be done here."""

    reason: str

    def __call__(self, value: Any) -> Any:
        """Raise ValueError for a value."""
        if value == []:
            return value  # Says nothing.
        msg = f"is not supported: {self.reason}"
        raise ValueError(msg)


def _refused(reason: str) -> BeforeValidator:
    return BeforeValidator(Refusal(reason))


_REFUSED = {kind: _refused(reason) for kind, reason in REFUSED_FILTERS.items()}


def _known_filter(value: Any) -> Any:
    if isinstance(value, str) and value in REFUSED_FILTERS:
        msg = f"{value} is not supported: {REFUSED_FILTERS[value]}"
        raise ValueError(msg)
    return value


def _without_ours(annotations: dict[str, str]) -> dict[str, str]:
    for name in annotations:
        if name.startswith(ANNOTATION):
            msg = (
                f"{name} is not supported: it is an annotation of pods;"
                " `defaults` of the settings holds for every route"
            )
            raise ValueError(msg)
    return annotations


def _is_service(value: Any) -> Any:
    if value != "Service":
        msg = f"{shown(value)} is not supported: parents and backends are Services"
        raise ValueError(msg)
    return value


ServiceKind = Annotated[Literal["Service"], BeforeValidator(_is_service)]


class KubernetesModel(Settings):
    """Keys as Kubernetes writes them, and no other spelling."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=False)


class Metadata(KubernetesModel):
    """What of it matters here; the rest is the cluster's own."""

    model_config = ConfigDict(extra="ignore")

    name: ObjectName
    namespace: Label = "default"
    creation_timestamp: AwareDatetime | None = None
    annotations: Annotated[dict[str, str], AfterValidator(_without_ours)] = Field(
        default={}
    )


class ParentRef(KubernetesModel):
    """The Service whose traffic a route decides of."""

    group: Literal["", "core"]  # Left out, it would be a Gateway's: nothing attaches.
    kind: ServiceKind
    namespace: Label | None = None
    name: ServiceName
    section_name: Annotated[Any, _refused("write the port's number as port")] = None
    port: Port | None = None


class PathCondition(KubernetesModel):
    """A condition on the path."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: str = "/"


class QueryCondition(KubernetesModel):
    """A condition on a query parameter."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    name: Annotated[str, Field(min_length=1)]
    value: Annotated[str, Field(min_length=1)]


class HeaderCondition(QueryCondition):
    """A condition on a header field."""

    name: FieldName


class RouteMatch(KubernetesModel):
    """All of its conditions must hold."""

    path: PathCondition | None = None
    headers: tuple[HeaderCondition, ...] = ()
    query_params: tuple[QueryCondition, ...] = ()
    method: (
        Literal[
            "GET",
            "HEAD",
            "POST",
            "PUT",
            "DELETE",
            "CONNECT",
            "OPTIONS",
            "TRACE",
            "PATCH",
        ]
        | None
    ) = None


class HeaderField(KubernetesModel):
    """One header field."""

    name: FieldName
    value: FieldValue


class HeaderModifier(KubernetesModel):
    """Changes to header fields."""

    set: tuple[HeaderField, ...] = ()
    add: tuple[HeaderField, ...] = ()
    remove: tuple[FieldName, ...] = ()


class PathModifier(KubernetesModel):
    """What becomes of the path."""

    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: TargetPath | None = None
    replace_prefix_match: TargetPath | None = None


class UrlRewrite(KubernetesModel):
    """Changes to host and path."""

    hostname: HostName | None = None
    path: PathModifier | None = None


class RouteFilter(KubernetesModel):
    """One filter; that its key fits its type is told by `filters.py`."""

    type: Annotated[
        Literal["RequestHeaderModifier", "ResponseHeaderModifier", "URLRewrite"],
        BeforeValidator(_known_filter),
    ]
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    url_rewrite: UrlRewrite | None = Field(default=None, alias="urlRewrite")
    request_redirect: Annotated[Any, _REFUSED["RequestRedirect"]] = None
    request_mirror: Annotated[Any, _REFUSED["RequestMirror"]] = None
    cors: Annotated[Any, _REFUSED["CORS"]] = None
    external_auth: Annotated[Any, _REFUSED["ExternalAuth"]] = None
    extension_ref: Annotated[Any, _REFUSED["ExtensionRef"]] = None


class BackendRef(KubernetesModel):
    """The Service that requests are sent to."""

    group: Literal["", "core"] = ""
    kind: ServiceKind = "Service"
    name: ServiceName
    namespace: Label | None = None
    port: Port
    weight: Weight = 1
    filters: Annotated[Any, _refused("write them as filters of the rule")] = ()


class RouteTimeouts(KubernetesModel):
    """Limits of time; 0s is none."""

    request: Duration | None = None
    backend_request: Duration | None = None


class RouteRetry(KubernetesModel):
    """When a request is sent again."""

    codes: tuple[RetryCode, ...] = ()
    attempts: Attempts | None = None
    backoff: Duration | None = None


class Rule(KubernetesModel):
    """Which requests, where to, and how."""

    name: ObjectName | None = None
    matches: tuple[RouteMatch, ...] = ()
    filters: tuple[RouteFilter, ...] = ()
    backend_refs: tuple[BackendRef, ...]
    timeouts: RouteTimeouts = RouteTimeouts()
    retry: RouteRetry | None = None
    session_persistence: Annotated[
        Any, _refused("requests do not depend on another")
    ] = None


class Spec(KubernetesModel):
    """What the route says."""

    parent_refs: tuple[ParentRef, ...]
    use_default_gateways: Annotated[Any, _refused("Gateways are not served")] = None
    hostnames: Annotated[
        Any,
        _refused(
            "with a Service as parent they mean nothing (GEP-1294);"
            " match the header Host instead"
        ),
    ] = ()
    rules: tuple[Rule, ...]


class HttpRoute(KubernetesModel):
    """One object, as `kubectl get -o yaml` prints it."""

    api_version: Literal[  # Their fields are the same.
        "gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"
    ]
    kind: Literal["HTTPRoute"]
    metadata: Metadata
    spec: Spec
    status: Any = None  # What a controller found; nothing is asked of us.
