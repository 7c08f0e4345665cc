"""Who may do what on the admin API.

    reached by     GET, HEAD      what changes something
    loopback       free           token
    the network    token          token
    Unix socket    free           free: the file's permissions are the login

No token configured: nothing can be changed but by the socket. A browser cannot send
`Authorization` to another site without asking first, and is never told yes here.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from sidecar.admin.token import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.admin.token import AdminToken
    from sidecar.clock import Clock

_log = logging.getLogger(__name__)

SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
_BURST = 10.0
_PER_S = 1.0
_TO_ENABLE = (
    f"to allow changes set admin.token_file or {VARIABLE}, and send 'Authorization: "
    "Bearer TOKEN'; or set admin.socket, and use it"
)


class Way(Enum):
    """How a caller got here."""

    LOOPBACK = "loopback"
    NETWORK = "network"
    SOCKET = "socket"


class Refusal(NamedTuple):
    """Why not, and what to answer."""

    status: int
    error: str
    reason: str  # A label of the metric.
    challenge: str = ""  # The value of WWW-Authenticate (RFC 6750, 3).


class Throttle:
    """Bounds what may go wrong in a time: a bucket that refills."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = _BURST
        self._at_s = clock.now_s()

    def may_try(self) -> bool:
        """Tell whether there is room for one more."""
        now_s = self._clock.now_s()
        self._left = min(_BURST, self._left + (now_s - self._at_s) * _PER_S)
        self._at_s = now_s
        return self._left >= 1.0

    def failed(self) -> None:
        """Take the room of one."""
        self._left -= 1.0


class Access:
    """Decides, for one admin server, whether a request may go on.

    Args:
        way: How its callers get there.
        token: What they must know.
        throttle: Of wrong tokens; shared by all servers of a sidecar.
        clock: Time.
        count: Called with the reason of each refusal.
    """

    def __init__(
        self,
        way: Way,
        token: AdminToken,
        throttle: Throttle,
        clock: Clock,
        count: Callable[[str], None],
    ) -> None:
        self.way = way
        self._token = token
        self._throttle = throttle
        self._lines = Throttle(clock)
        self._count = count

    def refusal(self, method: str, what: str, given: str | None) -> Refusal | None:
        """Return why a request is refused; None: it may go on.

        Args:
            method: Of the request.
            what: What it asks for, as a route names it: it is logged.
            given: The value of its Authorization field, if it has one.
        """
        is_free = self.way is Way.LOOPBACK and method in SAFE
        if is_free or self.way is Way.SOCKET:
            return None
        found = self._without_token(given)
        if found is not None:
            self.refused(found, method, what)
        return found

    def refused(self, refusal: Refusal, method: str, what: str) -> None:
        """Count a refusal, and log it unless there are very many."""
        self._count(refusal.reason)
        if self._lines.may_try():
            self._lines.failed()
            _log.warning("admin: %s %s refused: %s", method, what, refusal.reason)

    def _without_token(self, given: str | None) -> Refusal | None:
        if not self._token.is_wanted:
            error = f"nothing can be changed here: {_TO_ENABLE}"
            return Refusal(403, error, "not enabled")
        scheme, _, token = (given or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            error = "this needs the token: send 'Authorization: Bearer TOKEN'"
            return Refusal(401, error, "no token", 'Bearer realm="sidecar admin"')
        if not self._throttle.may_try():
            error = "too many wrong tokens: wait a few seconds, or use admin.socket"
            return Refusal(429, error, "too many")
        if self._token.is_it(token.strip().encode("utf-8", "surrogateescape")):
            return None
        self._throttle.failed()
        challenge = 'Bearer realm="sidecar admin", error="invalid_token"'
        return Refusal(401, "this is not the token", "wrong token", challenge)
