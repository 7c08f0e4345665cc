"""The compiled build is one: `make test-compiled` runs this suite on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar import exchange


def test_the_data_path_is_compiled() -> None:
    here = Path(__file__).parents[1]
    if here.name != "compiled":
        pytest.skip("these are the sources; `make test-compiled` compiles them")
    assert Path(exchange.__file__ or "").suffix == ".so"
