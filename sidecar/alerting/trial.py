"""A test notice, so that a person can try a receiver before it is needed."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from sidecar.alerting.delivery import deliver
from sidecar.alerting.notice import Kind, Notice
from sidecar.alerting.words import Sender
from sidecar.clock import LoopClock
from sidecar.faults.catalogue import FaultCode

if TYPE_CHECKING:
    from sidecar.alerting.outbox import Delivery
    from sidecar.settings.alert_plan import Receiver
    from sidecar.settings.snapshot import Snapshot

_SPEC = FaultCode.CONN_REFUSED.spec


async def try_receiver(snapshot: Snapshot, receiver: Receiver) -> Delivery:
    """Send one test notice, once."""
    plan = snapshot.alerts
    sender = Sender(
        snapshot.service, socket.gethostname(), plan.page_url, plan.runbook_url
    )
    wall_ns = LoopClock(asyncio.get_running_loop()).wall_ns()
    notice = Notice(
        kind=Kind.TEST,
        group="0" * 16,
        severity=_SPEC.severity.name,
        code=_SPEC.code,
        title="a test",
        fix="Nothing is wrong: somebody tries who is told.",
        state="new",
        detail="sent by: sidecar alerts --test",
        count=1,
        first_ns=wall_ns,
        last_ns=wall_ns,
    )
    return await deliver(receiver, (notice,), sender, wall_ns, plan.timeout_s)
