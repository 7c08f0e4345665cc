"""The ways to people, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import socket
from contextlib import asynccontextmanager
from threading import Event, current_thread
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.alerting import addresses
from sidecar.alerting.delivery import deliver
from sidecar.settings.alert_plan import Mail, Receiver, Webhook
from sidecar.settings.secret_source import SecretSource
from tests.alerting.samples import SENDER, notice
from tests.support.alerted import hook, post, silent
from tests.support.certificates import Authority
from tests.support.outcomes import NOON_NS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sidecar.alerting.outbox import Delivery

SECRET = "s3cret"
TIMEOUT_S = 5.0
EVIL = "x\r\nBcc: all@a.test\r\n\r\nhello"


async def told(
    receiver: Receiver, timeout_s: float = TIMEOUT_S, **fields: Any
) -> Delivery:
    return await deliver(receiver, [notice(**fields)], SENDER, NOON_NS, timeout_s)


def by_hook(url: str, **more: Any) -> Receiver:
    return Receiver("oncall", webhook=Webhook(SecretSource(given=url), **more))


def by_mail(port: int, **more: Any) -> Receiver:
    plain: dict[str, Any] = {
        "host": "127.0.0.1",
        "sender": "a@b.test",
        "to": ("c@d.test", "e@f.test"),
        "is_starttls": False,
    }
    return Receiver("post", mail=Mail(port=port, **(plain | more)))


async def test_a_generic_webhook_gets_json() -> None:
    async with hook() as found:
        assert (await told(by_hook(found.url))).is_sent
        [body] = found.bodies
        assert body["alerts"][0]["code"] == "316-CONN-REFUSED"


async def test_slack_gets_blocks() -> None:
    async with hook() as found:
        assert (await told(by_hook(found.url, format="slack"))).is_sent
        [body] = found.bodies
        assert body["blocks"][0]["text"]["type"] == "mrkdwn"


async def test_dingtalk_gets_what_its_signature_says(tmp_path: Path) -> None:
    """As its manual has it: HMAC-SHA256 of time and secret, in base64."""
    file = tmp_path / "secret"
    file.write_text("SEC+/key\n", encoding="utf-8")
    async with hook() as found:
        found.plain = (200, '{"errcode": 0, "errmsg": "ok"}', {})
        secret = SecretSource(file=str(file))
        url = f"{found.url}?access_token=t+1%2F"
        assert (await told(by_hook(url, format="dingtalk", secret=secret))).is_sent
        [query] = found.queries
        assert query["access_token"] == "t 1/"  # As it stood there.
        text = f"{query['timestamp']}\nSEC+/key".encode()
        wanted = hmac.new(b"SEC+/key", text, hashlib.sha256).digest()
        assert base64.b64decode(query["sign"]) == wanted
        assert int(query["timestamp"]) == NOON_NS // 1_000_000
        assert found.bodies[0]["msgtype"] == "markdown"


@pytest.mark.parametrize(
    ("form", "answer", "problem", "is_final"),
    [
        ("json", (500, "", {}), "answers 500", False),
        ("json", (404, "", {}), "answers 404", True),
        ("json", (302, "", {"Location": "http://e.test/"}), "answers 302", True),
        ("slack", (403, "invalid_token", {}), "answers 403 invalid_token", True),
        ("slack", (403, "<b>no</b> s3cret", {}), "answers 403", True),
        ("slack", (429, "", {"Retry-After": "30"}), "answers 429", False),
        ("dingtalk", (200, '{"errcode": 310000}', {}), "answers errcode 310000", True),
        ("dingtalk", (200, '{"errcode": 130101}', {}), "answers errcode 130101", False),
        ("dingtalk", (200, "[]", {}), "answers 200 without an errcode", True),
    ],
)  # fmt: skip
async def test_an_answer_tells_whether_it_makes_sense_to_try_again(
    form: str,
    answer: tuple[int, str, dict[str, str]],
    problem: str,
    is_final: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async with hook() as found:
        found.plain = answer
        done = await told(by_hook(found.url, format=form))
        assert not done.is_sent
        assert done.problem.startswith(problem)
        assert done.is_final is is_final
        assert SECRET not in done.problem
        assert done.retry_after_s == (30.0 if "Retry-After" in answer[2] else 0.0)
        assert len(found.bodies) == 1  # No redirect was followed.


@asynccontextmanager
async def raw(*pieces: bytes) -> AsyncIterator[str]:
    """Run an HTTP server that answers in pieces, and leaves the connection open."""
    talks: list[asyncio.StreamWriter] = []

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        talks.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for writer in talks:
            writer.transport.abort()
        await server.wait_closed()


async def test_an_answer_of_dingtalk_may_come_in_pieces() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n"
    async with raw(head, b'{"errc', b'ode":0}') as url:
        assert (await told(by_hook(url, format="dingtalk"))).is_sent


@pytest.mark.parametrize("form", ["json", "slack"])
async def test_of_a_2xx_no_more_than_its_head_is_waited_for(form: str) -> None:
    """Else it would be sent again to somebody who has taken it."""
    async with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") as url:
        assert (await told(by_hook(url, format=form), 0.5)).is_sent


async def test_a_webhook_by_tls_is_verified(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    async with hook(authority.server_context("127.0.0.1")) as found:
        url = found.url.replace("http:", "https:")
        done = await told(by_hook(url))
        assert not done.is_sent
        assert done.problem.startswith("the certificate is not trusted")
        assert (await told(by_hook(url, ca_file=authority.ca_file))).is_sent
        wrong = url.replace("127.0.0.1", "localhost")
        done = await told(by_hook(wrong, ca_file=authority.ca_file))
        assert "certificate" in done.problem
        done = await told(by_hook(url, ca_file=f"{tmp_path}/none"))
        assert done.problem == "ca_file: No such file or directory"


async def test_a_secret_is_read_anew_for_each_message(tmp_path: Path) -> None:
    file = tmp_path / "url"
    receiver = Receiver("oncall", webhook=Webhook(SecretSource(file=str(file))))
    assert "cannot be read: No such file" in (await told(receiver)).problem
    file.write_text("no url s3cret", encoding="utf-8")
    done = await told(receiver)
    assert done.problem == f"file {file} holds no http or https URL"
    async with hook() as first, hook() as second:
        for each in (first, second):
            file.write_text(f"{each.url}\n", encoding="utf-8")
            assert (await told(receiver)).is_sent
            assert len(each.bodies) == 1


async def test_a_secret_may_be_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receiver = Receiver("oncall", webhook=Webhook(SecretSource(variable="HOOK_URL")))
    assert "variable HOOK_URL is not set" in (await told(receiver)).problem
    async with hook() as found:
        monkeypatch.setenv("HOOK_URL", found.url)
        assert (await told(receiver)).is_sent


@pytest.mark.parametrize("kind", ["json", "mail"])
async def test_who_never_answers_is_given_up_in_time(kind: str) -> None:
    async with silent() as (port, _):
        at = by_mail(port) if kind == "mail" else by_hook(f"http://127.0.0.1:{port}/")
        done = await told(at, 0.1)
        assert not done.is_sent
        assert not done.is_final
        assert "not answer" in done.problem


@pytest.mark.parametrize("kind", ["json", "mail"])
async def test_who_refuses_connections_is_named_without_a_secret(kind: str) -> None:
    at = (
        by_mail(1)
        if kind == "mail"
        else by_hook(f"http://u:{SECRET}@127.0.0.1:1/{SECRET}")
    )
    done = await told(at)
    assert "refused" in done.problem
    assert SECRET not in done.problem
    assert not done.is_final


async def test_a_name_that_does_not_exist_is_told() -> None:
    done = await told(by_hook(f"http://no-such-host.invalid/{SECRET}"))
    assert done.problem == "the name no-such-host.invalid is not resolved"
    done = await told(by_mail(25, host="no-such-host.invalid"))
    assert done.problem == "the name is not resolved"


@pytest.mark.parametrize("kind", ["json", "mail"])
async def test_a_name_server_that_hangs_takes_no_thread_of_the_traffic(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop has four for names, and a pool of some more for the rest."""
    answers, threads = Event(), set[str]()

    def hang(*_: Any) -> list[Any]:
        threads.add(current_thread().name)
        answers.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    at = by_mail(25, host="a.test") if kind == "mail" else by_hook("http://a.test/")
    for done in await asyncio.gather(*(told(at, 0.1) for _ in range(20))):
        assert done.problem == "does not answer in 0.1 s"
    assert threads == {"alerts-name"}
    answers.set()


