"""Records on disk: found again, bounded, migrated, and no trouble to anybody."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.clock import LoopClock
from sidecar.faults.catalogue import FaultCode
from sidecar.faults.spec import Severity
from sidecar.record.feed.failure import Failure
from sidecar.record.feed.fault_filter import FaultFilter
from sidecar.record.feed.fault_schema import STEPS, VERSION, StoreError
from sidecar.record.feed.fault_store import MAX_QUEUED, FaultStore, StoreLimits
from tests.support.clock import FakeClock
from tests.support.outcomes import NOON_NS, failed, fault

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL = FaultFilter()
LATEST = 2**62
ROOT = Path(__file__).parents[2]


def failure(seq: int, code: FaultCode = FaultCode.CONN_RESET, **fields: Any) -> Failure:
    told = fault(code, fault_id=f"{seq:020x}", detail=f"number {seq}")
    wall_ns = fields.pop("start_wall_ns", NOON_NS)
    outcome = failed(code, fault=told, start_wall_ns=wall_ns, **fields)
    made = Failure(outcome, Severity.P1, {"rss_bytes": 7}, group="g1")
    made.seq = seq
    return made


@contextmanager
def store_at(path: Path, **limits: Any) -> Iterator[FaultStore]:
    given = {"max_age_s": 3600.0, "max_bytes": 10**9} | limits
    store = FaultStore(StoreLimits(str(path), **given), FakeClock())
    try:
        yield store
    finally:
        store.close(20.0)


async def details(store: FaultStore, wanted: FaultFilter = ALL) -> list[str]:
    page, _ = await store.page(wanted, LATEST, 1000)
    return [record["detail"] for _, record in page]


async def until_taken(store: FaultStore, count: int) -> None:
    while store.written + store.lost < count:
        await asyncio.sleep(0.01)


async def test_what_is_put_is_found_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "faults.db"
    with store_at(path) as store:
        for seq in range(1, 4):
            store.put(failure(seq))
    with store_at(path) as store:
        assert store.last_seq == 3
        assert await details(store) == ["number 3", "number 2", "number 1"]
        record = await store.find(f"{2:020x}")
        assert record is not None
        assert record["rss_bytes"] == 7
        assert record["build"]["python"]
        assert await store.find("none") is None


async def test_filters_and_pages_are_those_of_memory(tmp_path: Path) -> None:
    with store_at(tmp_path / "faults.db") as store:
        store.put(failure(1, FaultCode.DNS_ERR))
        store.put(failure(2, route="else", upstream="second"))
        store.put(failure(3, start_wall_ns=NOON_NS + 10**9))
        await until_taken(store, 3)
        for wanted, found in [
            (FaultFilter(code="316-DNS-ERR"), [1]),
            (FaultFilter(family="CONN"), [3, 2]),
            (FaultFilter(severity="P3"), []),
            (FaultFilter(layer="network", route="all"), [3, 1]),
            (FaultFilter(upstream="second", group="g1"), [2]),
            (FaultFilter(since_ns=NOON_NS + 10**9), [3]),
            (FaultFilter(text="NUMBER 2"), [2]),
        ]:
            assert await details(store, wanted) == [f"number {n}" for n in found]
        page, before = await store.page(ALL, LATEST, 2)
        assert [seq for seq, _ in page] == [3, 2]
        page, before = await store.page(ALL, before, 2)
        assert ([seq for seq, _ in page], before) == ([1], 0)


async def test_the_file_is_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "faults.db"
    with store_at(path) as store:
        store.put(failure(1))
        await until_taken(store, 1)
        for file in (path, *(Path(f"{path}-{end}") for end in ("wal", "shm", "lock"))):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


async def test_what_is_too_old_goes(tmp_path: Path) -> None:
    with store_at(tmp_path / "faults.db", max_age_s=60.0) as store:
        store.put(failure(1, start_wall_ns=NOON_NS - 61 * 10**9))
        store.put(failure(2, start_wall_ns=NOON_NS - 59 * 10**9))
        await until_taken(store, 2)
        assert await details(store) == ["number 2"]


async def test_the_oldest_go_when_there_is_too_much(tmp_path: Path) -> None:
    path = tmp_path / "faults.db"
    with store_at(path, max_bytes=300_000) as store:
        for seq in range(1, 1001):
            store.put(failure(seq))
        await until_taken(store, 1000)
        kept = await details(store)
    assert kept[0] == "number 1000"
    assert 50 < len(kept) < 1000
    assert kept == [f"number {n}" for n in range(1000, 1000 - len(kept), -1)]
    assert path.stat().st_size < 2_000_000


def test_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    with store_at(tmp_path / "faults.db") as store:
        held = threading.Event()
        store._asked.append((held.wait, _nobody()))
        store._wake.set()
        while store._asked:  # Now its thread waits.
            pass
        for seq in range(MAX_QUEUED + 5):
            store.put(failure(seq + 1))
        assert store.dropped == 5
        held.set()
    assert store.written == MAX_QUEUED


def _nobody() -> Any:
    from concurrent.futures import Future  # noqa: PLC0415 - a stand-in

    return Future()


@pytest.mark.parametrize("version", range(VERSION))
async def test_an_older_file_gets_the_tables_of_today(
    version: int, tmp_path: Path
) -> None:
    path = tmp_path / "faults.db"
    with closing(sqlite3.connect(path)) as file:
        for step in STEPS[:version]:
            for statement in step:
                file.execute(statement)
        file.execute(f"PRAGMA user_version = {version}")
        if version:
            record = json.dumps({"detail": "old", "code": "316-DNS-ERR", "layer": "x"})
            file.execute(
                "INSERT INTO faults (seq, time_ns, fault_id, code, severity, layer,"
                " route, upstream, record)"
                " VALUES (5, ?, 'a', 'c', 'P1', 'x', '', '', ?)",
                (NOON_NS, record),
            )
        file.commit()
    with store_at(path) as store:
        store.put(failure(store.last_seq + 1))
        await until_taken(store, 1)
        found = await details(store)
        assert found == (["number 6", "old"] if version else ["number 1"])
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "faults.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE tomorrow (x)")
        file.execute(f"PRAGMA user_version = {VERSION + 1}")
        file.commit()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="written by a newer one; update"):
        FaultStore(StoreLimits(str(path), 1.0, 10**9), FakeClock())
    assert path.read_bytes() == before


def test_what_cannot_be_used_says_why(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database " * 1000, encoding="utf-8")
    for path, reason in [
        (tmp_path / "text.db", "not a database"),
        (tmp_path / "none" / "faults.db", "No such file"),
        (tmp_path, "unable to open"),
    ]:
        with pytest.raises(StoreError, match=reason):
            FaultStore(StoreLimits(str(path), 1.0, 10**9), FakeClock())
        assert not Path(f"{path}-lock").exists(), "it is left as it was"
    made = tmp_path / "made"
    made.touch()
    assert stat.S_IMODE(made.stat().st_mode) != 0o600, "the umask is left as it was"


def test_two_sidecars_do_not_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.db"
    with store_at(path), pytest.raises(StoreError, match="another process uses it"):
        FaultStore(StoreLimits(str(path), 1.0, 10**9), FakeClock())
    with store_at(path) as store:
        assert store.last_seq == 0


async def test_what_it_did_not_expect_is_counted_and_gone_on_after(
    tmp_path: Path,
) -> None:
    with store_at(tmp_path / "faults.db") as store:
        store.put(failure(2**63))  # SQLite has no such number: an OverflowError.
        await until_taken(store, 1)
        assert await details(store) == []
        assert (store.written, store.lost) == (0, 1)
        assert "OverflowError" in store.problem
        store.put(failure(1))
        await until_taken(store, 2)
        assert await details(store) == ["number 1"]
        assert (store.written, store.lost, store.problem) == (1, 1, "")


WRITER = """
import asyncio, sys
from pathlib import Path
from tests.record.test_fault_store import failure, store_at
from tests.record.test_fault_store import until_taken

