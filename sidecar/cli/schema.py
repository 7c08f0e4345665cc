"""sidecar schema: the JSON Schema of the configuration, for editors."""

from __future__ import annotations

import json
import sys

from sidecar.settings.models import FileSettings


def schema_text() -> str:
    """Return the schema as it stands in config/schema.json."""
    schema = FileSettings.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, sort_keys=True, default=str) + "\n"


def command() -> None:
    """Print the JSON Schema of the configuration.

    Example: sidecar schema > config/schema.json
    """
    sys.stdout.write(schema_text())
