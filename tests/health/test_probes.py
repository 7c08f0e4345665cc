"""What each kind of question makes of each kind of answer."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from sidecar.health.commands import Commands
from sidecar.health.probes import HttpProbe, TcpProbe, probe_of
from sidecar.policy.health import Answer, Sign
from sidecar.settings.application import CommandCheck, HttpCheck
from sidecar.settings.snapshot import Address, FieldMatch
from tests.support.proxy import Origin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.proxy import Script, Talk

PATIENT_S, SHORT_S = 20.0, 0.2
WITHOUT_FILES = """
import os, resource, sys
import uvloop
from sidecar.health.commands import Commands
from sidecar.health.probes import probe_of
from sidecar.settings.application import CommandCheck, HttpCheck, TcpCheck
from sidecar.settings.snapshot import Address

async def main():
    address = Address("127.0.0.1", int(sys.argv[1]))
    checks = (
        HttpCheck(address, "GET", "/", ((200, 200),), (), None),
        TcpCheck(address),
        CommandCheck(("true",)),
    )
    probes = [probe_of(check, Commands()) for check in checks]
    await probes[0].ask(0.1)  # Loads what it needs.
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    answers = [await probe.ask(20.0) for probe in probes]
    for file in held:
        os.close(file)
    for probe, answer in zip(probes, answers):
        print(answer.sign.value)
        await probe.close()

uvloop.run(main())
"""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"


@asynccontextmanager
async def origin_of(script: Script) -> AsyncIterator[Origin]:
    origin = Origin(script)
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    origin.port = server.sockets[0].getsockname()[1]
    try:
        yield origin
    finally:
        server.close()
        await origin.end()
        await server.wait_closed()


def check_of(port: int, word: str | None = None) -> HttpCheck:
    fields = (FieldMatch("Host", "shop.example"), FieldMatch("X-Probe", "1"))
    address = Address("127.0.0.1", port)
    return HttpCheck(address, "GET", "/h?full=1", ((200, 399),), fields, word)


async def ask(
    raw: bytes, timeout_s: float = PATIENT_S, word: str | None = None
) -> tuple[Answer, Origin]:
    """Ask an origin that says this, and then nothing."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(raw.removesuffix(b"..."))
        if raw.endswith(b"..."):
            await asyncio.Event().wait()

    async with origin_of(script) as origin:
        probe = HttpProbe(check_of(origin.port, word))
        try:
            return await probe.ask(timeout_s), origin
        finally:
            await probe.close()


@pytest.mark.parametrize(
    ("raw", "sign", "reason"),
    [
        (OK, Sign.PASSED, "200"),
        (OK.replace(b"200", b"202", 1), Sign.PASSED, "202"),
        (OK.replace(b"200", b"500", 1), Sign.FAILED, "500"),
        (b"HTTP/1.1 302 F\r\nLocation: http://x.test/\r\n\r\n", Sign.PASSED, "302"),
        (b"", Sign.FAILED, "Server disconnected"),
        (b"SSH-2.0-x\r\n\r\n", Sign.FAILED, "Bad status line"),
    ],
)
async def test_the_status_decides(raw: bytes, sign: Sign, reason: str) -> None:
    answer, origin = await ask(raw)
    assert answer.sign is sign
    assert reason in answer.reason
    assert "\n" not in answer.reason
    assert "full=1" not in answer.reason  # A query may hold a secret.
    request = origin.requests[0]
    assert request.startswith(b"GET /h?full=1 HTTP/1.1\r\n")
    assert b"Host: shop.example\r\n" in request
    assert b"X-Probe: 1\r\n" in request


async def test_a_connection_without_an_answer_is_silence() -> None:
    answer, _ = await ask(b"...", SHORT_S)
    assert answer == Answer(Sign.SILENT, "connected, no answer within 0.2 s")


async def test_a_body_is_awaited_only_for_its_word() -> None:
    endless = OK.replace(b": 4", b": 9") + b"..."
    assert (await ask(endless))[0].sign is Sign.PASSED
    answer, _ = await ask(endless, SHORT_S, "word")
    assert answer == Answer(Sign.FAILED, "its body did not end within 0.2 s")


async def test_of_a_body_the_beginning_is_looked_at() -> None:
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 200004\r\n\r\n" + b"x" * 200_000
    answer, _ = await ask(large + b"word", word="word")
    assert answer.sign is Sign.FAILED


async def test_nobody_there_is_absence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    probe = HttpProbe(check_of(port))
    assert (await probe.ask(PATIENT_S)).sign is Sign.ABSENT
    await probe.close()
    answer = await TcpProbe(Address("127.0.0.1", port)).ask(PATIENT_S)
    assert answer.sign is Sign.ABSENT


async def test_a_name_that_does_not_resolve_is_told_in_words() -> None:
    address = Address("no-such-host.invalid", 80)
    answer = await TcpProbe(address).ask(PATIENT_S)
    assert answer.sign is not Sign.PASSED
    assert "Unknown error" not in answer.reason


@pytest.mark.parametrize("host", ["a..b", "a" * 70])
async def test_a_name_that_no_host_can_have_is_a_failure(host: str) -> None:
    answer = await TcpProbe(Address(host, 80)).ask(PATIENT_S)
    assert answer.sign is Sign.FAILED
    assert "label" in answer.reason


def test_what_the_sidecar_is_short_of_is_not_the_applications_fault() -> None:
    """Of whatever kind the check is; in a process that can open nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_FILES, str(port)],
            check=True, timeout=30, capture_output=True, text=True,
        )  # fmt: skip
    assert done.stdout.split() == ["unasked"] * 3


async def test_no_cookie_is_kept_from_check_to_check() -> None:
    async def script(talk: Talk) -> None:
        while await talk.request():
            await talk.send(OK.replace(b"\r\n", b"\r\nSet-Cookie: a=1\r\n", 1))

    async with origin_of(script) as origin:
        address = Address("localhost", origin.port)
        probe = HttpProbe(HttpCheck(address, "GET", "/", ((200, 200),), (), None))
        assert (await probe.ask(PATIENT_S)).sign is Sign.PASSED
        assert (await probe.ask(PATIENT_S)).sign is Sign.PASSED
        await probe.close()
    assert len(origin.requests) == 2
    assert not any(b"cookie" in request.lower() for request in origin.requests)


async def test_a_connection_that_is_taken_is_enough_for_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        address = Address("127.0.0.1", there.getsockname()[1])
        assert (await TcpProbe(address).ask(PATIENT_S)).sign is Sign.PASSED


@pytest.mark.parametrize(
    ("words", "sign", "reason"),
    [
        (("true",), Sign.PASSED, "ended with 0"),
        (("sh", "-c", "echo bad; exit 2"), Sign.FAILED, "ended with 2: bad"),
        (("sh", "-c", "kill -9 $$"), Sign.FAILED, "was ended by signal 9"),
        (("sleep", "1000"), Sign.FAILED, "did not end in time, and was killed"),
        (("/no/such",), Sign.FAILED, "cannot be started: No such file or directory"),
    ],
)
async def test_the_end_of_a_command_decides(
    words: tuple[str, ...], sign: Sign, reason: str
) -> None:
    probe = probe_of(CommandCheck(words), Commands())
    timeout_s = SHORT_S if "sleep" in words else PATIENT_S
    answer = await probe.ask(timeout_s)
    assert (answer.sign, answer.words) == (sign, reason)
