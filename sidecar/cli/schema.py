"""sidecar schema: the JSON Schema of the configuration, for editors."""

from __future__ import annotations

import sys

from sidecar.settings.schema import schema_text


def command() -> None:
    """Print the JSON Schema of the configuration.

    Example: sidecar schema > config/schema.json
    """
    sys.stdout.write(schema_text())