async def test_mail_goes_to_all_with_all_that_is_known() -> None:
    async with post() as found:
        assert (await told(by_mail(found.port))).is_sent
        [letter] = found.letters
        assert found.recipients == [["c@d.test", "e@f.test"]]
        assert letter["Subject"] == "shop: [P1] 316-CONN-REFUSED connection refused"
        assert letter["From"] == "a@b.test"
        assert letter["Auto-Submitted"] == "auto-generated"
        assert letter["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
        assert "127.0.0.1:8080: connection refused" in letter.get_content()


async def test_letters_of_all_languages_come_as_they_are() -> None:
    """Though the server knows nothing of SMTPUTF8."""
    async with post() as found:
        done = await told(
            by_mail(found.port), title="Ünïcode 连接", detail="被拒绝 \ud800"
        )
        assert done.is_sent
        [letter] = found.letters
        assert "Ünïcode 连接" in letter["Subject"]
        assert "被拒绝 ?" in letter.get_content()
    async with hook() as other:
        assert (await told(by_hook(other.url), detail="被拒绝 \ud800")).is_sent
        assert other.bodies[0]["alerts"][0]["detail"] == "被拒绝 ?"


async def test_no_value_becomes_a_header_of_a_mail() -> None:
    async with post() as found:
        assert (
            await told(by_mail(found.port), title=EVIL, detail=EVIL, route=EVIL)
        ).is_sent
        [letter] = found.letters
        assert letter["Bcc"] is None
        assert "hello" in letter["Subject"]
        assert found.recipients == [["c@d.test", "e@f.test"]]


async def test_mail_goes_by_starttls_with_a_password(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n", encoding="utf-8")
    known: dict[str, Any] = {
        "is_starttls": True,
        "username": "alerts",
        "password": SecretSource(file=str(file)),
        "ca_file": authority.ca_file,
    }
    tls = authority.server_context("127.0.0.1")
    async with post(tls, wants_password=True) as found:
        assert (await told(by_mail(found.port, **known))).is_sent
        assert found.were_safe == [True]
        file.write_text("another", encoding="utf-8")
        done = await told(by_mail(found.port, **known))
        assert (done.problem, done.is_final) == ("refuses the password (535)", True)
        done = await told(by_mail(found.port, **(known | {"ca_file": None})))
        assert done.problem.startswith("the certificate is not trusted")


async def test_mail_goes_by_tls_from_the_first_byte(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    async with post(authority.server_context("127.0.0.1"), is_tls=True) as found:
        known = {"is_tls": True, "ca_file": authority.ca_file}
        assert (await told(by_mail(found.port, **known))).is_sent
        assert len(found.letters) == 1
        done = await told(by_mail(found.port, is_tls=True))
        assert done.problem.startswith("the certificate is not trusted")


async def test_without_starttls_nothing_is_sent_if_it_is_wanted() -> None:
    """Else somebody in between could read the password by hiding the offer."""
    async with post() as found:
        done = await told(by_mail(found.port, is_starttls=True))
        assert done.problem == "offers no STARTTLS: see `starttls`"
        assert done.is_final
        assert found.letters == []


async def test_a_mail_server_that_is_busy_is_asked_again_one_that_refuses_is_not() -> (
    None
):
    async with post() as found:
        found.busy = [f"451 later {SECRET}", f"554 never {SECRET}"]
        done = await told(by_mail(found.port))
        assert (done.problem, done.is_final) == ("answers 451", False)
        done = await told(by_mail(found.port))
        assert (done.problem, done.is_final) == ("answers 554", True)


async def test_some_recipients_may_be_refused() -> None:
    async with post() as found:
        found.refused = {"c@d.test": "550 who"}
        done = await told(by_mail(found.port))
        assert done.is_sent
        assert done.problem == "refuses 1 of 2 recipients ([550])"
        found.refused["e@f.test"] = "550 who"
        done = await told(by_mail(found.port))
        assert (done.problem, done.is_final) == (
            "refuses every recipient ([550])",
            True,
        )


async def test_a_mail_server_that_leaves_is_told() -> None:
    async def leave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        writer.close()

    server = await asyncio.start_server(leave, "127.0.0.1", 0)
    done = await told(by_mail(server.sockets[0].getsockname()[1]))
    assert not done.is_sent
    assert not done.is_final
    server.close()
    await server.wait_closed()


async def test_the_first_address_that_takes_a_connection_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One at which nobody listens holds nobody up."""
    async with post() as server:
        free = socket.socket()
        free.bind(("127.0.0.1", 0))  # And does not listen.
        places = [free.getsockname(), ("127.0.0.1", server.port)]

        async def found(*_: object) -> list[addresses.AddressInfo]:
            inet, stream = socket.AF_INET, socket.SOCK_STREAM
            return [(inet, stream, 0, "", place) for place in places]

        monkeypatch.setattr(addresses, "addresses_of", found)
        sock = await addresses.connected("mail.example", 25)
        assert sock.getpeername() == places[1]
        sock.close()
        free.close()
