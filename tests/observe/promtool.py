"""Rules on made-up series, by Prometheus's own test runner."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sidecar.cli.alerts import rule_book
from sidecar.observe.promql import Scope
from sidecar.settings.load import load_file

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config" / "examples" / "objectives.yaml"
WHERE = 'job="orders",namespace="shop",instance="a"'

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs Debian's prometheus"
)

Series = dict[str, str]


@cache
def rules_text() -> str:
    """Return the rules of `CONFIG`, whose routes promise different things."""
    settings = load_file(str(CONFIG)).settings
    return rule_book(settings, Scope(), "docs/faults.md").as_prometheus()


def series(name: str, values: str, **labels: str) -> Series:
    """Return a series of one sidecar: a value a minute, as promtool writes them."""
    more = "".join(f',{key}="{value}"' for key, value in labels.items())
    return {f"{name}{{{WHERE}{more}}}": values}


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def check_firing(
    folder: Path,
    given: Series,
    at: str,
    expected: Mapping[tuple[str, str], int],
    **more: Any,
) -> None:
    """Fail unless exactly these fire, by name and window, at that time."""
    (folder / "rules.yaml").write_text(rules_text(), encoding="utf-8")
    samples = [
        {"labels": f'{{alertname="{name}"{_window(window)}}}', "value": count}
        for (name, window), count in expected.items()
    ]
    asked = {
        "expr": 'count by (alertname, window) (ALERTS{alertstate="firing"})',
        "eval_time": at,
        "exp_samples": samples,
    }
    test = {
        "interval": "1m",
        "input_series": [{"series": k, "values": v} for k, v in given.items()],
        "promql_expr_test": [asked],
        **more,
    }
    text = yaml.safe_dump(
        {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    )
    (folder / "test.yaml").write_text(text, encoding="utf-8")
    done = promtool("test", "rules", folder / "test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def _window(window: str) -> str:
    return f',window="{window}"' if window else ""
