"""Alerts at work: real receivers, a real sidecar, traffic meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sidecar.alerting import outbox
from sidecar.alerting.center import AlertCenter
from sidecar.alerting.outbox import MAX_WAITING
from sidecar.faults.catalogue import FaultCode
from sidecar.policy.backoff import Backoff
from sidecar.record.recorder import Recorder
from sidecar.settings.load import load_text
from tests.support.admin import TOKEN, client_of
from tests.support.alerted import LOOK_S, hook, post, silent
from tests.support.clock import FakeClock
from tests.support.observe import metric_of
from tests.support.outcomes import failed, outcome
from tests.support.proxy import proxied, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sidecar.settings.snapshot import Snapshot

SECRET = "s3cret"
AT_ONCE = {"group_wait": "0s"}


def snapshot(**alerts: Any) -> Snapshot:
    return load_text(
        yaml.safe_dump(
            {
                "upstreams": {"app": {"endpoints": ["127.0.0.1:8080"]}},
                "routes": [{"name": "all", "upstream": "app"}],
                "telemetry": {"access_log": {"mode": "off"}},
                "alerts": {**AT_ONCE, **alerts},
            }
        )
    ).snapshot


def webhook(url: str, **more: Any) -> dict[str, Any]:
    return {"webhook": {"url": url, **more}}


def mail(port: int) -> dict[str, Any]:
    to = {"host": "127.0.0.1", "port": port, "from": "a@b.test", "to": ["c@d.test"]}
    return {"mail": {**to, "starttls": False}}


class Bench:
    """A center whose time moves by hand; its receivers are real."""

    def __init__(self, **alerts: Any) -> None:
        self.clock = FakeClock()
        known = snapshot(**alerts)
        self.recorder = Recorder(known, self.clock, StringIO())
        self.center = AlertCenter(known, self.clock, self.recorder)

    def fail(self, code: FaultCode = FaultCode.CONN_REFUSED, **fields: Any) -> None:
        now = {"start_s": self.clock.now_s(), "start_wall_ns": self.clock.wall_ns()}
        self.recorder.record(failed(code, duration_s=0.0, **(now | fields)))

    def succeed(self) -> None:
        self.recorder.record(outcome(start_s=self.clock.now_s(), duration_s=0.0))

    async def look(self, later_s: float = 0.0) -> None:
        """Look, and wait until each attempt is over."""
        self.clock.advance(later_s)
        await self.center.look()
        while self.center.attempts:
            await asyncio.sleep(LOOK_S)

    def count(self, receiver: str, result: str) -> int:
        return self.recorder.book.alerts.notices.get((receiver, result), 0)


@asynccontextmanager
async def benched(**alerts: Any) -> AsyncIterator[Bench]:
    bench = Bench(**alerts)
    try:
        yield bench
    finally:
        await bench.center.close(0.0)
        bench.recorder.close(1.0)


async def test_a_p1_goes_to_webhook_and_mail_and_a_p2_to_the_webhook() -> None:
    async with hook() as found, post() as letters:
        to = {"oncall": webhook(found.url), "post": mail(letters.port)}
        async with benched(receivers=to) as bench:
            bench.fail()  # A P1.
            await bench.look()
            assert (len(found.bodies), len(letters.letters)) == (1, 1)
            bench.fail(FaultCode.CONN_STALE)  # A P2.
            await bench.look(1.0)
            assert (len(found.bodies), len(letters.letters)) == (2, 1)
            assert found.bodies[1]["alerts"][0]["severity"] == "P2"
            assert bench.count("oncall", "sent") == 2


async def test_recovery_is_told_with_how_long_it_took() -> None:
    async with (
        hook() as found,
        benched(receivers={"oncall": webhook(found.url)}) as bench,
    ):
        bench.fail()
        await bench.look()
        bench.clock.advance(5.0)
        bench.succeed()
        await bench.look(60.0)
        [first, last] = found.bodies
        assert (first["status"], last["status"]) == ("firing", "resolved")
        assert first["alerts"][0]["key"] == last["alerts"][0]["key"]
        assert last["alerts"][0]["lasted_s"] == 5.0
        states = [e.facts["state"] for e in bench.recorder.book.events.newest()]
        assert states == ["resolved", "firing"]


async def test_a_failed_attempt_is_made_again_and_nothing_is_lost() -> None:
    async with (
        hook() as found,
        benched(receivers={"oncall": webhook(found.url)}) as bench,
    ):
        found.answers = [(503, "", {}), (503, "", {})]
        bench.fail()
        await bench.look()
        bench.fail(FaultCode.TIMEOUT_ERR)  # Waits for the one that is tried again.
        while len(found.bodies) < 4:
            await bench.look(1.0)
        first, again, sent, other = found.bodies
        assert first["alerts"] == again["alerts"] == sent["alerts"]
        assert other["alerts"][0]["code"] == "316-TIMEOUT-ERR"
        assert bench.count("oncall", "retried") == 2
        assert bench.count("oncall", "sent") == 2
        assert bench.count("oncall", "failed") == 0


async def test_what_fails_for_good_is_an_event_a_count_and_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        hook() as found,
        benched(receivers={"oncall": webhook(found.url)}) as bench,
    ):
        found.plain = (404, SECRET, {})
        bench.fail()
        await bench.look()
        assert bench.count("oncall", "failed") == 1
        [event, _] = bench.recorder.book.events.newest(kind="alert")
        assert (event.subject, event.detail) == ("oncall", "answers 404")
        assert "alerts: oncall answers 404; given up" in caplog.text
        assert SECRET not in caplog.text
        await bench.look(1.0)
        assert len(found.bodies) == 1


async def test_an_attempt_that_cannot_begin_is_one_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else its receiver would be told nothing any more, until a restart."""

    def no_thread(*_: Any) -> Any:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    async with (
        hook() as found,
        benched(receivers={"oncall": webhook(found.url)}) as bench,
    ):
        bench.fail()
        with monkeypatch.context() as short:
            short.setattr(asyncio, "to_thread", no_thread)
            await bench.look()
        assert bench.count("oncall", "retried") == 1
        while not found.bodies:
            await bench.look(1.0)
        assert bench.count("oncall", "sent") == 1


