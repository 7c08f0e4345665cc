"""Records as lines: JSON Lines, and CSV (RFC 4180) for spreadsheets.

A record quotes what clients sent. A spreadsheet takes a cell that begins with "=" and
the like for a formula: such a cell gets an apostrophe before it.
"""

from __future__ import annotations

import csv
import json
from io import StringIO
from typing import Any, Final

KINDS: Final = {
    "json": "application/json",
    "jsonl": "application/jsonl",
    "csv": "text/csv",
}
COLUMNS: Final = (
    "time", "fault_id", "code", "severity", "layer", "origin", "phase", "processed",
    "listener", "route", "upstream", "endpoint", "method", "path_template", "status",
    "duration_ms", "tries", "retry_skipped_reason", "timeout_kind", "trace_id",
    "request_id", "group", "detail", "fix",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def json_line(record: dict[str, Any]) -> str:
    """Return a record as one line."""
    return json.dumps(record, separators=(",", ":"), default=str) + "\n"


def csv_head() -> str:
    """Return the names of the columns."""
    return _row(list(COLUMNS))


def csv_line(record: dict[str, Any]) -> str:
    """Return a record as one row."""
    cells = {**record, "tries": len(record.get("attempts", ()))}
    return _row([_cell(cells.get(name, "")) for name in COLUMNS])


def _row(cells: list[Any]) -> str:
    text = StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _cell(value: Any) -> Any:
    is_formula = isinstance(value, str) and value.startswith(_FORMULA)
    return f"'{value}" if is_formula else value
