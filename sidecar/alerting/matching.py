"""Whether a group is one that a rule, or a silence, means: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.record.feed.group import Group
    from sidecar.settings.alert_plan import Rule, Selection

    ShareOf = Callable[[Group], float]

_SILENT_S: Final = 60.0


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


class Seen:
    """A group at one moment; what costs is worked out once, and only if it is asked."""

    __slots__ = ("_rate_per_s", "_share_of", "_share_ratio", "group", "now_s", "state")

    def __init__(self, group: Group, now_s: float, share_of: ShareOf) -> None:
        self.group = group
        self.now_s = now_s
        self.state = group.state_at(now_s)
        self._share_of = share_of
        self._rate_per_s: float | None = None
        self._share_ratio: float | None = None

    @property
    def rate_per_s(self) -> float:
        """Return the mean of the last minute."""
        if self._rate_per_s is None:
            self._rate_per_s = self.group.rate_per_s(self.now_s)
        return self._rate_per_s

    @property
    def share_ratio(self) -> float:
        """Return which part of its route's requests met it in the last minute."""
        if self._share_ratio is None:
            self._share_ratio = self._share_of(self.group)
        return self._share_ratio


def holds(rule: Rule, seen: Seen) -> bool:
    """Tell whether what a rule asks for is so now.

    Of a group that is silent for a minute it is not: nobody knows how it stands.
    """
    quiet_s = min(_SILENT_S, seen.group.quiet_s)
    is_quiet = seen.now_s - seen.group.last_s >= quiet_s
    if is_quiet or not selects(rule.select, seen.group):
        return False
    if rule.states and seen.state.value not in rule.states:
        return False
    if rule.rate_per_s and seen.rate_per_s < rule.rate_per_s:
        return False
    return not rule.share_ratio or seen.share_ratio >= rule.share_ratio
