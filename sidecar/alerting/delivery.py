"""One attempt to tell one receiver, whatever it is, in bounded time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.alerting.trust import failed, failed_for_good

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sidecar.alerting.notice import Notice
    from sidecar.alerting.outbox import Delivery
    from sidecar.alerting.words import Sender
    from sidecar.settings.alert_plan import Mail, Receiver, Webhook

    Message = Sequence[Notice]
    Send = Callable[[Mail, Message, Sender, int, float], Awaitable[Delivery]]
    Post = Callable[[Webhook, Message, Sender, int], Awaitable[Delivery]]

_LOADING_S: Final = 60.0  # Of the first time; not of `timeout`, for nobody hangs.


async def deliver(
    receiver: Receiver,
    message: Sequence[Notice],
    sender: Sender,
    wall_ns: int,
    timeout_s: float,
) -> Delivery:
    """Send a message once; what goes wrong is an answer, not an exception."""
    # The libraries are heavy: loaded once they are needed, and in a thread, or the
    # traffic would be held up.
    try:
        async with asyncio.timeout(_LOADING_S):
            sinks = await asyncio.to_thread(_sinks)
    except (RuntimeError, TimeoutError):
        return failed("was not asked: no thread could be had")
    try:
        async with asyncio.timeout(timeout_s):
            if receiver.mail is not None:
                return await sinks.send_mail(
                    receiver.mail, message, sender, wall_ns, timeout_s
                )
            assert receiver.webhook is not None  # noqa: S101 - it has one of them
            return await sinks.post(receiver.webhook, message, sender, wall_ns)
    except TimeoutError:
        return failed(f"does not answer in {timeout_s:g} s")
    except RuntimeError as error:  # As where no thread can be had: that may pass.
        return failed(f"was not asked ({type(error).__name__})")
    except Exception as error:  # noqa: BLE001 - a bug, whose text may hold a secret
        return failed_for_good(f"a bug: {type(error).__name__}")


class _Sinks(NamedTuple):
    post: Post
    send_mail: Send


def _sinks() -> _Sinks:
    from sidecar.alerting.mail_sink import send  # noqa: PLC0415 - see above
    from sidecar.alerting.webhook_sink import post  # noqa: PLC0415 - see above

    return _Sinks(post, send)
