"""What docs/faults-howto.md tells happens, in that order, with the real sidecar."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.story.day import Day, day
from tests.support.otlp import values_of

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("page")]

STORY = (Path(__file__).parents[2] / "docs" / "faults-howto.md").read_text("utf-8")
REFUSED, FULL = "316-ORDER-SUBMIT-ERR", "316-POOL-EXHAUSTED"


async def asked(scene: Day, path: str) -> Any:
    async with aiohttp.ClientSession(scene.admin) as session, session.get(path) as got:
        assert got.status == 200, await got.text()
        return await got.json()


async def test_the_day_goes_as_it_is_told(tmp_path: Path) -> None:
    async with day(tmp_path) as scene:
        await scene.calm()
        assert scene.oncall.bodies == []
        scene.promote()
        alert = await scene.told(REFUSED, "firing")
        full = await scene.told(FULL, "firing")
        assert (alert["severity"], full["severity"]) == ("P1", "P1")
        letter = (await scene.team.got(1))[0]
        assert "[P1] 316-" in letter["Subject"]
        assert alert["fix"] in letter.get_content().replace("\n", " ")

        record = await asked(scene, f"/faults/{alert['fault_id']}")
        assert (record["code"], record["status"]) == (REFUSED, 503)
        assert record["retry_skipped_reason"] == "not_retriable"
        assert len(record["attempts"]) == 1
        routes = {g["route"] for g in await asked(scene, f"/fault-groups?code={FULL}")}
        assert routes == {"submit-order", "catalogue"}  # One drags the other along.

        span = await scene.span_of(alert["fault_id"])
        told = values_of(span)
        assert span.trace_id.hex() == record["trace_id"] == alert["trace_id"]
        assert told["error.type"] == REFUSED
        assert told["sidecar.fault.group"] == record["group"] == alert["group"]

        scene.mend()
        over = await scene.told(REFUSED, "resolved")
        assert over["key"] == alert["key"]
        assert over["state"] == "recovered"
        events = await asked(scene, "/events?kind=recovery")
        assert {event["subject"] for event in events} >= {"submit-order"}


def test_the_messages_that_are_shown_have_the_members_of_real_ones() -> None:
    [shown] = re.findall(r"```json\n(.*?)```", STORY, re.DOTALL)
    source = Path(sys.modules["sidecar.alerting.words"].__file__ or "").read_text()
    for name in json.loads(shown):
        assert f'"{name}"' in source
