"""What another configuration would change for traffic, in words.

Two compiled snapshots are compared, not two texts: a default that changed shows at
each route that it holds for, and an order or a comment that does not matter shows
nowhere.

    route "orders": timeouts: request: 2s -> 5s
    upstream "app": endpoints: 127.0.0.1:8080 -> 127.0.0.1:8081
    upstream "app": its connections, its retry budget and the breakers ... begin anew
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from sidecar.settings.application import CommandCheck, HttpCheck, HttpHook
from sidecar.settings.snapshot import (
    Address,
    DnsSource,
    FieldMatch,
    KubernetesSource,
    Listener,
)
from sidecar.settings.units import format_duration, format_size
from sidecar.wire.secret_names import MASK, without_secrets_of_urls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sidecar.settings.snapshot import Route, Snapshot, Upstream

_ABSENT = object()
# Compared apart, or no matter of traffic.
_APART = frozenset(("routes", "upstreams", "version", "source"))
_DERIVED = frozenset(("probe_lease_s",))  # What it is derived from is told itself.
_UNITS: dict[str, Callable[[Any], str]] = {
    "_s": format_duration,
    "_bytes": format_size,
    "_ratio": lambda ratio: f"{ratio:.4g}",
}
_BY_NAME = (HttpCheck, CommandCheck, HttpHook)  # The rest may be secrets.
_EDITS = frozenset(("request_edits", "response_edits"))  # Values may be secrets.
FIXED = {  # By field of a snapshot: the keys of the file that need a restart.
    "listeners": "inbound.listen and outbound.listen",
    "admin": "admin.listen",
    "admin_token_file": "admin.token_file",
    "admin_socket": "admin.socket",
    "health": "health.listen",
    "fault_store": "faults.store",
    "fault_store_age_s": "faults.store_age",
    "fault_store_max_bytes": "faults.store_size",
    "awaits_application": "health.await_application",
    "follows_application": "drain.follow_application",
    "tracing": "telemetry.tracing",
    "log_export": "telemetry.logs",
    "max_series": "telemetry.metrics.max_series",
    "service": "service",
}


def differences(old: Snapshot, new: Snapshot) -> list[str]:
    """Return a sentence for each change; none: traffic is treated as before."""
    return [
        *_differences_of_routes(old, new),
        *_differences_of_upstreams(old, new),
        *_differences_of_the_rest(old, new),
    ]


def needs_restart(old: Snapshot, new: Snapshot) -> list[str]:
    """Return the keys of the file whose change a reload cannot put in force."""
    return [
        key for name, key in FIXED.items() if _fixed(old, name) != _fixed(new, name)
    ]


def put_in_force(old: Snapshot, new: Snapshot) -> Snapshot:
    """Return the new snapshot with what only a restart can change left as it is."""
    tracing = replace(old.tracing, sample_ratio=new.tracing.sample_ratio)
    kept = {name: getattr(old, name) for name in FIXED if name != "tracing"}
    return replace(new, tracing=tracing, **kept)


def _fixed(snapshot: Snapshot, name: str) -> object:
    """Return the part of a field that only a restart can change."""
    if name == "tracing":  # How many are sampled is asked for each request.
        return replace(snapshot.tracing, sample_ratio=0.0)
    return getattr(snapshot, name)


def _differences_of_routes(old: Snapshot, new: Snapshot) -> Iterator[str]:
    before, after = _by_name(old.routes), _by_name(new.routes)
    for name in [*before, *(name for name in after if name not in before)]:
        known, wanted = before.get(name), after.get(name)
        if wanted is None:
            yield f"{name}: is gone; others decide of what it matched, or it gets 404"
        elif known is None:
            yield f"{name}: is new, to upstream {_quoted(wanted.upstream)}"
        else:
            yield from (f"{name}: {text}" for text in _changes(known, wanted))
    kept = [name for name in before if name in after]
    if kept != [name for name in after if name in before]:
        yield "routes: their order has changed, which decides between equals"


def _differences_of_upstreams(old: Snapshot, new: Snapshot) -> Iterator[str]:
    before, after = old.upstreams, new.upstreams
    for name in [*before, *(name for name in after if name not in before)]:
        title = f"upstream {_quoted(name)}"
        known, wanted = before.get(name), after.get(name)
        if wanted is None:
            yield f"{title}: is gone; requests under way to it end as they would"
        elif known is None:
            yield f"{title}: is new: {_endpoints(wanted)}"
        elif known != wanted:
            yield from (f"{title}: {text}" for text in _changes(known, wanted))
            yield (
                f"{title}: its connections, its retry budget and the breakers of its"
                " routes begin anew"
            )


def _differences_of_the_rest(old: Snapshot, new: Snapshot) -> Iterator[str]:
    restarted = needs_restart(old, new)
    for field in fields(old):
        if field.name in _APART:
            continue
        note = " (needs a restart)" if FIXED.get(field.name) in restarted else ""
        known, wanted = getattr(old, field.name), getattr(new, field.name)
        yield from (text + note for text in _changed(field.name, known, wanted))


def _by_name(routes: Iterable[Route]) -> dict[str, Route]:
    """Return routes by what a sentence calls them."""
    where = {"inbound": "", "outbound": " (outbound)"}
    return {f"route {_quoted(r.name)}{where[r.listener]}": r for r in routes}


def _changes(known: Any, wanted: Any) -> Iterator[str]:
    """Yield what differs in two values of the same class, field by field."""
    for field in fields(known):
        if field.compare and field.name not in _DERIVED:
            yield from _changed(
                field.name, getattr(known, field.name), getattr(wanted, field.name)
            )


def _changed(name: str, known: Any, wanted: Any) -> Iterator[str]:
    if known == wanted:
        return
    title, unit = _title(name)
    if name in _EDITS:
        yield from _edits(title, known, wanted)
    elif type(known) is type(wanted) and _has_parts(known):
        yield from (f"{title}: {text}" for text in _changes(known, wanted))
    else:
        yield f"{title}: {_shown(known, unit)} -> {_shown(wanted, unit)}"


def _has_parts(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, _BY_NAME)


def _edits(title: str, known: Any, wanted: Any) -> Iterator[str]:
    """Yield which header fields are edited otherwise; their values may be secrets."""
    for field in fields(known):
        before, after = getattr(known, field.name), getattr(wanted, field.name)
        if not field.compare or before == after:
            continue
        yield f"{title}: {field.name}: {_names(before)} -> {_names(after)}"


def _names(edits: Iterable[Any]) -> str:
    names = [edit if isinstance(edit, bytes) else edit[0] for edit in edits]
    return ", ".join(sorted(name.decode("latin-1") for name in names)) or "none"


def _title(name: str) -> tuple[str, str]:
    """Return a field's name without its unit, and the unit."""
    for unit in _UNITS:
        if name.endswith(unit):
            return name.removesuffix(unit).replace("_", " "), unit
    return name.removeprefix("is_").replace("_", " "), ""


def _shown(value: Any, unit: str) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if unit and isinstance(value, int | float):
        return str(_UNITS[unit](value))
    if isinstance(value, FieldMatch):
        return f"{value.name}: {MASK}"
    if isinstance(value, (Address, Listener, DnsSource, KubernetesSource, *_BY_NAME)):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = ((f.name, getattr(value, f.name)) for f in fields(value) if f.compare)
        shown = (_shown(part, _title(name)[1]) for name, part in parts if part)
        return " ".join(shown)
    if isinstance(value, tuple | list | frozenset | set):
        items = sorted(value, key=str) if isinstance(value, frozenset | set) else value
        return ", ".join(_shown(item, unit) for item in items) or "none"
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return without_secrets_of_urls(str(getattr(value, "value", value)))


def _endpoints(upstream: Upstream) -> str:
    if upstream.discovery is not None:
        return str(upstream.discovery)
    return ", ".join(map(str, upstream.endpoints)) or "no endpoint"


def _quoted(name: str) -> str:
    return f'"{name}"'
