"""What `sidecar top` shows, and what a key changes of it. Pure: no terminal, no socket.

Seen    what the API said last
Board   that, and what the person chose: a row, an order, words to search for
press   a key --> the board changed, and perhaps a Wish: quit, or open this
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from sidecar.terminal.words import route_name

if TYPE_CHECKING:
    from collections.abc import Callable

Row = dict[str, Any]

_WORST: Final = ("open", "half_open", "closed", "off")
_OVER: Final = "recovered"
_PAGE: Final = 10  # Rows.


class Kind(Enum):
    """What a row is of."""

    ROUTE = "route"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Choice:
    """A row that can be chosen, and opened."""

    kind: Kind
    id: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What the API said."""

    index: Row
    traffic: list[Row]
    total: dict[str, list[Any]]  # Of each interval, the oldest first.
    interval_s: float
    upstreams: list[Row]
    groups: list[Row]


class Quit(Exception):  # noqa: N818 - it is no error
    """The person has seen enough."""


@dataclass(slots=True)
class Board:
    """What is shown.

    Attributes:
        seen: What the API said last; None: nothing yet.
        problem: Why there is nothing newer; empty: there is.
        chosen: The row with the mark.
        opened: The row that is shown in full.
        whole: What there is to know of it; None: that is on its way.
        is_typing: Keys are words to search for.
    """

    seen: Seen | None = None
    problem: str = ""
    chosen: Choice | None = None
    opened: Choice | None = None
    whole: Row | None = None
    offset: int = 0  # Lines of it above the screen.
    order: int = 0
    search: str = ""
    is_typing: bool = False
    is_paused: bool = False
    shows_help: bool = False
    rows: list[Row] = field(default_factory=list)
    groups: list[Row] = field(default_factory=list)

    def see(self, seen: Seen) -> None:
        """Show what is new, unless the person wants to look at the old for a while."""
        self.problem = ""
        if not self.is_paused or self.seen is None:
            self.seen = seen
            self._arrange()

    @property
    def order_name(self) -> str:
        """Return by what routes are sorted."""
        return list(_ORDERS)[self.order]

    @property
    def choices(self) -> list[Choice]:
        """Return the rows, from above."""
        return [
            *(Choice(Kind.ROUTE, row["route"]) for row in self.rows),
            *(Choice(Kind.GROUP, group["id"]) for group in self.groups),
        ]

    @property
    def ejected(self) -> list[tuple[str, Row]]:
        """Return the endpoints that are out, with their upstreams."""
        upstreams = [] if self.seen is None else self.seen.upstreams
        return [
            (upstream["name"], endpoint)
            for upstream in upstreams
            for endpoint in upstream["endpoints"]
            if endpoint["state"] != "healthy"
        ]

    def press(self, key: str) -> None:
        """Do what a key means; one that means nothing does nothing.

        Raises:
            Quit: That is what it means.
        """
        if self.is_typing:
            self._type(key)
        elif self.shows_help:
            self.shows_help = False  # Any key.
        elif key == "q":
            raise Quit
        elif self.opened is not None:
            self._press_opened(key)
        elif key in _KEYS:
            _KEYS[key](self)

    def _press_opened(self, key: str) -> None:
        if key in _STEPS:
            self.offset = max(0, self.offset + _STEPS[key])
        elif key in ("escape", "backspace", "enter", "left", "h"):
            self.opened = self.whole = None
            self.offset = 0
        elif key in ("p", "?"):
            _KEYS[key](self)

    def _type(self, key: str) -> None:
        if key in ("enter", "escape"):
            self.is_typing = False
            self.search = self.search if key == "enter" else ""
        elif key == "backspace":
            self.search = self.search[:-1]
        elif len(key) == 1 and key.isprintable():
            self.search += key
        self._arrange()

    def move(self, steps: int) -> None:
        """Choose the row so many below; above, if it is less than 0."""
        choices = self.choices
        if choices:
            place = choices.index(self.chosen) if self.chosen in choices else 0
            self.chosen = choices[max(0, min(len(choices) - 1, place + steps))]

    def switch(self) -> None:
        """Choose the first of the groups, or of the routes."""
        kind = Kind.ROUTE if self.chosen is None else self.chosen.kind
        others = [choice for choice in self.choices if choice.kind is not kind]
        self.chosen = others[0] if others else self.chosen

    def open_chosen(self) -> None:
        """Show the chosen row in full."""
        self.opened, self.whole, self.offset = self.chosen, None, 0

    def sort(self) -> None:
        """Sort by the next thing."""
        self.order = (self.order + 1) % len(_ORDERS)
        self._arrange()

    def clear(self) -> None:
        """Search for nothing."""
        self.search = ""
        self._arrange()

    def begin_search(self) -> None:
        """Take keys as words from now on."""
        self.is_typing, self.search = True, ""
        self._arrange()

    def pause(self) -> None:
        """Let the picture stand, or go on."""
        self.is_paused = not self.is_paused

    def help(self) -> None:
        """Show what keys mean."""
        self.shows_help = True

    def _arrange(self) -> None:
        if self.seen is None:
            return
        wanted, order = self.search.lower(), _ORDERS[self.order_name]
        self.rows = sorted(
            (row for row in self.seen.traffic if wanted in _searched(row)), key=order
        )
        self.groups = sorted(
            (group for group in self.seen.groups if wanted in _searched(group)),
            key=lambda group: group["last_seen"],
            reverse=True,
        )
        self.groups.sort(key=_badness)
        if self.chosen not in self.choices:
            self.chosen = next(iter(self.choices), None)


