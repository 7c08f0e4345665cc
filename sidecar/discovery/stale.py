"""Answers of a name server, and how long they hold.

    answered ----- TTL -----> due ----- stale_s -----> gone
             (min_ttl_s at least)   used, asked again

Each type of record has its own answer: a server that fails for AAAA takes no A away.
So has each target of SRV.

Source:
    RFC 8767: serving stale data, as long as there is nothing newer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sidecar.settings.snapshot import Address

_MAX_TTL_S = 3600.0  # Somebody may have meant a day; asking sooner does no harm.


@dataclass(frozen=True, slots=True)
class _Answer:
    addresses: tuple[Address, ...]
    due_s: float


class StaleIfError:
    """The addresses of one name."""

    __slots__ = ("_answers", "_min_ttl_s", "_stale_s")

    def __init__(self, min_ttl_s: float, stale_s: float) -> None:
        self._min_ttl_s = min_ttl_s
        self._stale_s = stale_s
        self._answers: dict[str, _Answer] = {}

    def answered(
        self, kind: str, addresses: Iterable[Address], ttl_s: float, now_s: float
    ) -> None:
        """Take an answer: it replaces the one before, also if there is nothing in it.

        Args:
            kind: The type of record, or the target of SRV.
            addresses: What is in it.
            ttl_s: As long as the answer says it holds.
            now_s: Now.
        """
        hold_s = max(self._min_ttl_s, min(ttl_s, _MAX_TTL_S))
        self._answers[kind] = _Answer(tuple(addresses), now_s + hold_s)

    def forget_others(self, kinds: Collection[str]) -> None:
        """Keep the answers of these kinds alone: no others are asked for any more."""
        for kind in self._answers.keys() - set(kinds):
            del self._answers[kind]

    def addresses(self, now_s: float) -> tuple[Address, ...]:
        """Return those that hold, or held not long ago; each once, in order."""
        held = [a for a in self._answers.values() if now_s < a.due_s + self._stale_s]
        found = {address for answer in held for address in answer.addresses}
        return tuple(sorted(found, key=lambda a: (a.host, a.port)))

    def wait_s(self, now_s: float, retry_s: float | None) -> float:
        """Return how long to wait before asking again.

        Args:
            now_s: Now.
            retry_s: After a failure: how long to wait at most; None: all was good.
        """
        if retry_s is None:
            ends_s = [answer.due_s - now_s for answer in self._answers.values()]
            return max(0.0, min(ends_s, default=self._min_ttl_s))
        ends_s = [a.due_s + self._stale_s - now_s for a in self._answers.values()]
        return min([retry_s, *(end_s for end_s in ends_s if end_s > 0)])
