"""Rules of Prometheus as values, and as the YAML that it reads."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from sidecar.faults.spec import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TABLE: Final = "the-316-codes"  # The anchor of the page of codes itself.
# What Alertmanagers commonly go by.
_URGENCY: Final = {
    Severity.P0: "critical",
    Severity.P1: "critical",
    Severity.P2: "warning",
    Severity.P3: "info",
}
_NOT_OF_A_NAME: Final = re.compile(r"[^a-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that Prometheus makes of others, so that they are read once."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person should know.

    Attributes:
        lasts: For how long it must be so.
        code: The 316 code to read about; or a template of it; "" for the table.
        labels: What tells it from others of its name.
        keeps: For how long it goes on after it is not so any more; "" is not at all.
    """

    name: str
    severity: Severity
    expr: str
    lasts: str
    summary: str
    description: str
    code: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    keeps: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated one after the other."""

    name: str
    rules: tuple[Alert | Recording, ...]
    interval: str = "30s"


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All rules for one service.

    Attributes:
        service: Its name in the configuration, a label of each rule.
        runbook: The page of codes, which anchors are appended to.
    """

    service: str
    groups: tuple[Group, ...]
    runbook: str

    def as_prometheus(self) -> str:
        """Return a file for `rule_files`."""
        return _yaml(self._data())

    def as_prometheusrule(self) -> str:
        """Return an object for the Prometheus operator."""
        name = _NOT_OF_A_NAME.sub("-", f"sidecar-{self.service}".lower()).strip("-.")
        return _yaml(
            {
                "apiVersion": "monitoring.coreos.com/v1",
                "kind": "PrometheusRule",
                "metadata": {
                    "name": name,
                    "labels": {"app.kubernetes.io/name": name},
                },
                "spec": self._data(),
            }
        )

    def _data(self) -> dict[str, Any]:
        return {
            "groups": [
                {
                    "name": f"{self.service}-{group.name}",
                    "interval": group.interval,
                    "rules": [self._rule(rule) for rule in group.rules],
                }
                for group in self.groups
            ]
        }

    def _rule(self, rule: Alert | Recording) -> dict[str, Any]:
        if isinstance(rule, Recording):
            labels = {"service": self.service}
            return {"record": rule.name, "expr": rule.expr, "labels": labels}
        data: dict[str, Any] = {"alert": rule.name, "expr": rule.expr}
        data["for"] = rule.lasts
        if rule.keeps:
            data["keep_firing_for"] = rule.keeps
        data["labels"] = {
            "severity": _URGENCY[rule.severity],
            "priority": rule.severity.name,
            "service": self.service,
            **({"code": rule.code} if rule.code else {}),
            **rule.labels,
        }
        data["annotations"] = {
            "summary": rule.summary,
            "description": rule.description,
            "runbook_url": f"{self.runbook}#{_anchor(rule.code)}",
        }
        return data


def alerts_of(groups: Iterable[Group]) -> list[Alert]:
    """Return the alerts of some groups, in their order."""
    rules = (rule for group in groups for rule in group.rules)
    return [rule for rule in rules if isinstance(rule, Alert)]


def _anchor(code: str) -> str:
    if code.startswith("{{"):  # Prometheus fills it in.
        return code.replace(" }}", " | toLower }}")
    return code.lower() or TABLE


class _Dumper(yaml.SafeDumper):
    """Writes what has several lines as a block."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - its signature
        """Write everything out."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _yaml(data: dict[str, Any]) -> str:
    """Return it in the order given; a folded line would cut through templates."""
    return yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6
    )
