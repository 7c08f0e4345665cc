"""Whether a group is one that a rule, or a silence, means: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.record.groups import QUIET_S, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.record.groups import Group
    from sidecar.settings.alert_plan import Rule, Selection

    ShareOf = Callable[[Group], float]


def selects(select: Selection, group: Group) -> bool:
    """Tell whether a group has all that is asked for."""
    key = group.key
    return (
        (not select.codes or key.code in select.codes)
        and (not select.families or key.code.split("-")[1] in select.families)
        and (not select.severities or group.severity.name in select.severities)
        and (not select.routes or key.route in select.routes)
        and (not select.upstreams or key.upstream in select.upstreams)
    )


def holds(rule: Rule, group: Group, now_s: float, share_of: ShareOf) -> bool:
    """Tell whether what a rule asks for is so now.

    Of a group that is silent for a minute it is not: nobody knows how it stands.
    """
    if now_s - group.last_s >= QUIET_S or not selects(rule.select, group):
        return False
    state = group.state_at(now_s)
    if state is State.RECOVERED or (rule.states and state.value not in rule.states):
        return False
    if rule.rate_per_s and group.rate_per_s(now_s) < rule.rate_per_s:
        return False
    return not rule.share_ratio or share_of(group) >= rule.share_ratio
