"""`filters` of the Gateway API: another way to write what a route changes.

A route taken over from an HTTPRoute has its rewrite and header changes here;
`fold` turns them into the short forms, which is all that `compile.py` reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import AliasChoices, Field

from sidecar.settings.base import (
    FieldName,
    FieldValue,
    HostName,
    Settings,
    TargetPath,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.settings.models import RouteSettings


class NamedValue(Settings):
    """One header field."""

    name: FieldName
    value: FieldValue


class HeaderFilterSettings(Settings):
    """Changes to header fields: remove, then set, then add."""

    set: tuple[NamedValue, ...] = ()
    add: tuple[NamedValue, ...] = ()
    remove: tuple[FieldName, ...] = ()


class PathModifierSettings(Settings):
    """What becomes of the path."""

    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: TargetPath | None = Field(
        default=None,
        validation_alias=AliasChoices("replaceFullPath", "replace_full_path"),
    )
    replace_prefix_match: TargetPath | None = Field(
        default=None,
        validation_alias=AliasChoices("replacePrefixMatch", "replace_prefix_match"),
    )


class UrlRewriteSettings(Settings):
    """Changes to host and path."""

    hostname: HostName | None = None
    path: PathModifierSettings | None = None


class FilterSettings(Settings):
    """One filter; the key beside `type` is the type's name in lower camel case."""

    type: Literal["URLRewrite", "RequestHeaderModifier", "ResponseHeaderModifier"]
    url_rewrite: UrlRewriteSettings | None = Field(
        default=None, validation_alias=AliasChoices("urlRewrite", "url_rewrite")
    )
    request_header_modifier: HeaderFilterSettings | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "requestHeaderModifier", "request_header_modifier"
        ),
    )
    response_header_modifier: HeaderFilterSettings | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "responseHeaderModifier", "response_header_modifier"
        ),
    )


# Type: its own key in the file, the field that holds it, the short form it stands for.
_KINDS = {
    "URLRewrite": ("urlRewrite", "url_rewrite", "rewrite"),
    "RequestHeaderModifier": (
        "requestHeaderModifier",
        "request_header_modifier",
        "request_headers",
    ),
    "ResponseHeaderModifier": (
        "responseHeaderModifier",
        "response_header_modifier",
        "response_headers",
    ),
}


def find_mistakes(route: RouteSettings) -> Iterator[tuple[int, str]]:
    """Yield the place in `filters` and the message of whatever cannot be folded."""
    types = [one.type for one in route.filters]
    for index, one in enumerate(route.filters):
        key, field, short = _KINDS[one.type]
        if getattr(one, field) is None:
            yield index, f"{one.type} needs the key {key}"
        for other, (other_key, other_field, _) in _KINDS.items():
            if other != one.type and getattr(one, other_field) is not None:
                yield index, f"{other_key} does not belong to {one.type}"
        if one.type in types[:index]:
            yield index, f"{one.type} is there twice"
        if short in route.model_fields_set:
            yield index, f"says what {short} says, too: keep one of them"
        yield from ((index, message) for message in _path_mistakes(one))


def _path_mistakes(one: FilterSettings) -> Iterator[str]:
    path = one.url_rewrite.path if one.url_rewrite else None
    if path is None:
        return
    is_full = path.type == "ReplaceFullPath"
    wanted = path.replace_full_path if is_full else path.replace_prefix_match
    other = path.replace_prefix_match if is_full else path.replace_full_path
    if wanted is None or other is not None:
        key = "replaceFullPath" if is_full else "replacePrefixMatch"
        yield f"{path.type} needs the key {key}, and no other"


def fold(route: RouteSettings) -> RouteSettings:
    """Return the route with its filters turned into the short forms."""
    if not route.filters:
        return route
    short = {}
    for one in route.filters:
        if one.url_rewrite is not None:
            short["rewrite"] = _rewrite(route, one.url_rewrite)
        if one.request_header_modifier is not None:
            short["request_headers"] = _edits(route, one.request_header_modifier)
        if one.response_header_modifier is not None:
            short["response_headers"] = _edits(route, one.response_header_modifier)
    return route.model_copy(update=short)


def _rewrite(route: RouteSettings, given: UrlRewriteSettings) -> Settings:
    path = given.path
    return route.rewrite.model_copy(
        update={
            "host": given.hostname,
            "path": path.replace_full_path if path else None,
            "prefix": path.replace_prefix_match if path else None,
        }
    )


def _edits(route: RouteSettings, given: HeaderFilterSettings) -> Settings:
    return route.request_headers.model_copy(
        update={
            "set": {one.name: (one.value,) for one in given.set},
            "add": _grouped(given.add),
            "remove": given.remove,
        }
    )


def _grouped(fields: tuple[NamedValue, ...]) -> dict[str, tuple[str, ...]]:
    grouped: dict[str, tuple[str, ...]] = {}
    for field in fields:
        grouped[field.name] = (*grouped.get(field.name, ()), field.value)
    return grouped