async def test_a_receiver_that_goes_as_its_attempt_begins_is_let_go() -> None:
    to = {"gone": webhook("http://127.0.0.1:1/")}
    async with benched(receivers=to) as bench:
        bench.fail()
        await bench.center.look()
        [attempt] = bench.center.attempts.values()
        bench.center.use(snapshot(receivers={}))
        await attempt


async def test_a_bug_in_the_last_look_does_not_keep_the_sidecar_from_ending(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with hook() as found:
        bench = Bench(receivers={"oncall": webhook(found.url)}, group_wait="1h")
        bench.center.start()
        bench.fail()
        await bench.center.look()
        bench.center.book.turn = None  # type: ignore[assignment,method-assign]
        await bench.center.close(1.0)
        bench.recorder.close(1.0)
        assert "a look failed" in caplog.text
        assert len(found.bodies) == 1  # What waited was sent all the same.


async def test_the_end_sends_what_waits_behind_what_is_tried_again() -> None:
    async with hook() as found:
        bench = Bench(receivers={"oncall": webhook(found.url)})
        bench.center.start()
        found.answers = [(503, "", {})]
        bench.fail()
        await bench.look()
        bench.fail(FaultCode.TIMEOUT_ERR)
        await bench.center.close(1.0)
        bench.recorder.close(1.0)
        codes = [body["alerts"][0]["code"] for body in found.bodies]
        assert codes[1:] == ["316-CONN-REFUSED", "316-TIMEOUT-ERR"]
        assert bench.count("oncall", "failed") == 0


async def test_a_bug_in_a_look_is_logged_and_the_next_one_is_made(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with hook() as found:
        bench = Bench(receivers={"oncall": webhook(found.url)})
        bench.center.book.turn = None  # type: ignore[assignment,method-assign]
        bench.center.start()
        while "a look failed" not in caplog.text:
            await asyncio.sleep(LOOK_S)
        del bench.center.book.turn  # The method again.
        bench.fail()
        await found.got(1)
        await bench.center.close(1.0)
        bench.recorder.close(1.0)


async def test_the_end_sends_what_waits_within_its_bound() -> None:
    async with hook() as found, silent() as (port, _):
        bench = Bench(
            receivers={
                "oncall": webhook(found.url),
                "hangs": webhook(f"http://127.0.0.1:{port}/"),
            },
            group_wait="1h",
        )
        bench.center.start()
        bench.fail()
        await bench.center.close(0.3)
        assert len(found.bodies) == 1
        assert bench.count("oncall", "sent") == 1
        assert bench.count("hangs", "failed") == 1
        assert bench.center.attempts == {}
        bench.recorder.close(1.0)


async def test_a_reload_keeps_what_fires_and_what_waits() -> None:
    async with hook() as found, hook() as other:
        to = {"oncall": webhook(found.url), "gone": webhook(found.url)}
        async with benched(receivers=to, group_wait="10s") as bench:
            bench.fail()
            await bench.look()
            bench.center.use(snapshot(receivers={"oncall": webhook(other.url)}))
            await bench.look(10.0)
            assert found.bodies == []
            assert [len(body["alerts"]) for body in other.bodies] == [1]
            bench.succeed()
            await bench.look(60.0)
            assert other.bodies[-1]["status"] == "resolved"
            assert list(bench.recorder.book.alerts.waiting) == ["oncall"]


async def test_a_receiver_that_is_taken_away_while_it_hangs_is_let_go() -> None:
    async with silent() as (port, came), hook() as found:
        to = {"hangs": webhook(f"http://127.0.0.1:{port}/")}
        async with benched(receivers=to, timeout="100ms") as bench:
            bench.fail()
            await bench.center.look()
            while not came:
                await asyncio.sleep(LOOK_S)
            bench.center.use(snapshot(receivers={"hangs": webhook(found.url)}))
            await bench.look()
            await bench.look(60.0)
            assert len(found.bodies) == 1


# With a real sidecar.


def top(receivers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"alerts": {"receivers": receivers, **AT_ONCE, **more}}


@pytest.mark.parametrize("kind", ["webhook", "mail"])
async def test_a_receiver_that_hangs_costs_traffic_nothing(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else a test waits for it, the longer, the busier the processor is.
    monkeypatch.setattr(outbox, "_BACKOFF", Backoff(0.05, 0.2))
    async with silent() as (port, came):
        url = f"http://127.0.0.1:{port}/"
        hangs = mail(port) if kind == "mail" else webhook(url)
        keys = top({"hangs": hangs}, timeout="200ms")
        async with proxied(top=keys) as proxy:
            center = proxy.app.alerts
            for number in range(3 * MAX_WAITING):  # Far more than there is room for.
                # Of now: what is older than a minute is not told. (Once it was only a
                # stall of the loop that was, if there was one; else the test hung.)
                now = {"start_s": proxy.app.clock.now_s(), "duration_s": 0.0}
                told = failed(FaultCode.CONN_REFUSED, route=f"r{number}", **now)
                proxy.app.recorder.record(told)
            while len(came) < 2:  # Also when it has hung before.
                answers = await asyncio.gather(*(proxy.get() for _ in range(20)))
                assert {status_of(answer) for answer in answers} == {200}
                assert len(center.attempts) <= 1
                assert len(center.boxes["hangs"]) <= 2 * MAX_WAITING
            assert len(center.boxes["hangs"]) >= MAX_WAITING
        assert center.attempts == {}


async def test_a_failure_of_traffic_is_told_with_its_record() -> None:
    async with hook() as found:
        keys = top({"oncall": webhook(found.url)}, page_url="http://127.0.0.1:15000")
        async with proxied(endpoints=["127.0.0.1:1"], top=keys) as proxy:
            assert status_of(await proxy.get()) == 502
            body = await found.told()
            [record] = proxy.faults[-1:]
            [alert] = body["alerts"]
            assert alert["fault_id"] == record["fault_id"]
            assert alert["trace_id"] == record["trace_id"]
            assert alert["group"] == record["group"]
            assert alert["page"].endswith(f"/#group={record['group']}")
            while not await metric_of(
                proxy, "sidecar_alert_notices_total", receiver="oncall", result="sent"
            ):
                await asyncio.sleep(LOOK_S)
            assert await metric_of(proxy, "sidecar_alerts_firing") == 1
            assert await metric_of(proxy, "sidecar_alert_queue", receiver="oncall") == 0
            success = "sidecar_alert_last_success_seconds"
            assert await metric_of(proxy, success, receiver="oncall") > 1e9


async def test_a_sidecar_that_ends_sends_what_waits() -> None:
    async with hook() as found:
        keys = top({"oncall": webhook(found.url)})
        keys["alerts"]["group_wait"] = "1h"
        async with proxied(endpoints=["127.0.0.1:1"], top=keys) as proxy:
            await proxy.get()
        [body] = found.bodies
        assert body["alerts"][0]["route"] == "all"


async def test_without_alerts_nothing_is_sent_and_the_api_is_empty() -> None:
    async with proxied(endpoints=["127.0.0.1:1"]) as proxy, client_of(proxy) as admin:
        await proxy.get()
        empty: dict[str, Any] = {}
        empty |= {"firing": [], "receivers": [], "silences": [], "notices": []}
        assert await admin.get("/alerts") == empty


async def test_silences_are_made_shown_and_ended_over_the_api(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIDECAR_ADMIN_TOKEN", TOKEN)
    wanted = {"routes": ["all"], "for_s": 3600, "comment": "we know"}
    async with hook() as found:
        keys = top({"oncall": webhook(found.url)})
        async with (
            proxied(endpoints=["127.0.0.1:1"], top=keys) as proxy,
            client_of(proxy) as admin,
        ):
            status, made = await admin.ask("/alerts/silences", "POST", body=wanted)
            assert (status, made["comment"]) == (200, "we know")
            await proxy.get()
            while not (shown := await admin.get("/alerts"))["notices"]:
                await asyncio.sleep(LOOK_S)
            assert shown["notices"][0]["result"] == "silenced"
            assert [f["silenced"] for f in shown["firing"]] == [True]
            assert [s["id"] for s in shown["silences"]] == [made["id"]]
            place = f"/alerts/silences/{made['id']}"
            assert (await admin.ask(place, "DELETE"))[0] == 200
            assert (await admin.ask(place, "DELETE"))[0] == 404
            await found.got(1)
            while not (shown := await admin.get("/alerts"))["receivers"][0][
                "notices"
            ].get("sent"):
                await asyncio.sleep(LOOK_S)
            assert shown["firing"][0]["told"] == ["oncall"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("x", "the body must be like"),
        ({"for_s": 60}, "it silences everything"),
        ({"routes": ["all"]}, "for_s: Field required"),
        ({"routes": ["all"], "for_s": 1e9}, "for_s: Input should be less"),
        ({"routes": ["all"], "for_s": True}, "for_s: "),
        ({"route": ["all"], "for_s": 1}, "route: Extra inputs"),
        ({"codes": ["502"], "for_s": 1}, "codes.0: "),
    ],
)
async def test_a_silence_that_makes_no_sense_is_refused(
    body: Any, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDECAR_ADMIN_TOKEN", TOKEN)
    async with proxied() as proxy, client_of(proxy) as admin:
        status, told = await admin.ask("/alerts/silences", "POST", body=body)
        assert status == 400
        assert told["error"].startswith(problem)


async def test_a_silence_needs_the_token() -> None:
    async with proxied() as proxy, client_of(proxy) as admin:
        body = {"routes": ["all"], "for_s": 60}
        status, _ = await admin.ask("/alerts/silences", "POST", body=body)
        assert status == 403


async def test_a_reload_puts_other_receivers_in_force(tmp_path: Path) -> None:
    file = tmp_path / "sidecar.yaml"
    async with (
        hook() as found,
        proxied(endpoints=["127.0.0.1:1"], config=file) as proxy,
    ):
        await proxy.get()
        text = yaml.safe_dump(
            {
                "upstreams": {"app": {"endpoints": ["127.0.0.1:1"]}},
                "routes": [{"name": "all", "upstream": "app"}],
                **top({"oncall": webhook(found.url)}),
            }
        )
        file.write_text(text, encoding="utf-8")
        done = await proxy.app.reloader.reload("a test")
        assert done.result == "applied"
        assert SECRET not in json.dumps(done.changes)
        assert "oncall" in json.dumps(done.changes)
        await found.told()


async def test_no_secret_is_shown_or_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In a URL the path is one, too."""
    caplog.set_level(logging.DEBUG)
    (tmp_path / "secret").write_text(SECRET, encoding="utf-8")
    async with hook() as found:
        found.plain = (500, SECRET, {})
        hooks = {
            "plain": webhook(found.url),
            "query": webhook(f"http://u:{SECRET}@127.0.0.1:1/a?token={SECRET}"),
            "signed": webhook(
                f"{found.url}?access_token={SECRET}",
                format="dingtalk",
                secret_file=str(tmp_path / "secret"),
            ),
        }
        async with (
            proxied(endpoints=["127.0.0.1:1"], top=top(hooks)) as proxy,
            client_of(proxy) as admin,
        ):
            await proxy.get()
            await found.got(2)
            while not all(
                receiver["problem"]
                for receiver in (await admin.get("/alerts"))["receivers"]
            ):
                await asyncio.sleep(LOOK_S)
            for path in ("/config", "/alerts", "/events", "/faults", "/fault-groups"):
                assert SECRET not in json.dumps(await admin.get(path)), path
            config = await admin.get("/config")
            receivers = config["settings"]["alerts"]["receivers"]
            port = found.port
            shown = f"http://127.0.0.1:{port}/(hidden)"
            assert receivers["plain"]["webhook"]["url"] == shown
            loaded = repr(proxy.app.snapshot) + repr(proxy.app.alerts.boxes)
            assert SECRET not in loaded
    assert SECRET not in caplog.text
    assert "answers 500; to be tried again" in caplog.text