async def main():
    with store_at(Path(sys.argv[1])) as store:
        for seq in range(1, 101):
            store.put(failure(seq))
        await until_taken(store, 100)
        print("written", flush=True)
        while True:
            seq += 1
            store.put(failure(seq))
            await asyncio.sleep(0)

asyncio.run(main())
"""


async def test_what_was_written_is_there_after_kill_9(tmp_path: Path) -> None:
    """A kill in the middle of the next writes: nothing torn, nothing lost."""
    path = tmp_path / "faults.db"
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else is to turn here
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with store_at(path) as store:
        kept = await details(store)
        assert kept[-100:] == [f"number {n}" for n in range(100, 0, -1)]
        store.put(failure(store.last_seq + 1))  # And it goes on.
        await until_taken(store, 1)
        assert store.lost == 0


FULL = """
import asyncio, resource, subprocess, sys
from pathlib import Path
from tests.record.test_fault_store import failure, store_at, until_taken

async def main(folder, grow):
    with store_at(folder / "faults.db") as store:
        seq = 0
        while not store.lost:
            for _ in range(200):
                seq += 1
                store.put(failure(seq))
            await until_taken(store, seq - store.dropped)
        assert store.written > 0
        written = store.written
        grow()
        while store.written == written:
            seq += 1
            store.put(failure(seq))
            await asyncio.sleep(0.05)
        while store.problem:  # Until it says that all is well.
            await asyncio.sleep(0.05)
        print(store.written + store.lost + store.dropped <= seq, flush=True)
"""
TMPFS = (
    FULL
    + """
folder = Path(sys.argv[1])
size = lambda text: subprocess.run(
    ["mount", "-o", f"remount,size={text}", str(folder)], check=True)
asyncio.run(main(folder, lambda: size("64m")))
"""
)
LIMITED = (
    FULL
    + """
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
grow = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
asyncio.run(main(Path(sys.argv[1]), grow))
"""
)


def _can_mount() -> bool:
    if os.geteuid() != 0:
        return False
    trial = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"]
    try:
        return not subprocess.run(trial, capture_output=True, check=False).returncode
    except OSError:
        return False


@pytest.mark.skipif(not _can_mount(), reason="needs root and a mount namespace")
def test_a_full_disk_is_counted_and_gone_on_after(tmp_path: Path) -> None:
    command = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1"'
    words = ["unshare", "-m", "sh", "-c", command, "sh"]
    done = subprocess.run(
        [*words, str(tmp_path), sys.executable, TMPFS],
        capture_output=True, text=True, cwd=ROOT, check=False, timeout=50,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr
    assert "records are dropped and counted" in done.stderr  # It says so.


def test_a_file_that_may_not_grow_is_counted_and_gone_on_after(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT, check=False, timeout=50,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr
    assert "records are dropped and counted" in done.stderr  # It says so.


async def test_a_store_that_is_closed_says_so(tmp_path: Path) -> None:
    clock = LoopClock(asyncio.get_running_loop())
    store = FaultStore(StoreLimits(str(tmp_path / "f.db"), 1.0, 10**9), clock)
    store.close(20.0)
    store.put(failure(1))
    assert store.dropped == 1
    with pytest.raises(StoreError, match="closed"):
        await store.find("x")
