"""One target under atheris, in a process of its own.

    python -m tests.fuzz.engine MODULE TARGET [libFuzzer's flags and folders]

atheris must see the modules before Python does: so they are imported here alone.
"""

from __future__ import annotations

import importlib
import sys

import atheris


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer has had enough; it ends the process itself."""
    module, name, *flags = arguments
    with atheris.instrument_imports(include=["sidecar"]):
        targets = importlib.import_module(module).TARGETS
    atheris.Setup([f"fuzz {name}", *flags], targets[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
