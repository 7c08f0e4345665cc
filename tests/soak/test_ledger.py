"""A ledger that cannot fail is worth nothing: each violation, by example."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.soak.ledger import AFTERMATH_S, EXPLAINS, Chaos, Did, Sent, violations

if TYPE_CHECKING:
    from collections.abc import Sequence

SHA = "0f" * 8
WHOLE = [[0, 9]]


def sent(kind: str, out: str = "ok", **more: Any) -> Sent:
    return Sent(f"{kind}-1", kind, 10.0, 11.0, out, **more)


def acted(kind: str, **more: Any) -> Did:
    return Did(f"{kind}-1", "acted", 1, **more)


def did(kind: str, what: str, **more: Any) -> Did:
    return Did(f"{kind}-1", what, 1, **more)


POST = sent("post", sha=SHA)
STREAM = sent("lines", runs=WHOLE, count=10)
STREAMED = (acted("lines"), did("lines", "sent"))
WS = sent("ws", runs=WHOLE, count=10)
LEFT = sent("leave", "left", runs=[[0, 3]], count=10)
ECHOED = (acted("ws"), did("ws", "heard", runs=WHOLE))
STALE = sent("post", "code", sha=SHA, code="316-CONN-STALE")
KILL = Chaos("kill", 9.0, 9.5, boot=1)


@pytest.mark.parametrize(
    ("client", "origin", "chaos"),
    [
        ([sent("get")], [acted("get")], []),
        ([sent("get")], [acted("get"), acted("get", tries=2)], []),
        ([POST], [acted("post", sha=SHA)], []),
        ([STALE], [acted("post", sha=SHA)], [KILL]),
        ([STALE], [], [KILL]),
        ([STREAM], STREAMED, []),
        (
            [replace(STREAM, out="cut", runs=[[0, 3]])],
            [acted("lines"), did("lines", "gone")],
            [KILL],
        ),
        ([replace(STREAM, out="cut", runs=[])], [acted("lines")], [KILL]),
        ([LEFT], [acted("leave"), did("leave", "gone")], []),
        ([sent("leave_upload", "left")], [], []),
        ([sent("get", "unanswered")], [], []),
        ([WS], ECHOED, []),
        ([replace(WS, out="cut", runs=[[0, 3]])], [acted("ws")], [KILL]),
    ],
    ids=lambda value: value[0].kind if value and isinstance(value[0], Sent) else "",
)
def test_what_may_be_is_no_violation(
    client: Sequence[Sent], origin: Sequence[Did], chaos: Sequence[Chaos]
) -> None:
    assert violations(client, origin, chaos) == []


@pytest.mark.parametrize(
    ("client", "origin", "sentence"),
    [
        ([sent("get")], [], "the origin never acted on it"),
        ([sent("get"), sent("get")], [acted("get")], "accounts for it 2 times"),
        ([], [acted("get")], "no client accounts for it"),
        ([sent("get", "wrong", why="b in place of a")], [], "wrong (b in place of a)"),
        ([sent("get", "lost")], [], "lost"),
        ([sent("get", "hung")], [], "hung"),
        ([sent("get", "code", code="316-CONN-STALE")], [], "nothing does not explain"),
        ([sent("get", "cut")], [], "an answer that broke off, which nothing"),
        ([sent("get")], 4 * [acted("get")], "tried more than 3 times"),
        ([sent("get")], [acted("get", tries=4)], "tried more than 3 times"),
        ([POST], 2 * [acted("post", sha=SHA)], "acted on 2 times, and it is not"),
        ([POST], [acted("post", sha="other")], "not the one that was sent"),
        (
            [replace(POST, out="code", code="316-CONN-REFUSED", processed="no")],
            [acted("post", sha=SHA)],
            "told as unprocessed, but acted on",
        ),
        ([sent("leave_upload", "left")], [acted("leave_upload")], "never was whole"),
        ([replace(STREAM, runs=[[0, 8]])], STREAMED, "9 of 10 lines came"),
        ([replace(STREAM, runs=[[0, 4], [6, 10]])], STREAMED, "lost, doubled"),
        ([replace(STREAM, runs=[[0, 4], [4, 9]])], STREAMED, "lost, doubled"),
        ([replace(STREAM, runs=[[1, 9]])], STREAMED, "lost, doubled"),
        ([replace(STREAM, runs=[[0, 10]])], STREAMED, "the client got 11 of 10"),
        ([STREAM], [acted("lines")], "never learnt that this stream is over"),
        (
            [STREAM],
            [*STREAMED, acted("lines")],  # Two tries, and one of them goes on.
            "never learnt that this stream is over",
        ),
        ([LEFT], [acted("leave")], "never learnt that this stream is over"),
        ([WS], 2 * [acted("ws")], "acted on 2 times, and it is not"),
        ([WS], [acted("ws")], "never learnt that this WebSocket is over"),
        (
            [WS],
            [acted("ws"), did("ws", "heard", runs=[[0, 8]])],
            "the client got 10 echoes of 9 messages",
        ),
        (
            [WS],
            [acted("ws"), did("ws", "heard", runs=[[0, 4], [4, 9]])],
            "the origin heard",
        ),
        ([replace(WS, runs=[[0, 3]])], ECHOED, "10 arrived and 4 came back"),
        ([replace(WS, runs=[[0, 3], [5, 9]])], ECHOED, "the client got"),
    ],
)
def test_what_must_not_be_is_told_in_a_sentence(
    client: Sequence[Sent], origin: Sequence[Did], sentence: str
) -> None:
    found = violations(client, origin, [])
    assert any(sentence in each for each in found), found


@pytest.mark.parametrize("kind", EXPLAINS)
@pytest.mark.parametrize(
    ("start_s", "end_s", "is_near"),
    [
        (10.5, 12.0, True),
        (12.0, 13.0, False),
        (10.0 - AFTERMATH_S, 10.0 - AFTERMATH_S / 2, True),
        (9.0 - 2 * AFTERMATH_S, 9.0 - AFTERMATH_S, False),
    ],
)
def test_a_failure_is_explained_by_what_was_done_at_the_time(
    kind: str, start_s: float, end_s: float, *, is_near: bool
) -> None:
    failure = sent("get", "code", code="316-CIRCUIT-OPEN")
    chaos = [Chaos(kind, start_s, end_s)]
    assert bool(violations([failure], [], chaos)) != is_near


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("kill", "316-TIMEOUT-TRY"),
        ("pause", "316-CONN-REFUSED"),
        ("slow", "316-CONN-RESET"),
        ("garbage", "316-TIMEOUT-ERR"),
        ("reset", "316-PROTO-UPSTREAM"),
        ("hasty", "316-CONN-REFUSED"),
        ("refuse", "316-OP-FAIL"),
    ],
)
def test_a_code_that_does_not_fit_what_was_done_is_not_explained(
    kind: str, code: str
) -> None:
    failure = sent("get", "code", code=code)
    [found] = violations([failure], [], [Chaos(kind, 10.0, 11.0)])
    assert f"{code}, which {kind} does not explain" in found


def test_who_was_killed_need_not_tell_how_a_stream_ended_but_its_successor_must() -> (
    None
):
    client = [replace(STREAM, out="cut", runs=[])]
    assert violations(client, [acted("lines")], [KILL]) == []
    successor = [Did("lines-1", "acted", 2)]
    assert violations(client, successor, [KILL]) != []
