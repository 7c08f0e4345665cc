"""docs/health.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from sidecar.kube.injection import inject
from sidecar.kube.options import Options
from sidecar.settings.application import (
    ApplicationSettings,
    HttpCheckSettings,
    RecoverySettings,
)
from sidecar.settings.load import load_text
from sidecar.settings.units import format_duration

TEXT = (Path(__file__).parents[2] / "docs" / "health.md").read_text(encoding="utf-8")
CHECK, RECOVERY, POD = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
BASE = """
upstreams: {app: {endpoints: ["127.0.0.1:8080"]}}
routes: [{name: all, upstream: app}]
"""


def test_what_is_shown_can_be_copied() -> None:
    assert load_text(BASE + CHECK).snapshot.application is not None
    check = load_text(BASE + CHECK + RECOVERY).snapshot.application
    assert check is not None
    assert check.recovery is not None


def test_every_key_is_told() -> None:
    for model in (ApplicationSettings, RecoverySettings):
        for key in model.model_fields:
            assert f"`{key}`" in TEXT or f"`{key}: " in TEXT or f"{key}:" in TEXT, key


def test_the_defaults_that_are_told_are_so() -> None:
    check, recovery = ApplicationSettings(), RecoverySettings()
    found = re.findall(r"`([a-z_]+)` \(([0-9]+ ?[a-z]*)", TEXT)
    assert len(found) > 3
    known = check.model_dump() | HttpCheckSettings().model_dump()
    known |= {**recovery.model_dump(), "timeout": check.timeout}
    for key, told in found:
        value = known[key]
        if key == "status":
            continue  # A range is no number.
        shown = format_duration(value) if isinstance(value, float) else str(value)
        assert told.replace(" ", "") == shown, key
    assert (check.unhealthy_after, check.healthy_after) == (3, 2)


def test_the_probe_of_a_pod_stays_when_the_sidecar_is_injected() -> None:
    spec = yaml.safe_load(POD)
    done = inject({"spec": spec}, Options(intercept_inbound=True)).template
    app = next(c for c in done["spec"]["containers"] if c["name"] == "orders")
    [given] = yaml.safe_load(POD)["containers"]
    assert app["livenessProbe"] == given["livenessProbe"]
