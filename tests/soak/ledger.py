"""What both sides wrote down, held against each other: a pure function.

    client    one `Sent` a request: what it asked for, when, and how that ended
    origin    one `Did` for each thing that it did
    chaos     when the origin was made to misbehave, and how

Nothing is lost, doubled or out of order; what is not proven unprocessed is not
repeated unless it is idempotent; each failure has a 316 code that fits what was
done to the origin at that time. Each violation comes back as a sentence.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

AFTERMATH_S: Final = 4.0  # Until breakers have closed and timeouts have passed.
MAX_TRIES: Final = 3
CUT: Final = "cut"  # An answer that broke off, visibly.
_STREAMS: Final = frozenset(("lines", "events"))
_ONCE: Final = frozenset(("post", "chunked", "ws", "leave_upload"))
_HASHED: Final = frozenset(("post", "chunked"))

_GIVEN_UP: Final = frozenset(
    ("316-CIRCUIT-OPEN", "316-RETRY-BUDGET", "316-RETRY-EXHAUSTED")
)
_BROKEN: Final = _GIVEN_UP | {
    "316-CONN-RESET", "316-CONN-STALE", "316-CONN-TERMINATED", CUT,
}  # fmt: skip
_GONE: Final = _BROKEN | {"316-CONN-ERR", "316-CONN-REFUSED"}
_TIMED_OUT: Final = _GIVEN_UP | {
    "316-CONN-TIMEOUT", "316-TIMEOUT-ERR", "316-TIMEOUT-TRY", CUT,
}  # fmt: skip

# By what is done to the origin: what clients may see of it.
EXPLAINS: Final = {
    "kill": _GONE,
    "refuse": _GONE,
    "pause": _TIMED_OUT | {"316-TIMEOUT-IDLE", "316-TIMEOUT-WRITE"},
    "slow": _TIMED_OUT,
    "reset": _BROKEN,
    "garbage": _GIVEN_UP
    | {"316-CONN-TERMINATED", "316-DATA-TRANSFER-CODING", "316-PROTO-UPSTREAM", CUT},
    "hasty": _GIVEN_UP | {"316-CONN-STALE", CUT},
    "stall": _TIMED_OUT | {"316-TIMEOUT-IDLE"},
}


@dataclass(frozen=True, slots=True)
class Sent:
    """One request, as its client saw it.

    Attributes:
        id: Of its own.
        kind: get, post, chunked, lines, events, ws, leave or leave_upload.
        start_s: When it was sent.
        end_s: When it was over.
        out: ok; code; cut; left (by its own will); unanswered (behind an answer
            that closed the connection); anything else is a violation.
        code: 316 code of the answer.
        processed: What `x-316-processed` said.
        sha: Of the body that was sent.
        runs: Numbers that came, as runs of consecutive ones.
        count: How many numbers were to come.
        why: What was wrong, in words.
    """

    id: str
    kind: str
    start_s: float
    end_s: float
    out: str
    code: str = ""
    processed: str = ""
    sha: str = ""
    runs: Sequence[Sequence[int]] = ()
    count: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Did:
    """One thing that the origin did: acted, sent, gone or heard."""

    id: str
    did: str
    boot: int
    tries: int = 1
    sha: str = ""
    runs: Sequence[Sequence[int]] = ()


@dataclass(frozen=True, slots=True)
class Chaos:
    """What was done to the origin, and when; `boot` is the one that was killed."""

    kind: str
    start_s: float
    end_s: float
    boot: int = 0


@dataclass(slots=True)
class _Origin:
    """What the origin did, by id."""

    acted: dict[str, list[Did]] = field(default_factory=lambda: defaultdict(list))
    ended: Counter[tuple[str, int]] = field(default_factory=Counter)
    heard: dict[str, Did] = field(default_factory=dict)


def violations(
    client: Sequence[Sent], origin: Sequence[Did], chaos: Sequence[Chaos]
) -> list[str]:
    """Return what must not be, one sentence each."""
    book = _Origin()
    for did in origin:
        if did.did == "acted":
            book.acted[did.id].append(did)
        elif did.did == "heard":
            book.heard[did.id] = did
        else:
            book.ended[did.id, did.boot] += 1
    killed = {event.boot for event in chaos if event.kind == "kill"}
    found = list(_strangers(client, origin))
    for sent in client:
        acts = book.acted.get(sent.id, [])
        found += _outcome(sent, chaos)
        found += _acts(sent, acts)
        if sent.kind in _STREAMS or sent.kind == "leave":
            found += _stream(sent, acts, book, killed)
        if sent.kind == "ws":
            found += _websocket(sent, acts, book.heard.get(sent.id), killed)
    return found


def is_explained(sent: Sent, chaos: Sequence[Chaos]) -> bool:
    """Tell whether something was done to the origin that may have this outcome."""
    word = CUT if sent.out == CUT else sent.code
    return any(word in EXPLAINS[event.kind] for event in _around(sent, chaos))


def is_calm(sent: Sent, chaos: Sequence[Chaos]) -> bool:
    """Tell whether nothing was done to the origin at the time of a request."""
    return not any(True for _ in _around(sent, chaos))


def _around(sent: Sent, chaos: Sequence[Chaos]) -> Iterator[Chaos]:
    for event in chaos:
        if event.start_s <= sent.end_s and sent.start_s <= event.end_s + AFTERMATH_S:
            yield event


def _strangers(client: Sequence[Sent], origin: Sequence[Did]) -> Iterator[str]:
    counts = Counter(sent.id for sent in client)
    for name, count in counts.items():
        if count > 1:
            yield f"{name}: the client accounts for it {count} times"
    for name in sorted({did.id for did in origin} - counts.keys()):
        yield f"{name}: the origin saw it, but no client accounts for it"


def _outcome(sent: Sent, chaos: Sequence[Chaos]) -> Iterator[str]:
    if sent.out in {"ok", "left", "unanswered"}:
        return
    if sent.out not in {"code", CUT}:
        yield f"{sent.id}: {sent.out} ({sent.why})"
    elif not is_explained(sent, chaos):
        around = ", ".join(event.kind for event in _around(sent, chaos)) or "nothing"
        what = sent.code or "an answer that broke off"
        yield f"{sent.id}: {what}, which {around} does not explain ({sent.why})"


def _acts(sent: Sent, acts: Sequence[Did]) -> Iterator[str]:
    count = len(acts)
    if sent.out == "ok" and not count:
        yield f"{sent.id}: answered, but the origin never acted on it"
    if sent.kind in _ONCE and count > 1:
        yield f"{sent.id}: acted on {count} times, and it is not idempotent"
    if sent.processed == "no" and count:
        yield f"{sent.id}: told as unprocessed, but acted on"
    if count > MAX_TRIES or any(did.tries > MAX_TRIES for did in acts):
        yield f"{sent.id}: tried more than {MAX_TRIES} times"
    if sent.kind == "leave_upload" and count:
        yield f"{sent.id}: acted on, though its body never was whole"
    if sent.kind in _HASHED and any(did.sha != sent.sha for did in acts):
        yield f"{sent.id}: the body that arrived is not the one that was sent"


def _stream(
    sent: Sent, acts: Sequence[Did], book: _Origin, killed: set[int]
) -> Iterator[str]:
    yield from _in_order(sent.id, "the client got", sent.runs, sent.count)
    if sent.out == "ok" and _length(sent.runs) != sent.count:
        yield f"{sent.id}: whole, but {_length(sent.runs)} of {sent.count} lines came"
    for boot, count in Counter(did.boot for did in acts).items():
        if book.ended[sent.id, boot] < count and boot not in killed:
            yield f"{sent.id}: the origin never learnt that this stream is over"


def _websocket(
    sent: Sent, acts: Sequence[Did], heard: Did | None, killed: set[int]
) -> Iterator[str]:
    yield from _in_order(sent.id, "the client got", sent.runs, sent.count)
    if heard is None:
        if any(did.boot not in killed for did in acts):
            yield f"{sent.id}: the origin never learnt that this WebSocket is over"
        return
    yield from _in_order(sent.id, "the origin heard", heard.runs, sent.count)
    got, sent_on = _length(sent.runs), _length(heard.runs)
    if got > sent_on:
        yield f"{sent.id}: the client got {got} echoes of {sent_on} messages"
    if sent.out == "ok" and not got == sent_on == sent.count:
        yield (
            f"{sent.id}: closed in order, but of {sent.count} messages {sent_on}"
            f" arrived and {got} came back"
        )


def _in_order(
    name: str, who: str, runs: Sequence[Sequence[int]], count: int
) -> Iterator[str]:
    """Yield what is wrong with numbers that must be a beginning of 0, 1, 2..."""
    if len(runs) > 1 or (runs and runs[0][0] != 0):
        yield f"{name}: {who} {[list(run) for run in runs]}: lost, doubled or swapped"
    elif _length(runs) > count:
        yield f"{name}: {who} {_length(runs)} of {count}"


def _length(runs: Sequence[Sequence[int]]) -> int:
    return sum(last - first + 1 for first, last in runs)
