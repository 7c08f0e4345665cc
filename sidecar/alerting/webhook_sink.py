"""Messages by HTTP: the only file here that speaks it.

A redirect is not followed: it would take the message, and a secret of the URL, to
somewhere that nobody chose. An answer is read as far as it tells of a failure.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import socket
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from sidecar.alerting import words
from sidecar.alerting.addresses import addresses_of
from sidecar.alerting.outbox import SENT, Delivery
from sidecar.alerting.trust import failed, failed_for_good, problem_of, tls_context
from sidecar.settings.secret_source import SecretError, is_http

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from sidecar.alerting.notice import Notice
    from sidecar.settings.alert_plan import Webhook

_READ_BYTES: Final = 4096
_OK: Final = range(200, 300)
_AGAIN: Final = frozenset((408, 425, 429))  # Beside 5xx.
_NOT_SERVER: Final = 500
_WORD: Final = re.compile(r"[a-z_]{1,40}")  # As Slack names what it refuses.
_BUSY: Final = frozenset((-1, 130101))  # Of DingTalk: busy, or too many messages.
_MEANS: Final = {
    130101: "too many messages",
    300001: "there is no such token",
    310000: "its signature, keyword or address is refused",
}


async def post(
    hook: Webhook, message: Sequence[Notice], sender: words.Sender, wall_ns: int
) -> Delivery:
    """Send a message; whoever calls limits the time."""
    try:
        url = hook.url.read(os.environ)
        secret = hook.secret.read(os.environ) if hook.secret else ""
    except SecretError as error:
        return failed(str(error))
    if not is_http(url):
        return failed(f"{hook.url} holds no http or https URL")
    if hook.format == "dingtalk":
        body: dict[str, Any] = words.as_dingtalk(message, sender)
    elif hook.format == "slack":
        body = words.as_slack(message, sender)
    else:
        body = words.as_json(message, sender, wall_ns)
    target = signed(URL(url), secret, wall_ns // 1_000_000) if secret else URL(url)
    try:
        is_tls = target.scheme == "https"
        tls = await tls_context(hook.ca_file) if is_tls else None
    except OSError as error:
        return failed(f"ca_file: {problem_of(error)}")
    try:
        status, retry_after, answer = await _exchange(hook.format, target, body, tls)
    except aiohttp.ClientError as error:
        return failed(_problem_of(error))
    except OSError as error:
        return failed(problem_of(error))
    return judged(hook.format, status, retry_after, answer)


def signed(url: URL, secret: str, now_ms: int) -> URL:
    """Return a URL that DingTalk believes: HMAC-SHA256 of time and secret."""
    text = f"{now_ms}\n{secret}".encode()
    digest = hmac.new(secret.encode(), text, hashlib.sha256).digest()
    sign = base64.b64encode(digest).decode()
    return url.update_query(timestamp=str(now_ms), sign=sign)


async def _exchange(
    form: str, url: URL, body: dict[str, Any], tls: ssl.SSLContext | None
) -> tuple[int, str, bytes]:
    """Return status, `Retry-After` and the beginning of the answer."""
    connector = aiohttp.TCPConnector(
        ssl=tls or True, force_close=True, resolver=_Resolver()
    )
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Accept-Encoding": "identity",  # So that what is read is what was sent.
    }
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(
            url, data=words.encoded(body), headers=headers, allow_redirects=False
        ) as got,
    ):
        # Who has taken a message need not say more: it would be sent twice.
        is_asked = form == "dingtalk" if got.status in _OK else form == "slack"
        answer = await _beginning(got.content) if is_asked else b""
        return got.status, got.headers.get("Retry-After", ""), answer


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """Return the first bytes of an answer, in however many pieces they come."""
    found = b""
    while len(found) < _READ_BYTES:
        piece = await content.read(_READ_BYTES - len(found))
        if not piece:
            break
        found += piece
    return found


class _Resolver(AbstractResolver):
    """Names, as `addresses_of` finds them."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return all addresses."""
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=found,
                proto=proto,
                flags=socket.AI_NUMERICHOST,
            )
            for found, _, proto, _, address in await addresses_of(host, port, family)
        ]

    async def close(self) -> None:
        """Do nothing: a thread ends by itself."""


def judged(form: str, status: int, retry_after: str, answer: bytes) -> Delivery:
    """Return what an answer means; of its text, only words that are harmless."""
    if status in _OK:
        return _judged_dingtalk(answer) if form == "dingtalk" else SENT
    problem = f"answers {status}"
    word = answer.decode("latin-1").strip()
    if form == "slack" and _WORD.fullmatch(word):
        problem += f" {word}"
    if status >= _NOT_SERVER or status in _AGAIN:
        seconds = float(retry_after) if re.fullmatch("[0-9]{1,6}", retry_after) else 0.0
        return failed(problem, retry_after_s=seconds)
    return failed_for_good(problem)


def _judged_dingtalk(answer: bytes) -> Delivery:
    """DingTalk says 200 in any case; `errcode` tells."""
    try:
        code = json.loads(answer)["errcode"]
    except (ValueError, TypeError, LookupError):
        return failed_for_good("answers 200 without an errcode: it is no DingTalk")
    if code == 0:
        return SENT
    number = code if isinstance(code, int) else "that is no number"
    means = _MEANS.get(code) if isinstance(code, int) else None
    problem = f"answers errcode {number}" + (f": {means}" if means else "")
    return failed(problem) if code in _BUSY else failed_for_good(problem)


def _problem_of(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {error.host} is not resolved"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
        return problem_of(inner) if isinstance(inner, OSError) else problem_of(error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return problem_of(error.os_error)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closes the connection without an answer"
    return problem_of(error)
