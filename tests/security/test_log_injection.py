"""No client and no origin writes into the logs, or makes series as it likes."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from sidecar.faults.classify import classify_unexpected
from sidecar.record.own_log import OwnLogFormatter
from tests.support.admin import client_of
from tests.support.proxy import ANYWHERE, Talk, proxied, status_of
from tests.support.wire import FakeWire, get

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = "canary-7f3a"
STALL = "316-LOCK-STALL"


@pytest.fixture
def written() -> Callable[[Callable[[logging.Logger], object]], str]:
    """Return what gets what `log` says as a process writes it."""

    def write(log: Callable[[logging.Logger], object], name: str = "sidecar.x") -> str:
        stream = StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(OwnLogFormatter())
        logger = logging.Logger(name)  # noqa: LOG001 - one that no other test sees
        logger.addHandler(handler)
        log(logger)
        return stream.getvalue()

    return write


Write = Any


@settings(deadline=None)
@given(st.text())
def test_a_record_is_one_line_of_printable_text(text: str) -> None:
    record = logging.LogRecord("sidecar.x", 30, "x.py", 1, "met %s", (text,), None)
    line = OwnLogFormatter().format(record)
    assert len(line.splitlines()) == 1
    assert not set(line) & set(map(chr, range(32)))
    assert line.startswith("WARNING sidecar.x: met ")


def test_a_terminal_escape_is_shown_and_not_sent(written: Write) -> None:
    line = written(lambda log: log.warning("met %s", "\x1b[2J\x9b31m\r\nINFO: forged"))
    assert line == "WARNING sidecar.x: met \\x1b[2J\\x9b31m\\r\\nINFO: forged\n"


def fail() -> None:
    """Raise as a bug does: one exception, then another one about it."""
    try:
        int(CANARY)
    except ValueError as error:
        raise LookupError(CANARY.encode()) from error


def test_of_an_exception_type_and_place_are_told_but_no_words(written: Write) -> None:
    def log(logger: logging.Logger) -> None:
        try:
            fail()
        except LookupError:
            logger.exception("exchange failed")

    line = written(log)
    assert line.startswith("ERROR sidecar.x: exchange failed: LookupError at ")
    assert ", after ValueError at security/test_log_injection.py:" in line
    assert CANARY not in line
    assert line.count("\n") == 1


def test_of_a_library_the_words_are_told_but_not_what_it_filled_in(
    written: Write,
) -> None:
    """OpenTelemetry, for one, logs a header of the environment that is malformed."""
    line = written(
        lambda log: log.warning("Header format invalid! %s", f"a={CANARY}"),
        "opentelemetry.util.re",
    )
    assert line == "WARNING opentelemetry.util.re: Header format invalid! %s\n"


async def test_a_task_that_asyncio_complains_of_tells_no_words(written: Write) -> None:
    """Its message goes on with the task, and that with its exception."""

    async def bug() -> None:
        fail()

    task = asyncio.get_running_loop().create_task(bug())
    await asyncio.wait([task])
    told = f"Task exception was never retrieved\nfuture: {task!r}"
    assert CANARY in told
    line = written(lambda log: log.error(told, exc_info=task.exception()), "asyncio")
    assert line.startswith("ERROR asyncio: Task exception was never retrieved: Lookup")
    assert CANARY not in line


def test_a_bug_that_quotes_a_request_is_not_told_to_anybody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither to the client nor in the record, though its words hold the secret."""
    wire = FakeWire()
    wire.errors["*"] = KeyError(CANARY.encode())
    answer = wire.ask(get())
    assert status_of(answer) == 500
    assert wire.codes == ["316-OP-FAIL"]
    assert CANARY.encode() not in answer
    assert CANARY not in json.dumps(wire.faults)
    assert "KeyError at " in wire.faults[0]["detail"]
    for record in caplog.records:
        assert CANARY not in OwnLogFormatter().format(record)
    caplog.clear()
    wire.end()


def test_an_unexpected_exception_is_told_by_its_innermost_place() -> None:
    try:
        fail()
    except LookupError as error:
        detail = classify_unexpected(error).detail
    assert detail.startswith("LookupError at security/test_log_injection.py:")
    assert classify_unexpected(KeyError(CANARY)).detail == "KeyError"


ODD = '/a"\\%0a%1b[2J<>'