def _searched(told: Row) -> str:
    """Return in what words are searched for."""
    names = ("code", "title", "upstream", "endpoint", "cause", "breaker", "state")
    words = [route_name(told["route"]), *(str(told.get(name, "")) for name in names)]
    return " ".join(words).lower()


def _badness(group: Row) -> tuple[bool, str]:
    """Return the place of a group: what goes on first, and of that the worst."""
    return group["state"] == _OVER, group["severity"]


def _by_trouble(row: Row) -> tuple[int, float, float, str]:
    ratio = row["success_ratio"]
    good = 1.0 if ratio is None else ratio
    trouble = min(_WORST.index(row["breaker"]), _WORST.index("closed"))
    return trouble, good, -row["requests_per_s"], row["route"]


def _by_rate(row: Row) -> tuple[float, str]:
    return -row["requests_per_s"], row["route"]


def _by_p95(row: Row) -> tuple[float, str]:
    return -(row["p95_s"] or 0.0), row["route"]


def _by_in_flight(row: Row) -> tuple[int, str]:
    return -row["in_flight"], row["route"]


def _by_name(row: Row) -> str:
    return str(row["route"])


_ORDERS: Final[dict[str, Callable[[Row], Any]]] = {
    "worst": _by_trouble,
    "rate": _by_rate,
    "p95": _by_p95,
    "in flight": _by_in_flight,
    "name": _by_name,
}
_STEPS: Final = {
    "down": 1, "j": 1, "up": -1, "k": -1, "page_down": _PAGE, "page_up": -_PAGE,
    "home": -(10**9), "g": -(10**9), "end": 10**9, "G": 10**9,
}  # fmt: skip


def _mover(steps: int) -> Callable[[Board], None]:
    return lambda board: board.move(steps)


_KEYS: Final[dict[str, Callable[[Board], None]]] = {
    **{key: _mover(steps) for key, steps in _STEPS.items()},
    "tab": Board.switch,
    "enter": Board.open_chosen,
    "right": Board.open_chosen,
    "l": Board.open_chosen,
    "/": Board.begin_search,
    "escape": Board.clear,
    "s": Board.sort,
    "p": Board.pause,
    "?": Board.help,
}
