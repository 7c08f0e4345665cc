"""Records that outlive the process: a SQLite file, written by a thread of its own.

    put --> bounded queue --> thread: make the records, one transaction a batch

Traffic never waits for it, and never hears of its troubles: what finds the queue full
or the disk full is dropped and counted, and the next batch is tried again. The file is
in WAL mode: what was committed is there after a kill -9, and others may read it.
What is too old goes, and the oldest goes when there is too much.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import sqlite3
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sidecar.record.feed.fault_feed import full_record_of
from sidecar.record.feed.fault_schema import StoreError, migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sidecar.clock import Clock
    from sidecar.record.feed.failure import Failure
    from sidecar.record.feed.fault_filter import FaultFilter

_log = logging.getLogger(__name__)

MAX_QUEUED: Final = 2_000
_GATHER_S: Final = 0.2  # One transaction for what comes within this time.
_MAX_BATCH: Final = 500
_TIDY_EVERY_S: Final = 10.0
_MAX_SCANNED: Final = 5_000  # Rows for one page: who looks for more goes on from there.
_SPARED: Final = 20  # When there is too much, one row in so many goes at a time.
_INSERT: Final = (
    "INSERT OR REPLACE INTO faults (seq, time_ns, fault_id, code, severity, layer,"
    " route, upstream, group_id, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

Page = tuple[list[tuple[int, dict[str, Any]]], int]


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Where the file is, and how much is kept in it."""

    path: str
    max_age_s: float
    max_bytes: int


