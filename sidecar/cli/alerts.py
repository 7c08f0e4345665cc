"""sidecar alerts: rules for Prometheus, from the routes and what they promise.

With --test: try a receiver of the embedded alerts instead.
"""

from __future__ import annotations

import asyncio
import re
import sys
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from sidecar.alerting.trial import try_receiver
from sidecar.observe.alerts import general_groups
from sidecar.observe.objectives import Objective, objective_groups
from sidecar.observe.promql import Scope, equals
from sidecar.observe.rules import RuleBook
from sidecar.settings.compile import effective_slo
from sidecar.settings.load import load_file
from sidecar.settings.problem import SettingsError, nearest, shown

if TYPE_CHECKING:
    from sidecar.settings.load import Loaded
    from sidecar.settings.models import FileSettings

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Format(Enum):
    """Who is to read the rules."""

    PROMETHEUS = "prometheus"
    PROMETHEUSRULE = "prometheusrule"


def command(
    config: Annotated[
        str, typer.Option("-c", "--config", help="Configuration file (YAML).")
    ],
    form: Annotated[
        Format,
        typer.Option(
            "--format", help="A rule file, or an object for the Prometheus operator."
        ),
    ] = Format.PROMETHEUS,
    match: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=VALUE",
            help="Of the series of this service alone, such as job=orders; any number.",
        ),
    ] = None,
    runbook: Annotated[
        str, typer.Option(metavar="URL", help="Where docs/faults.md can be read.")
    ] = "docs/faults.md",
    test: Annotated[
        str | None,
        typer.Option(
            metavar="RECEIVER",
            help="Send a test notice to a receiver of `alerts`, and print no rules.",
        ),
    ] = None,
) -> None:
    """Print alert rules: of the sidecar itself, and of each `slo` of a route.

    Example: sidecar alerts -c config/sidecar.yaml --match job=orders > rules.yaml
    """
    scope = Scope([_matcher(word) for word in match or []])
    try:
        loaded = load_file(config)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    if test is not None:
        _try(loaded, test)
        return
    book = rule_book(loaded.settings, scope, runbook)
    is_object = form is Format.PROMETHEUSRULE
    sys.stdout.write(book.as_prometheusrule() if is_object else book.as_prometheus())


def rule_book(settings: FileSettings, scope: Scope, runbook: str) -> RuleBook:
    """Return all rules for a service."""
    objectives = [
        Objective(
            route.name,
            slo.success,
            tuple((int(name[1:]), s) for name, s in slo.latency if s is not None),
        )
        for route in settings.routes
        for slo in [effective_slo(settings, route)]
    ]
    groups = (
        *general_groups(scope),
        *objective_groups(objectives, settings.service, scope),
    )
    return RuleBook(settings.service, groups, runbook)


def _try(loaded: Loaded, name: str) -> None:
    """Send a test notice; exit 1 if it is not taken, 2 if there is no such receiver."""
    plan = loaded.snapshot.alerts
    found = next((each for each in plan.receivers if each.name == name), None)
    if found is None:
        hint = nearest(name, plan.names)
        told = hint or f"there are: {', '.join(plan.names) or 'none'}"
        sys.stderr.write(f"--test {shown(name)}: no such receiver ({told})\n")
        sys.exit(2)
    done = asyncio.run(try_receiver(loaded.snapshot, found))
    if done.problem:
        sys.stderr.write(f"{name}: {done.problem}\n")
    if not done.is_sent:
        sys.exit(1)
    sys.stdout.write(f"{name}: taken: look whether it has come\n")


def _matcher(word: str) -> str:
    label, mark, value = word.partition("=")
    if not mark or not _LABEL.fullmatch(label):
        sys.stderr.write(f"--match {shown(word)}: write it as LABEL=VALUE\n")
        sys.exit(2)
    return equals(label, value)
