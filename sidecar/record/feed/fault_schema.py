"""The tables of the fault store, and how an older file gets those of today.

`PRAGMA user_version` tells which a file has. A step is never changed once it was
released: what is to be otherwise is another step. A newer file is let be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

STEPS: Final = (
    # 1: records.
    (
        "CREATE TABLE faults (seq INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL,"
        " fault_id TEXT NOT NULL, code TEXT NOT NULL, severity TEXT NOT NULL,"
        " layer TEXT NOT NULL, route TEXT NOT NULL, upstream TEXT NOT NULL,"
        " record TEXT NOT NULL)",
        "CREATE INDEX faults_by_time ON faults (time_ns)",
    ),
    # 2: which group a record is of, and records by their id.
    (
        "ALTER TABLE faults ADD COLUMN group_id TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX faults_by_id ON faults (fault_id)",
    ),
)
VERSION: Final = len(STEPS)


class StoreError(Exception):
    """The file of the fault store cannot be used."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"faults.store: {path}: {reason}")


def migrate(file: sqlite3.Connection, path: str) -> None:
    """Give a file the tables of today, each step whole or not at all.

    Raises:
        StoreError: The file is of a newer sidecar.
        sqlite3.Error: It is no such file, or cannot be written.
    """
    version = file.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        reason = (
            f"its schema is version {version}, this sidecar knows {VERSION}: it was"
            " written by a newer one; update the sidecar, or name another file"
        )
        raise StoreError(path, reason)
    file.execute("PRAGMA journal_mode = WAL")
    for number in range(version, VERSION):
        file.execute("BEGIN IMMEDIATE")
        try:
            for statement in STEPS[number]:
                file.execute(statement)
            file.execute(f"PRAGMA user_version = {number + 1}")
        except BaseException:
            file.rollback()
            raise
        file.commit()
