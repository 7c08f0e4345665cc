"""Which notices are due, and to whom: looked at once a second, pure.

    a rule holds for `after`  -> FIRING   to its receivers, once each
    the severity got worse    -> WORSE    to those who were told less
    `repeat` later            -> REPEAT   if it has failed since
    the group has recovered   -> RESOLVED to all who were told; of one that began again
                                 soon after that, once it is over for `keep_firing`
    the group is gone         -> FORGOTTEN, likewise

A group that fires does so until it has recovered, whatever its rate does meanwhile.
A silence keeps what begins from being told until it ends; what was told is resolved
all the same. After a restart the book is empty: what fires then is told anew, with
the same group id, and nothing is told of groups that do not fail any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Final

from sidecar.alerting.matching import Seen, holds, selects
from sidecar.alerting.notice import Kind, Notice, notice_of, rank_of
from sidecar.record.feed.group import State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sidecar.alerting.matching import ShareOf
    from sidecar.record.feed.group import Group
    from sidecar.settings.alert_plan import AlertPlan, Rule, Silence

MAX_SILENCES: Final = 100  # By hand; a file may have more.


@dataclass(slots=True)
class Told:
    """What one receiver knows of one group."""

    rank: int  # The worst that it was told.
    at_s: float
    count: int


@dataclass(slots=True)
class Alert:
    """A group that a rule means, or meant in this episode."""

    group: Group
    began_s: float  # The first episode that it is of.
    is_flapping: bool = False  # The last end was told too soon.
    over_since_s: float | None = None  # If it is, and is waited with.
    held_since_s: dict[Rule, float] = field(default_factory=dict)
    fired: dict[Rule, float] = field(default_factory=dict)  # Since when.
    told: dict[str, Told] = field(default_factory=dict)  # By receiver.
    hushed: set[str] = field(default_factory=set)  # Would be told, but for a silence.

    @property
    def rules(self) -> tuple[str, ...]:
        """Return the names of the rules that fire."""
        return tuple(dict.fromkeys(rule.name for rule in self.fired))

    def note(self, receiver: str, now_s: float, *, is_silenced: bool) -> None:
        """Remember that a receiver is told now, or would be."""
        if is_silenced:
            self.hushed.add(receiver)
            return
        self.hushed.discard(receiver)
        rank, before = rank_of(self.group.severity.name), self.told.get(receiver)
        worst = rank if before is None else min(rank, before.rank)
        self.told[receiver] = Told(worst, now_s, self.group.count)


@dataclass(frozen=True, slots=True)
class Post:
    """A notice, and whom it is for."""

    receivers: tuple[str, ...]
    notice: Notice
    is_silenced: bool = False  # Then it is only counted.


class AlertBook:
    """All that fires, and who knows.

    Args:
        plan: The rules.

    Attributes:
        plan: The rules in force.
        silences: By hand, beside those of the plan, by id.
    """

    def __init__(self, plan: AlertPlan) -> None:
        self.plan = plan
        self.silences: dict[str, Silence] = {}
        self._alerts: dict[str, Alert] = {}
        self._ended_s: dict[str, float] = {}  # When an end was told, by group.
        self._numbers = count(1)

    def __iter__(self) -> Iterator[Alert]:
        """Yield what fires."""
        return (alert for alert in self._alerts.values() if alert.fired)

    def use(self, plan: AlertPlan) -> None:
        """Go by another plan; what fires goes on, and nobody is told twice."""
        self.plan = plan
        for alert in self._alerts.values():
            for kept in (alert.held_since_s, alert.fired):
                for rule in kept.keys() - set(plan.rules):
                    del kept[rule]
            for name in alert.told.keys() - set(plan.names):
                del alert.told[name]

    def silence(self, silence: Silence) -> str | None:
        """Add a silence; return its id, or None if there are too many."""
        if len(self.silences) >= MAX_SILENCES:
            return None
        name = f"s{next(self._numbers)}"
        self.silences[name] = silence
        return name

    def look(
        self, groups: Iterable[Group], share_of: ShareOf, now_s: float, wall_ns: int
    ) -> list[Post]:
        """Return what is due now of some groups; of all in turn, a few at a time.

        Args:
            groups: Some of those that there are.
            share_of: Tells which part of its route's requests met a group.
            now_s: On the steady clock.
            wall_ns: The time of day.
        """
        posts: list[Post] = []
        for group in groups if self.plan.receivers else ():
            seen = Seen(group, now_s, share_of)
            if seen.state is State.RECOVERED:
                posts += self._recovered(seen)
                continue
            alert = self._judged(seen)
            if alert is not None and alert.fired:
                posts += self._due(alert, seen, wall_ns)
        return posts

    def turn(
        self, ids: Collection[str], share_of: ShareOf, now_s: float, wall_ns: int
    ) -> list[Post]:
        """Let go of groups and silences that are no more; return what is due.

        Args:
            ids: Of all groups that there are.
            share_of: As for `look`.
            now_s: On the steady clock.
            wall_ns: The time of day.
        """
        for name, silence in list(self.silences.items()):
            if silence.until_ns <= wall_ns:
                del self.silences[name]
        if not self.plan.receivers:
            self._alerts.clear()
        for name, ended_s in list(self._ended_s.items()):
            if name not in ids or now_s - ended_s >= self.plan.keep_firing_s:
                del self._ended_s[name]
        posts: list[Post] = []
        for gone in self._alerts.keys() - ids:
            seen = Seen(self._alerts[gone].group, now_s, share_of)
            posts += self._end(gone, Kind.FORGOTTEN, seen)
        return posts

    def silence_of(self, group: Group, wall_ns: int) -> Silence | None:
        """Return the silence that a group is under."""
        for silence in (*self.plan.silences, *self.silences.values()):
            if silence.holds_at(wall_ns) and selects(silence.select, group):
                return silence
        return None

    def _judged(self, seen: Seen) -> Alert | None:
        """Let each rule see a group; return it if one of them means it."""
        group, now_s = seen.group, seen.now_s
        alert = self._alerts.get(group.id)
        for rule in self.plan.rules:
            if alert is not None and rule in alert.fired:
                continue
            if not holds(rule, seen):
                if alert is not None:
                    alert.held_since_s.pop(rule, None)
                continue
            if alert is None:
                alert = self._alerts[group.id] = self._alert_of(seen)
            if now_s - alert.held_since_s.setdefault(rule, now_s) >= rule.after_s:
                alert.fired[rule] = now_s
        if alert is not None:
            alert.group = group  # Another, if its place was taken in between.
            alert.over_since_s = None
            if not (alert.fired or alert.held_since_s or alert.told):
                del self._alerts[group.id]
        return alert

    def _due(self, alert: Alert, seen: Seen, wall_ns: int) -> Iterator[Post]:
        kinds: dict[Kind, list[str]] = {}
        for name in dict.fromkeys(n for rule in alert.fired for n in rule.receivers):
            kind = self._kind(alert.told.get(name), alert.group, seen.now_s)
            if kind is not None:
                kinds.setdefault(kind, []).append(name)
        if not kinds:
            return
        is_silenced = self.silence_of(alert.group, wall_ns) is not None
        for kind, names in kinds.items():
            told = [n for n in names if not is_silenced or n not in alert.hushed]
            for name in told:
                alert.note(name, seen.now_s, is_silenced=is_silenced)
            if told:
                yield Post(tuple(told), _notice(kind, alert, seen), is_silenced)

    def _kind(self, told: Told | None, group: Group, now_s: float) -> Kind | None:
        """Return why a receiver is to hear of a group now, if it is."""
        if told is None:
            return Kind.FIRING
        if rank_of(group.severity.name) < told.rank:
            return Kind.WORSE
        is_old = now_s - told.at_s >= self.plan.repeat_s
        # Of less, if its place was taken in between: then it is counted anew.
        return Kind.REPEAT if is_old and group.count != told.count else None

    def _alert_of(self, seen: Seen) -> Alert:
        """Return a new one; it is flapping if its end was told a short while ago."""
        ended_s = self._ended_s.get(seen.group.id, float("-inf"))
        is_flapping = seen.now_s - ended_s < self.plan.keep_firing_s
        return Alert(seen.group, _began_s(seen), is_flapping)

    def _recovered(self, seen: Seen) -> Iterator[Post]:
        """End an alert, unless it may well begin again."""
        alert, now_s = self._alerts.get(seen.group.id), seen.now_s
        if alert is not None and alert.is_flapping and alert.told:
            alert.held_since_s.clear()  # What does not fire begins anew.
            if alert.over_since_s is None:
                alert.over_since_s = now_s
            if now_s - alert.over_since_s < self.plan.keep_firing_s:
                return
        yield from self._end(seen.group.id, Kind.RESOLVED, seen)

    def _end(self, group_id: str, kind: Kind, seen: Seen) -> Iterator[Post]:
        alert = self._alerts.pop(group_id, None)
        if alert is not None and alert.told:
            self._ended_s[group_id] = seen.now_s
            yield Post(tuple(alert.told), _notice(kind, alert, seen))


def _began_s(seen: Seen) -> float:
    return seen.now_s - seen.group.age_s(seen.now_s)


def _notice(kind: Kind, alert: Alert, seen: Seen) -> Notice:
    """Return what is told; an alert may last longer than the group's episode."""
    notice = notice_of(kind, seen, alert.rules)
    earlier_s = max(0.0, _began_s(seen) - alert.began_s)
    return replace(notice, lasted_s=round(notice.lasted_s + earlier_s, 3))