async def test_a_line_of_the_access_log_is_one_json_object_whatever_is_asked() -> None:
    async with proxied(top={"telemetry": {"access_log": {"mode": "all"}}}) as proxy:
        stream = StringIO()
        proxy.app.recorder.lines._stream = stream
        odd = 'x-request-id: a\x85\x9b\xff"\\{}'
        lines = [f"GET {ODD} HTTP/1.1", "Host: test", odd, "Connection: close", "", ""]
        await proxy.ask("\r\n".join(lines).encode("latin-1"))
        await proxy.get("/", "x-request-id: \x1b[2J", method="PURGE")
    # On a busy machine the loop may stand still, and that is told, too.
    told = [line for line in stream.getvalue().splitlines() if STALL not in line]
    assert len(told) == 2
    for line in told:
        assert line.isascii()
        assert line.isprintable()
        assert json.loads(line)["event"] in ("request", "316_FAULT")
    assert json.loads(told[0])["path"] == ODD


async def codes(talk: Talk) -> None:
    """Answer each request with a code of its own."""
    while head := await talk.request():
        number = head.split(b" ")[1].strip(b"/").decode()
        await talk.send(
            f"HTTP/1.1 500 No\r\nx-316-code: 316-OWN-{number}\r\n"
            "Content-Length: 0\r\n\r\n".encode()
        )


async def test_neither_codes_nor_methods_nor_paths_make_series_without_end() -> None:
    """The cap holds; labels are escaped; no path, host or method is a label."""
    telemetry = {"access_log": {"mode": "off"}, "metrics": {"max_series": 1000}}
    off: dict[str, Any] = {"retry": {"preset": "off"}, "circuit_breaker": "off"}
    async with proxied(codes, top={"telemetry": telemetry}, **off) as proxy:
        reader, writer = await proxy.connect()
        for number in range(300):
            writer.write(f"GET /{number} HTTP/1.1\r\nHost: {number}\r\n\r\n".encode())
            await reader.readuntil(b"Content-Length: 0\r\n")
            await reader.readuntil(b"\r\n\r\n")
        writer.close()
        async with client_of(proxy, "health") as health:
            _, text = await health.ask("/metrics")
    samples = [s for f in text_string_to_metric_families(text) for s in f.samples]
    assert len(samples) <= 1000
    own = {s.labels.get("error_code", "") for s in samples}
    assert 0 < len(own) < 100
    faults = [s for s in samples if s.name == "app_316_fault_total"]
    assert sum(s.value for s in faults if s.labels["error_code"] != STALL) == 300


async def test_a_malformed_request_to_the_admin_server_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Anybody on the network could fill the log of the health server's process."""
    async with proxied() as proxy:
        for server in ("admin", "health"):
            host, port = proxy.app.addresses[server]
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(f"GET / HTTP/1.1\r\nA\x01: {CANARY}\r\n\r\n".encode())
            assert b" 400 " in await reader.readline()
            writer.close()
    assert caplog.records == []


async def test_a_process_writes_its_log_so(tmp_path: Any) -> None:
    """`run` uses it, also for what Python itself complains of."""
    file = tmp_path / "x.yaml"
    file.write_text(
        f"inbound: {{listen: '{ANYWHERE}'}}\nhealth: {{listen: '{ANYWHERE}'}}\n"
        f"admin: {{listen: '{ANYWHERE}'}}\n"
        "upstreams: {a: {endpoints: ['127.0.0.1:1']}}\n"
        "routes: [{name: all, upstream: a}]\n"
    )
    code = (
        "import logging, resource, sys, threading\n"
        "from sidecar.app import App\n"
        "async def run(app, **_):\n"
        f"    logging.getLogger('lib').error('%s\\n{CANARY}', '{CANARY}')\n"
        f"    logging.getLogger('sidecar').error('a\\x1b[2J\\nb')\n"
        "    print(resource.getrlimit(resource.RLIMIT_CORE)[0], flush=True)\n"
        f"    thread = threading.Thread(target=int, args=['{CANARY}'])\n"
        "    thread.start()\n"
        "    thread.join()\n"
        f"    await app.close()\n"
        f"    raise KeyError('{CANARY}')\n"
        "App.run = run\n"
        "from sidecar.cli import main\n"
        "main(['run', '-c', sys.argv[1]])\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(file),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert CANARY.encode() not in err
    assert b"ERROR lib: %s\n" in err
    assert b"ERROR sidecar: a\\x1b[2J\\nb\n" in err
    assert b"ERROR sidecar.record.own_log: a thread was ended by a bug: ValueErr" in err
    assert b"CRITICAL sidecar.record.own_log: ended by a bug: KeyError at " in err
    assert b"Traceback" not in err
    assert out == b"0\n"  # No core dump, whoever started it.
