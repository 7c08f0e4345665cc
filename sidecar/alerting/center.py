"""The alerts at work: a look a second, and one attempt at a time for each receiver.

look      groups -> book -> outboxes; a millisecond at most
attempts  a task for each receiver that has something due: a receiver that hangs
holds up itself alone, for `timeout`, and its outbox is bounded
close     what waits is tried once more, within a bound that the caller gives
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from sidecar.alerting.book import AlertBook
from sidecar.alerting.delivery import deliver
from sidecar.alerting.outbox import Outbox
from sidecar.alerting.words import Sender

if TYPE_CHECKING:
    from sidecar.alerting.book import Post
    from sidecar.alerting.notice import Notice
    from sidecar.alerting.outbox import Delivery
    from sidecar.clock import Clock
    from sidecar.record.feed.group import Group
    from sidecar.record.recorder import Recorder
    from sidecar.settings.alert_plan import Receiver
    from sidecar.settings.snapshot import Snapshot

_log = logging.getLogger(__name__)

_LOOK_S: Final = 1.0
_BATCH: Final = 20  # Groups between two turns of the loop: a millisecond at most.
_KEPT: Final = 100  # Notices that are settled.


@dataclass(frozen=True, slots=True)
class Settled:
    """A notice, and what came of it."""

    wall_ns: int
    receiver: str
    notice: Notice
    result: str  # "sent", "failed" or "silenced".
    problem: str = ""


class AlertCenter:
    """Tells people.

    Args:
        snapshot: The configuration in force.
        clock: Time.
        recorder: Who knows the groups, and takes events and counts.

    Attributes:
        book: What fires.
        boxes: What is on its way, by receiver.
        attempts: What is under way, by receiver.
        settled: The last notices, the newest last.
        problems: What the latest attempt met, by receiver.
    """

    def __init__(self, snapshot: Snapshot, clock: Clock, recorder: Recorder) -> None:
        self._clock = clock
        self._recorder = recorder
        self._rng = Random()  # noqa: S311 - jitter, no secret
        self._counts = recorder.book.alerts
        self.book = AlertBook(snapshot.alerts)
        self.boxes: dict[str, Outbox] = {}
        self.settled: deque[Settled] = deque(maxlen=_KEPT)
        self.problems: dict[str, str] = {}
        self._receivers: dict[str, Receiver] = {}
        self.attempts: dict[str, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None
        self.use(snapshot)

    def use(self, snapshot: Snapshot) -> None:
        """Go by another configuration; what fires and what waits goes on."""
        plan = snapshot.alerts
        self._sender = Sender(
            snapshot.service, socket.gethostname(), plan.page_url, plan.runbook_url
        )
        self.book.use(plan)
        self._receivers = {receiver.name: receiver for receiver in plan.receivers}
        for name in self.boxes.keys() - self._receivers:
            del self.boxes[name]
            self._counts.forget(name)
            self.problems.pop(name, None)
        for name in plan.names:
            box = self.boxes.setdefault(name, Outbox(plan, self._rng))
            box.plan = plan
            self._counts.waiting[name] = len(box)

    def start(self) -> None:
        """Look once a second from now on."""
        self._watch = asyncio.get_running_loop().create_task(self._look_on())

    async def close(self, bound_s: float) -> None:
        """Look once more, try once to send what waits, and end."""
        if self._watch is None:
            return
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        self._watch = None
        await self._look_safely()
        lasts = [asyncio.ensure_future(self._last(name)) for name in self.boxes]
        if lasts:
            await asyncio.wait(lasts, timeout=bound_s)
        tasks = [*lasts, *self.attempts.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for name, box in self.boxes.items():
            if left := len(box):
                self._counts.add(name, "failed", left)
                _log.warning("alerts: %d notices did not get to %s", left, name)

    async def look(self) -> None:
        """Let the book see the groups, a few at a time; send what is due."""
        now_s, wall_ns = self._clock.now_s(), self._clock.wall_ns()
        groups = self._recorder.book.groups
        traffic: dict[str, int] = {}

        def share_of(group: Group) -> float:
            if not traffic:  # Only if a rule, or a notice, asks.
                traffic.update(groups.traffic())
            return groups.share_of_traffic(group, now_s, traffic)

        if self._receivers:
            known = list(groups)
            for start in range(0, len(known), _BATCH):
                some = known[start : start + _BATCH]
                self._take(self.book.look(some, share_of, now_s, wall_ns))
                await asyncio.sleep(0)
        ids = {group.id for group in groups}
        self._take(self.book.turn(ids, share_of, now_s, wall_ns))
        self._counts.firing = sum(1 for _ in self.book)
        self._send_due()

    def _take(self, posts: list[Post]) -> None:
        """Put notices where they wait for their message."""
        now_s = self._clock.now_s()
        for post in posts:
            if not post.is_silenced:
                self._tell_event(post)
            for name in post.receivers:
                if post.is_silenced:
                    self._settle(name, (post.notice,), "silenced")
                elif name in self.boxes:  # Else a reload came in between.
                    self.boxes[name].put(post.notice, now_s)

    def _send_due(self) -> None:
        now_s = self._clock.now_s()
        for name, box in self.boxes.items():
            if box.dropped:
                self._counts.add(name, "dropped", box.dropped)
                box.dropped = 0
            self._counts.waiting[name] = len(box)
            if box.due_s(now_s) <= now_s and name not in self.attempts:
                self._attempt(name)

    async def _look_on(self) -> None:
        while True:
            await self._look_safely()
            await asyncio.sleep(_LOOK_S)

    async def _look_safely(self) -> None:
        try:
            await self.look()
        except Exception:  # noqa: BLE001 - a bug would end all of it, in silence
            _log.exception("alerts: a look failed")

    def _attempt(self, name: str) -> asyncio.Task[None]:
        work = self._try(name, self.boxes[name], self._receivers[name])
        task = asyncio.get_running_loop().create_task(work)
        self.attempts[name] = task
        task.add_done_callback(lambda _: self.attempts.pop(name, None))
        return task

    async def _try(self, name: str, box: Outbox, receiver: Receiver) -> None:
        """Make one attempt for a receiver, and take what comes of it."""
        message = box.take(self._clock.now_s())
        wall_ns, limit_s = self._clock.wall_ns(), box.plan.timeout_s
        done = await deliver(receiver, message, self._sender, wall_ns, limit_s)
        is_settled = box.settle(done, self._clock.now_s())
        if self.boxes.get(name) is not box:
            return  # A reload has taken the receiver away.
        self.problems[name] = done.problem
        if done.is_sent:
            self._counts.succeeded_s[name] = self._clock.wall_ns() / 1e9
            self._settle(name, message, "sent", done.problem)
        elif is_settled:
            self._give_up(name, message, done)
        else:
            self._counts.add(name, "retried", len(message))
            _log.warning("alerts: %s %s; to be tried again", name, done.problem)
        self._counts.waiting[name] = len(box)

    async def _last(self, name: str) -> None:
        """Wait for the attempt under way, then send what waits while it is taken."""
        if (running := self.attempts.get(name)) is not None:
            await asyncio.wait((running,))
        box = self.boxes[name]
        while left := len(box):
            await self._attempt(name)
            if len(box) >= left:
                break  # It is not taken.

    def _give_up(self, name: str, message: tuple[Notice, ...], done: Delivery) -> None:
        _log.error("alerts: %s %s; given up", name, done.problem)
        self._settle(name, message, "failed", done.problem)
        self._recorder.event(
            "alert", name, done.problem, state="failed", notices=len(message)
        )

    def _settle(
        self, name: str, message: tuple[Notice, ...], result: str, problem: str = ""
    ) -> None:
        self._counts.add(name, result, len(message))
        wall_ns = self._clock.wall_ns()
        for notice in message:
            self.settled.append(Settled(wall_ns, name, notice, result, problem))

    def _tell_event(self, post: Post) -> None:
        notice = post.notice
        self._recorder.event(
            "alert",
            notice.code,
            notice.title,
            upstream=notice.upstream,
            state=notice.kind.value,
            severity=notice.severity,
            group=notice.group,
            receivers=list(post.receivers),
        )
