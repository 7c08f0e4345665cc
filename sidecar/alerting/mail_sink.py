"""Messages by mail: the only file here that speaks SMTP.

With `starttls` a server that has none is refused, so that nobody in between can talk
us out of it. No header is made of what could break one.
"""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING, Final

import aiosmtplib

from sidecar.alerting import words
from sidecar.alerting.addresses import connected
from sidecar.alerting.outbox import SENT, Delivery
from sidecar.alerting.trust import failed, failed_for_good, problem_of, tls_context
from sidecar.settings.secret_source import SecretError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from sidecar.alerting.notice import Notice
    from sidecar.settings.alert_plan import Mail

_PERMANENT: Final = 500
_NO_STARTTLS: Final = "offers no STARTTLS: see `starttls`"


async def send(
    mail: Mail,
    message: Sequence[Notice],
    sender: words.Sender,
    wall_ns: int,
    timeout_s: float,
) -> Delivery:
    """Send a message; whoever calls limits the time of all of it."""
    try:
        password = mail.password.read(os.environ) if mail.password else None
        is_safe = mail.is_starttls or mail.is_tls
        tls = await tls_context(mail.ca_file) if is_safe else None
    except SecretError as error:
        return failed(str(error))
    except OSError as error:
        return failed(f"ca_file: {problem_of(error)}")
    try:
        sock = await connected(mail.host, mail.port)
    except OSError as error:
        return failed(problem_of(error))
    client = _client(mail, sock, tls, timeout_s)
    try:
        await client.connect()
        if password is not None:
            await client.login(mail.username, password)
        refused, _ = await client.send_message(_letter(mail, message, sender, wall_ns))
    except (aiosmtplib.SMTPException, OSError) as error:
        return _judged(error)
    finally:
        client.close()  # Not `quit`: a server that hangs would be waited for.
    if refused:
        codes = sorted({answer.code for answer in refused.values()})
        problem = f"refuses {len(refused)} of {len(mail.to)} recipients ({codes})"
        return Delivery(is_sent=True, problem=problem)
    return SENT


def _client(
    mail: Mail, sock: socket.socket, tls: ssl.SSLContext | None, timeout_s: float
) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=mail.host,
        sock=sock,
        use_tls=mail.is_tls,
        start_tls=mail.is_starttls,
        tls_context=tls,
        timeout=timeout_s,
        # Else it asks the name server.
        local_hostname=words.line(socket.gethostname()).replace(" ", "") or "localhost",
    )


def _letter(
    mail: Mail, message: Sequence[Notice], sender: words.Sender, wall_ns: int
) -> EmailMessage:
    letter = EmailMessage()
    letter["Subject"] = words.headline(message, sender)
    letter["From"] = mail.sender
    letter["To"] = ", ".join(mail.to)
    letter["Date"] = format_datetime(datetime.fromtimestamp(wall_ns / 1e9, tz=UTC))
    letter["Message-ID"] = make_msgid(domain=mail.sender.rpartition("@")[2])
    letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody is to answer.
    letter.set_content(
        words.as_text(message, sender).encode("utf-8", "replace").decode()
    )
    return letter


def _judged(error: Exception) -> Delivery:
    """Return what an error means, without a word of the server's."""
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return _by_code(error.code, f"refuses the password ({error.code})")
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = sorted({each.code for each in error.recipients})
        return _by_code(min(codes), f"refuses every recipient ({codes})")
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return _by_code(error.code, f"answers {error.code}")
    if isinstance(error, aiosmtplib.SMTPTimeoutError):
        return failed("does not answer in time")
    if isinstance(error, aiosmtplib.SMTPNotSupported):
        return failed_for_good("lacks what is needed, such as AUTH or SMTPUTF8")
    if isinstance(error, aiosmtplib.SMTPServerDisconnected):
        return failed("closes the connection")
    cause = error.__cause__  # Of a connection by TLS from the first byte.
    if isinstance(error, aiosmtplib.SMTPConnectError) and isinstance(cause, OSError):
        return failed(problem_of(cause))
    if "STARTTLS" in str(error):
        return failed_for_good(_NO_STARTTLS)
    return failed(problem_of(error))


def _by_code(code: int, problem: str) -> Delivery:
    return failed_for_good(problem) if code >= _PERMANENT else failed(problem)
