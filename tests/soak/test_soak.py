"""A soak of a few seconds: that it runs, and that it would find what is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.soak import report
from tests.soak.chaos import KINDS
from tests.soak.ledger import Did, violations
from tests.soak.run import Soak

if TYPE_CHECKING:
    from pathlib import Path

    from tests.soak.ledger import Sent
    from tests.soak.run import Report

LENGTHS_S = (4.0, 8.0, 16.0)
SEED = 5
WHOLE = ("get", "post", "chunked", "lines", "events", "ws")
LEFT = ("leave", "leave_upload")


def without_one_act(sent: Sent, origin: list[Did]) -> tuple[Sent, list[Did]]:
    return sent, [did for did in origin if did.id != sent.id]


def with_one_act_more(sent: Sent, origin: list[Did]) -> tuple[Sent, list[Did]]:
    return sent, [*origin, next(did for did in origin if did.id == sent.id)]


def with_another_body(sent: Sent, origin: list[Did]) -> tuple[Sent, list[Did]]:
    return replace(sent, sha="another"), origin


def with_a_gap(sent: Sent, origin: list[Did]) -> tuple[Sent, list[Did]]:
    [[_, last]] = sent.runs
    return replace(sent, runs=[[0, 3], [5, last]]), origin


def with_a_strange_code(sent: Sent, origin: list[Did]) -> tuple[Sent, list[Did]]:
    return replace(sent, out="code", code="316-OP-FAIL"), origin


FORGERIES = [
    (without_one_act, "post"),
    (with_one_act_more, "post"),
    (with_another_body, "chunked"),
    (with_a_gap, "lines"),
    (with_a_gap, "ws"),
    (with_a_strange_code, "get"),
]


@pytest.mark.timeout(180)
async def test_a_short_soak_leaves_nothing_and_a_forged_journal_is_found_out(
    tmp_path: Path,
) -> None:
    wanted = {(kind, "ok") for kind in WHOLE} | {(kind, "left") for kind in LEFT}
    for seconds in LENGTHS_S:  # What is cut is chance: it may be all of a kind.
        folder = tmp_path / f"{seconds:g}"
        folder.mkdir()
        outcome = await Soak(folder, SEED, workers=8).run(seconds)
        assert outcome.violations == []
        assert {event.kind for event in outcome.chaos} >= set(KINDS)
        outs = Counter((sent.kind, sent.out) for sent in outcome.sent)
        if outs.keys() >= wanted:
            break
    assert outs.keys() >= wanted
    assert any(sent.code for sent in outcome.sent)
    assert "no violation" in list(report.lines(outcome))
    for forge, kind in FORGERIES:
        forged_is_found(outcome, forge, kind)


def forged_is_found(outcome: Report, forge: object, kind: str) -> None:
    """Forge one entry of what both sides really wrote, and look again."""
    assert callable(forge)
    at, genuine = next(
        (at, sent)
        for at, sent in enumerate(outcome.sent)
        if (sent.kind, sent.out) == (kind, "ok")
    )
    forged, origin = forge(genuine, outcome.origin)
    client = [*outcome.sent[:at], forged, *outcome.sent[at + 1 :]]
    found = violations(client, origin, outcome.chaos)
    assert found, forge
    assert all(genuine.id in sentence for sentence in found)
