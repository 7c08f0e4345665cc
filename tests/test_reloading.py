"""Reading the configuration again, apart from what triggers it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sidecar.reloading import APPLIED, REJECTED, UNCHANGED, Reloader
from tests.support.wire import FakeWire

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from sidecar.settings.load import Loaded
    from sidecar.settings.snapshot import Snapshot

TEXT = """
upstreams: {app: {endpoints: ["10.0.0.1:80"]}}
routes: [{name: all, upstream: app, timeouts: {request: %s}}]
telemetry: {access_log: {mode: "off"}}
"""


def taken(loaded: Loaded) -> Snapshot:
    return loaded.snapshot


def reloader_of(wire: FakeWire, file: Path | None, **given: Any) -> Reloader:
    path = None if file is None else str(file)
    runtime, recorder = wire.runtime, wire.recorder
    return Reloader(path, runtime, recorder, taken, lambda *_: None, **given)


async def test_without_a_file_there_is_nothing_to_read() -> None:
    wire = FakeWire()
    done = await reloader_of(wire, None).reload("a test")
    assert done.result == REJECTED
    assert "--upstream" in done.problems[0]
    assert wire.codes == ["316-CONFIG-REJECTED"]


async def test_a_file_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    wire = FakeWire()
    done = await reloader_of(wire, tmp_path / "gone.yaml").reload("a test")
    assert done.result == REJECTED
    assert "gone.yaml" in done.problems[0]


async def test_reloads_at_the_same_time_come_one_after_the_other(
    tmp_path: Path,
) -> None:
    wire, file = FakeWire(), tmp_path / "sidecar.yaml"
    file.write_text(TEXT % "3s")
    reloader = reloader_of(wire, file)
    done = await asyncio.gather(*(reloader.reload("a test") for _ in range(5)))
    assert [each.result for each in done] == [APPLIED, *[UNCHANGED] * 4]
    assert {each.version for each in done} == {wire.runtime.snapshot.version}
    assert wire.recorder.store.reloads == {"applied": 1, "unchanged": 4, "rejected": 0}


async def test_a_bug_of_ours_is_a_rejection_like_any_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And the next reload is made as if nothing had been."""
    wire, file = FakeWire(), tmp_path / "sidecar.yaml"
    file.write_text(TEXT % "3s")
    bugs = [True, False]

    def adapt(loaded: Loaded) -> Snapshot:
        if bugs.pop(0):
            raise ZeroDivisionError
        return loaded.snapshot

    reloader = Reloader(str(file), wire.runtime, wire.recorder, adapt, lambda *_: None)
    before = wire.runtime.snapshot
    done = await reloader.reload("a test")
    assert done.result == REJECTED
    assert "see the log" in done.problems[0]
    assert "ZeroDivisionError" in caplog.text
    assert wire.runtime.snapshot is before
    assert not wire.recorder.is_config_good
    assert (await reloader.reload("a test")).result == APPLIED
    assert wire.recorder.is_config_good


async def test_what_was_begun_for_a_reload_ends_if_it_comes_to_nothing(
    tmp_path: Path,
) -> None:
    """Whoever prepares is told what is in force in the end."""
    wire, file = FakeWire(), tmp_path / "sidecar.yaml"
    file.write_text(TEXT % "3s")
    before, followed = wire.runtime.snapshot, list[str]()
    is_gone = True

    async def prepare(snapshot: Snapshot) -> bool:
        followed.append(f"prepare {snapshot.version}")
        if is_gone:
            raise FileNotFoundError
        return True

    def follow(snapshot: Snapshot) -> None:
        followed.append(f"follow {snapshot.version}")

    reloader = reloader_of(wire, file, prepare=prepare, follow=follow)
    assert (await reloader.reload("a test")).result == REJECTED
    assert followed[1:] == [f"follow {before.version}"]
    is_gone = False
    done = await reloader.reload("a test")
    assert followed[2:] == [f"prepare {done.version}", f"follow {done.version}"]


async def test_nothing_is_put_in_force_any_more_at_the_end(tmp_path: Path) -> None:
    wire, file = FakeWire(), tmp_path / "sidecar.yaml"
    file.write_text(TEXT % "3s")
    before = wire.runtime.snapshot

    async def prepare(_: Snapshot) -> bool:
        return False

    done = await reloader_of(wire, file, prepare=prepare).reload("a test")
    assert done.result == REJECTED
    assert "ending" in done.problems[0]
    assert wire.runtime.snapshot is before