class FaultStore:
    """The file, and the thread that alone touches it once it is open.

    Args:
        limits: Where, and how much.
        clock: Time.

    Attributes:
        last_seq: Of the latest record in it, when it was opened.
        written: Records in it since then.
        dropped: Records that found the queue full.
        lost: Records that the file did not take.
        problem: Why it takes none at the moment; empty: it does.

    Raises:
        StoreError: It cannot be used; the file is left as it is.
    """

    def __init__(self, limits: StoreLimits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        had_lock = Path(_lock_of(limits.path)).exists()
        self._lock_fd = _locked(limits.path)
        try:
            self._file = _opened(limits.path)
        except StoreError:
            if not had_lock:
                Path(_lock_of(limits.path)).unlink(missing_ok=True)
            os.close(self._lock_fd)
            raise
        self.last_seq = int(self._one("SELECT coalesce(max(seq), 0) FROM faults"))
        self.dropped = 0  # Written by the caller's thread alone.
        self.written = self.lost = 0  # Written by the store's.
        self._queue: deque[Failure] = deque()
        self._asked: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._wake = threading.Event()
        self._is_closing = threading.Event()
        self.problem = ""
        self._tidied_s = float("-inf")
        self._thread = threading.Thread(
            target=self._run, name="fault-store", daemon=True
        )
        self._thread.start()

    def __repr__(self) -> str:
        """Return its state in a line."""
        return (
            f"<FaultStore {self._limits.path} queued={len(self._queue)}"
            f" written={self.written} dropped={self.dropped} lost={self.lost}>"
        )

    @property
    def folder(self) -> str:
        """Return the folder of the file."""
        return str(Path(self._limits.path).absolute().parent)

    def put(self, failure: Failure) -> None:
        """Write a failure some time soon, if there is room."""
        if len(self._queue) >= MAX_QUEUED or self._is_closing.is_set():
            self.dropped += 1
            return
        self._queue.append(failure)
        self._wake.set()

    async def page(self, wanted: FaultFilter, before: int, limit: int) -> Page:
        """Return records, the newest first, with the number of each.

        Args:
            wanted: Which.
            before: Only those with a smaller number.
            limit: How many at most.

        Returns:
            And the number to go on from; 0: there are no more.
        """
        page: Page = await self._ask(lambda: self._page(wanted, before, limit))
        return page

    async def find(self, fault_id: str) -> dict[str, Any] | None:
        """Return the record with that id."""
        text = "SELECT record FROM faults WHERE fault_id = ?"
        found = await self._ask(
            lambda: self._file.execute(text, (fault_id,)).fetchone()
        )
        return None if found is None else _record(found[0])

    def close(self, timeout_s: float) -> None:
        """Write what is left, but wait no longer than `timeout_s`."""
        self._is_closing.set()
        self._wake.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self.dropped += len(self._queue)

    async def _ask(self, question: Callable[[], Any]) -> Any:
        """Let the thread answer.

        Raises:
            StoreError: It cannot.
        """
        if not self._thread.is_alive():
            raise StoreError(self._limits.path, "it is closed")
        answer: Future[Any] = Future()
        self._asked.append((question, answer))
        self._wake.set()
        try:
            return await asyncio.wrap_future(answer)
        except sqlite3.Error as error:
            raise StoreError(self._limits.path, str(error)) from None

    # The thread.

    def _run(self) -> None:
        while not self._is_closing.is_set():
            self._wake.wait()
            if not self._asked:  # Whoever asks, waits.
                self._is_closing.wait(_GATHER_S)
            self._wake.clear()  # Before looking: what comes later wakes again.
            self._work()
        self._work()
        with suppress(sqlite3.Error):
            self._file.close()
        os.close(self._lock_fd)

    def _work(self) -> None:
        self._answer()
        while self._queue:
            self._write_batch()
            self._answer()

    def _answer(self) -> None:
        while self._asked:
            question, answer = self._asked.popleft()
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                answer.set_result(question())
            except Exception as error:  # noqa: BLE001 - whoever asked is told
                answer.set_exception(error)

    def _write_batch(self) -> None:
        count = min(len(self._queue), _MAX_BATCH)
        batch = [self._queue.popleft() for _ in range(count)]
        try:
            with self._file:
                self._file.executemany(_INSERT, map(_row, batch))
            self.written, count = self.written + count, 0
            self._tidy()
        except Exception as error:  # noqa: BLE001 - the disk is full, or a bug
            self.lost += count
            reason = str(error) if isinstance(error, sqlite3.Error) else repr(error)
            if not self.problem:
                _log.warning(
                    "faults.store: %s: %s; records are dropped and counted until it"
                    " works again",
                    self._limits.path,
                    reason,
                )
            self.problem = reason
            self._make_room()
        else:
            if self.problem:
                _log.info("faults.store: %s works again", self._limits.path)
            self.problem = ""

    def _tidy(self) -> None:
        """Let go of what is too old, or too much."""
        now_s = self._clock.now_s()
        if now_s - self._tidied_s < _TIDY_EVERY_S and not self._is_too_large():
            return
        self._tidied_s = now_s
        oldest_ns = self._clock.wall_ns() - int(self._limits.max_age_s * 1e9)
        with self._file:
            self._file.execute("DELETE FROM faults WHERE time_ns < ?", (oldest_ns,))
        while self._is_too_large() and self._drop_oldest():
            pass

    def _is_too_large(self) -> bool:
        used = self._one("PRAGMA page_count") - self._one("PRAGMA freelist_count")
        return bool(used * self._one("PRAGMA page_size") > self._limits.max_bytes)

    def _drop_oldest(self) -> bool:
        count = max(1, int(self._one("SELECT count(*) FROM faults")) // _SPARED)
        with self._file:
            done = self._file.execute(
                "DELETE FROM faults WHERE seq IN"
                " (SELECT seq FROM faults ORDER BY seq LIMIT ?)",
                (count,),
            )
        return done.rowcount > 0

    def _make_room(self) -> None:
        """Take the log of transactions into the file, which frees it if it can."""
        with suppress(sqlite3.Error):
            self._file.rollback()
        with suppress(sqlite3.Error):
            self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _page(self, wanted: FaultFilter, before: int, limit: int) -> Page:
        found: list[tuple[int, dict[str, Any]]] = []
        for scanned, (seq, record) in enumerate(self._rows(wanted, before), 1):
            if wanted.has_text(record) and wanted.is_of(
                record["code"], record["layer"]
            ):
                found.append((seq, record))
            if len(found) >= limit or scanned >= _MAX_SCANNED:
                return found, seq
        return found, 0

    def _rows(
        self, wanted: FaultFilter, before: int
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        conditions, values = ["seq < ?", "time_ns >= ?"], [before, wanted.since_ns]
        for column, value in (
            ("code", wanted.code or None),
            ("severity", wanted.severity or None),
            ("layer", wanted.layer or None),
            ("route", wanted.route),
            ("upstream", wanted.upstream),
            ("group_id", wanted.group or None),
        ):
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(value)  # type: ignore[arg-type]  # SQLite takes both.
        text = (
            f"SELECT seq, record FROM faults WHERE {' AND '.join(conditions)}"  # noqa: S608 - columns of ours
            " ORDER BY seq DESC"
        )
        for seq, record in self._file.execute(text, values):
            yield seq, _record(record)

    def _one(self, text: str) -> Any:
        return self._file.execute(text).fetchone()[0]


def _row(failure: Failure) -> tuple[Any, ...]:
    record = full_record_of(failure)
    return (
        failure.seq,
        failure.ended_ns,
        failure.id,
        record["code"],
        record["severity"],
        record["layer"],
        record["route"],
        record["upstream"],
        failure.group,
        json.dumps(record, separators=(",", ":"), default=str),
    )


def _record(text: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(text)
    return record


def _lock_of(path: str) -> str:
    return f"{path}-lock"


def _locked(path: str) -> int:
    """Return a descriptor that keeps other sidecars from the file.

    Raises:
        StoreError: Another one has it, or the folder cannot be written.
    """
    try:
        fd = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(path, error.strerror or str(error)) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise StoreError(path, "another process uses it") from None
    return fd


def _opened(path: str) -> sqlite3.Connection:
    """Return the file, with the tables that it should have.

    Raises:
        StoreError: It cannot be used.
    """
    before = os.umask(0o077)  # Records are for the user that the sidecar runs as.
    file = None
    try:
        file = sqlite3.connect(path, timeout=1.0, check_same_thread=False)
        migrate(file, path)
        file.execute("PRAGMA synchronous = NORMAL")  # A kill loses nothing in WAL.
        file.execute("PRAGMA journal_size_limit = 4194304")
    except (sqlite3.Error, StoreError) as error:
        if file is not None:
            file.close()
        if isinstance(error, StoreError):
            raise
        raise StoreError(path, str(error)) from None
    finally:
        os.umask(before)
    return file
