"""How the page is built, where it cannot be."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

FILE = Path(__file__).parents[2] / "sidecar" / "page" / "backend.py"


@pytest.fixture
def backend() -> ModuleType:
    pytest.importorskip("setuptools")
    spec = importlib.util.spec_from_file_location("backend_of_tests", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_who_wants_no_page_waits_for_no_registry() -> None:
    environ = os.environ | {
        "SIDECAR_PAGE": "skip",
        "npm_config_registry": "http://127.0.0.1:9/",
    }
    done = subprocess.run(
        [sys.executable, str(FILE)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    assert "the page stays as it is" in done.stdout


def test_a_wheel_that_cannot_have_it_says_why_without_a_traceback(
    backend: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails() -> None:
        raise backend.PageError("no registry")  # noqa: EM101, TRY003 - it does not matter

    monkeypatch.setattr(backend, "build", fails)
    monkeypatch.setattr(backend, "_SKIPPED", False)
    with pytest.raises(SystemExit, match="no registry"):
        backend.build_wheel(str(tmp_path))
