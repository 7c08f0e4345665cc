"""Which records are asked for: one rule for those in memory and those on disk."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sidecar.settings.units import parse_duration

if TYPE_CHECKING:
    from sidecar.record.feed.failure import Failure

_SEARCHED: Final = (
    "fault_id", "code", "title", "detail", "route", "upstream", "endpoint", "method",
    "path_template", "group", "trace_id", "request_id",
)  # fmt: skip
_NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class FaultFilter:
    """All that is not None or empty must hold."""

    code: str = ""
    family: str = ""  # The first word after "316-".
    severity: str = ""
    layer: str = ""
    route: str | None = None  # "" is that of no route.
    upstream: str | None = None
    group: str = ""
    since_ns: int = 0
    text: str = ""  # Somewhere in what is told, whatever its case.

    def may_hold(self, failure: Failure) -> bool:
        """Tell, without making the record, whether it may be asked for."""
        outcome = failure.outcome
        spec = outcome.fault.spec if outcome.fault is not None else None
        return (
            spec is not None
            and self.is_of(spec.code, spec.layer.value)
            and self.severity in ("", failure.severity.name)
            and self.route in (None, outcome.route)
            and self.upstream in (None, outcome.upstream)
            and self.group in ("", failure.group)
            and failure.ended_ns >= self.since_ns
        )

    def is_of(self, code: str, layer: str) -> bool:
        """Tell whether code, family and layer are those that are asked for."""
        return (
            self.code in ("", code)
            and self.family in ("", family_of(code))
            and self.layer in ("", layer)
        )

    def has_text(self, record: dict[str, Any]) -> bool:
        """Tell whether the text is in a record."""
        if not self.text:
            return True
        wanted = self.text.lower()
        return any(wanted in str(record.get(key, "")).lower() for key in _SEARCHED)


def family_of(code: str) -> str:
    """Return the first word of a code after "316-"."""
    return code.split("-", 2)[1] if "-" in code else ""


def since_ns(text: str, now_ns: int) -> int:
    """Return the time of day that is meant by "15m" (ago) or by RFC 3339.

    Raises:
        ValueError: It is neither.
    """
    try:
        return now_ns - int(parse_duration(text) * _NS_PER_S)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        msg = f"{text!r} is neither a duration such as 15m nor a time such as "
        raise ValueError(msg + "2026-01-31T12:00:00Z")
    return int(moment.timestamp() * _NS_PER_S)
