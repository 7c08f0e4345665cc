"""The JSON Schema of the configuration, for editors and for `config/schema.json`."""

from __future__ import annotations

import json
from typing import Any

from pydantic import AliasChoices, BaseModel

from sidecar.settings.models import FileSettings

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Return the schema: defaults in their units, and second names of keys."""
    found = FileSettings.model_json_schema()
    for model in _models(FileSettings, set()):
        described = found if model is FileSettings else found["$defs"][model.__name__]
        properties = described["properties"]
        _show_defaults(model, properties)
        for field in model.model_fields.values():
            alias = field.validation_alias
            if isinstance(alias, AliasChoices):
                first, *others = map(str, alias.choices)
                note = {"description": f"The same as `{first}`."}
                properties.update(dict.fromkeys(others, properties[first] | note))
    return {"$schema": _DIALECT, **found, "title": "Sidecar configuration"}


def schema_text() -> str:
    """Return the schema as it stands in config/schema.json."""
    return json.dumps(schema(), indent=2, sort_keys=True) + "\n"


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the settings class somewhere inside a type, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = model_in(argument)
        if found is not None:
            return found
    return None


def _show_defaults(model: type[BaseModel], properties: dict[str, Any]) -> None:
    """Write defaults as a file would; those of a whole section are its keys' own."""
    bare = model.model_construct().model_dump(mode="json", warnings=False)
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        key = str(alias.choices[0]) if isinstance(alias, AliasChoices) else name
        properties[key].pop("default", None)
        is_section = isinstance(field.default, BaseModel)
        if not field.is_required() and field.default is not None and not is_section:
            properties[key]["default"] = bare[name]


def _models(model: type[BaseModel], seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """Return `model` and all that it is made of."""
    seen.add(model)
    for field in model.model_fields.values():
        inner = model_in(field.annotation)
        if inner is not None and inner not in seen:
            _models(inner, seen)
    return seen
