"""Groups, rules and notices, plain unless a test says otherwise."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from sidecar.alerting.book import AlertBook, Post
from sidecar.alerting.notice import Kind, Notice
from sidecar.alerting.words import Sender
from sidecar.faults.catalogue import FaultCode
from sidecar.record.feed.failure import Failure
from sidecar.record.feed.groups import FaultGroups
from sidecar.settings.load import load_text
from tests.support.outcomes import NOON_NS, failed

if TYPE_CHECKING:
    from sidecar.faults.spec import Severity
    from sidecar.record.feed.group import Group

START_S = 1000.0
SENDER = Sender("shop", "pod-1", "http://127.0.0.1:15000", "https://docs.test/faults")
HOOK = "hook: {webhook: {url: 'http://127.0.0.1:1/'}}"
MAIL = "post: {mail: {host: 127.0.0.1, from: a@b.test, to: [c@d.test]}}"


def plan(alerts: str = "", receivers: str = f"{HOOK}, {MAIL}") -> Any:
    """Return the plan of a file whose `alerts` have these keys, too."""
    text = f"""
upstreams: {{app: {{endpoints: ["127.0.0.1:8080"]}}}}
routes: [{{name: all, upstream: app}}, {{name: else, upstream: app}}]
alerts: {{receivers: {{{receivers}}}, {alerts}}}
"""
    return load_text(text).snapshot.alerts


class Told:
    """A book, the groups it looks at, and a clock that is a number."""

    def __init__(self, alerts: str = "", *, most: int = 500) -> None:
        self.now_s = START_S
        self.requests: dict[str, int] = {}
        self.groups = FaultGroups(lambda: dict(self.requests), most=most)
        self.book = AlertBook(plan(alerts))

    def fail(
        self,
        code: FaultCode = FaultCode.CONN_REFUSED,
        severity: Severity | None = None,
        count: int = 1,
        **fields: Any,
    ) -> Group:
        outcome = failed(code, **fields)
        self.requests[outcome.route] = self.requests.get(outcome.route, 0) + count
        worst = severity or code.spec.severity
        group = self.groups.add(outcome, outcome.fault, worst, self.now_s, count=count)
        group.examples.offer(Failure(outcome, worst, {}, group.id), Random(316))
        return group

    def recover(self, route: str = "all") -> list[Post]:
        """Let a route answer, and be quiet for a minute."""
        self.groups.succeeded(route, self.now_s)
        return self.after(60.0)

    def after(self, seconds: float) -> list[Post]:
        """Return what is due so much later."""
        self.now_s += seconds
        return self.look()

    def look(self) -> list[Post]:
        traffic = self.groups.traffic()
        wall_ns = NOON_NS + int((self.now_s - START_S) * 1e9)

        def share_of(group: Group) -> float:
            return self.groups.share_of_traffic(group, self.now_s, traffic)

        known = list(self.groups)
        posts = self.book.look(known, share_of, self.now_s, wall_ns)
        ids = {group.id for group in known}
        return posts + self.book.turn(ids, share_of, self.now_s, wall_ns)


def kinds(posts: list[Post]) -> dict[str, str]:
    """Return by receiver what kind of notice is due."""
    return {
        name: post.notice.kind.value
        for post in posts
        if not post.is_silenced
        for name in post.receivers
    }


def notice(**fields: Any) -> Notice:
    plain = Notice(
        kind=Kind.FIRING,
        group="0123456789abcdef",
        severity="P1",
        code="316-CONN-REFUSED",
        title="connection refused",
        fix="Is the application up?",
        state="new",
        detail="127.0.0.1:8080: connection refused",
        route="all",
        upstream="app",
        endpoint="127.0.0.1:8080",
        count=12,
        rate_per_s=1.5,
        share_ratio=0.25,
        first_ns=NOON_NS,
        last_ns=NOON_NS + 5_000_000_000,
        lasted_s=5.0,
        fault_id="018bcfe5680012345678",
        trace_id="0af7651916cd43dd8448eb211c80319c",
        rules=("default",),
    )
    return replace(plain, **fields)
