"""Where an object of Kubernetes has its pod template, and changing it there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sidecar.kube.injection import Injected, inject, uninject
from sidecar.kube.options import PREFIX, InjectionError
from sidecar.kube.template import annotations_of, mapping

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.kube.options import Options

_POD = ("spec", "template")
_TEMPLATES: dict[tuple[str, str], tuple[str, ...]] = {
    ("v1", "Pod"): (),
    ("apps/v1", "Deployment"): _POD,
    ("apps/v1", "StatefulSet"): _POD,
    ("apps/v1", "DaemonSet"): _POD,
    ("apps/v1", "ReplicaSet"): _POD,
    ("batch/v1", "Job"): _POD,
    ("batch/v1", "CronJob"): ("spec", "jobTemplate", *_POD),
}


@dataclass(frozen=True, slots=True)
class Changed:
    """An object after the change, and a line for people about each pod template."""

    value: Any
    notes: tuple[str, ...]


def inject_object(value: Any, options: Options) -> Changed:
    """Return an object whose pod template has a sidecar; of a List, each item.

    Raises:
        InjectionError: A pod cannot have one; says which.
    """
    return _changed(value, lambda template: inject(template, options))


def uninject_object(value: Any) -> Changed:
    """Return an object whose pod template has no sidecar; of a List, each item.

    Raises:
        InjectionError: One cannot be read; says which.
    """

    def change(template: dict[str, Any]) -> Injected:
        bare = uninject(template)
        return Injected(bare, skipped="" if bare != template else "it has no sidecar")

    return _changed(value, change)


def _changed(value: Any, change: Callable[[dict[str, Any]], Injected]) -> Changed:
    if not isinstance(value, dict):
        return Changed(value, ())
    kind = (str(value.get("apiVersion")), str(value.get("kind")))
    items = value.get("items")
    if kind == ("v1", "List") and isinstance(items, list):
        done = [_changed(item, change) for item in items]
        notes = tuple(note for each in done for note in each.notes)
        return Changed({**value, "items": [each.value for each in done]}, notes)
    path = _TEMPLATES.get(kind)
    if path is None:
        return Changed(value, ())
    name = _name(value)
    try:
        return _changed_below(value, path, change, name)
    except InjectionError as error:
        msg = f"{name}: {error}"
        raise InjectionError(msg) from None


def _changed_below(
    value: dict[str, Any],
    path: tuple[str, ...],
    change: Callable[[dict[str, Any]], Injected],
    name: str,
) -> Changed:
    """Change what stands at `path`, and copy the way there."""
    if not path:
        done = change(value)
        verdict = f"left alone: {done.skipped}" if done.skipped else "changed"
        notes = (verdict, *(f"warning: {warning}" for warning in done.warnings))
        return Changed(done.template, tuple(f"{name}: {note}" for note in notes))
    _refuse_misplaced(value, path)
    below = value.get(path[0])
    if not isinstance(below, dict):
        msg = f"{path[0]} is missing, or not a mapping"
        raise InjectionError(msg)
    done_below = _changed_below(below, path[1:], change, name)
    return Changed({**value, path[0]: done_below.value}, done_below.notes)


def _refuse_misplaced(value: dict[str, Any], path: tuple[str, ...]) -> None:
    """Refuse our annotations above the pod template, where nobody would heed them."""
    for annotation in annotations_of(value):
        if str(annotation).startswith(PREFIX):
            place = ".".join((*path, "metadata", "annotations"))
            msg = f"{annotation} stands above the pod template: move it to {place}"
            raise InjectionError(msg)


def _name(value: dict[str, Any]) -> str:
    metadata = mapping(value.get("metadata"))
    name = metadata.get("name") or metadata.get("generateName") or "(no name)"
    return f"{value['kind']}/{name}"
