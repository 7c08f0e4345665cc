"""Another configuration for a sidecar that runs: read, checked, swapped, told.

    SIGHUP, POST /reload, the file has changed
      load    in a thread: YAML, checks, tables; traffic goes on meanwhile
      prepare endpoints of upstreams that are new are found, or given up soon
  swap    between two turns of the loop: `Runtime.adopt`
      tell    log, metrics, and 316-CONFIG-REJECTED if the file is no good

A file that is no good changes nothing. The file is looked at once a second by its
name, so that it does not matter how it is replaced: a ConfigMap swaps a link to its
folder, editors rename. Watching by inotify would be sooner by a second, and fail
where it is needed: a node grants each user 128 of them in all (fs.inotify
.max_user_instances), and all sidecars of a node are one user.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sidecar.faults.catalogue import FaultCode
from sidecar.runtime import tables_of
from sidecar.settings.differences import differences, needs_restart, put_in_force
from sidecar.settings.load import load_file
from sidecar.settings.problem import SettingsError
from sidecar.settings.source import identity_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sidecar.record.recorder import Recorder
    from sidecar.runtime import Runtime, Tables
    from sidecar.settings.load import Loaded
    from sidecar.settings.snapshot import Snapshot
    from sidecar.settings.source import Identity

    Adapt = Callable[[Loaded], Snapshot]

_log = logging.getLogger(__name__)

_LOOK_S: Final = 1.0
_MOST_TOLD: Final = 20  # Problems, changes: a line each.

APPLIED, UNCHANGED, REJECTED = "applied", "unchanged", "rejected"


@dataclass(frozen=True, slots=True)
class Reload:
    """What came of one.

    Attributes:
        result: "applied", "unchanged" or "rejected".
        version: Of the configuration in force now.
        changes: A sentence each; see `settings.differences`.
        warnings: Of the new file, and what of it needs a restart.
        problems: Why it was rejected, each with file, line and column.
    """

    result: str
    version: str
    changes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Reloader:
    """Reloads one file, one reload after the other.

    Args:
        path: The file; None: there is none, and every reload is rejected.
        runtime: What is to go by it.
        recorder: Who tells of it.
        adapt: Makes the snapshot of what was loaded.
        on_applied: Called with what is in force now.
        seen: The identity of the file when it was read, if that was a while ago.
        prepare: Awaited before a snapshot is put in force; takes seconds at most.
            False: it is too late, for all ends.
        follow: Called afterwards with what is in force then: the new one, or, if it
            came to nothing, the one before.
    """

    def __init__(
        self,
        path: str | None,
        runtime: Runtime,
        recorder: Recorder,
        adapt: Adapt,
        on_applied: Callable[[Loaded, Snapshot], None],
        *,
        seen: Identity | None = None,
        prepare: Callable[[Snapshot], Awaitable[bool]] | None = None,
        follow: Callable[[Snapshot], None] | None = None,
    ) -> None:
        self._path = path
        self._runtime = runtime
        self._recorder = recorder
        self._adapt = adapt
        self._on_applied = on_applied
        self._prepare = prepare
        self._follow = follow
        self._lock = asyncio.Lock()
        self._seen = identity_of(path) if seen is None else seen

    @property
    def has_file(self) -> bool:
        """Tell whether there is a file to read again."""
        return self._path is not None

    async def watch(self) -> None:
        """Reload whenever the file has changed, until cancelled."""
        before = self._seen
        while True:
            await asyncio.sleep(_LOOK_S)
            now = identity_of(self._path)  # Two microseconds: no thread is worth it.
            if now == before != self._seen:  # Else somebody may be writing still.
                await self.reload("the file has changed")
            before = now

    async def reload(self, cause: str) -> Reload:
        """Read the file again, and go by it if it is good."""
        async with self._lock:
            done = await self._reload()
        self._tell(done, cause)
        return done

    async def _reload(self) -> Reload:
        now = self._runtime.snapshot
        if self._path is None:
            problem = "there is no file to read again: it was started with --upstream"
            return Reload(REJECTED, now.version, problems=[problem])
        self._seen = identity_of(self._path)
        try:
            return await self._replace(now, self._path)
        except SettingsError as error:
            problems = [str(problem) for problem in error.problems]
        except Exception:  # noqa: BLE001 - else a bug would end the watch, in silence
            _log.exception("reload failed")
            problems = [f"{self._path}: a bug, or a file that it names: see the log"]
        return Reload(REJECTED, self._runtime.snapshot.version, problems=problems)

    async def _replace(self, now: Snapshot, path: str) -> Reload:
        """Read the file, and go by it.

        Raises:
            SettingsError: It is no good; nothing has changed.
        """
        loaded, snapshot, tables = await asyncio.to_thread(self._load, path)
        warnings = [str(warning) for warning in loaded.warnings]
        warnings += [f"{key}: needs a restart" for key in needs_restart(now, snapshot)]
        snapshot = put_in_force(now, snapshot)
        changes = differences(now, snapshot)
        if not changes:
            return Reload(UNCHANGED, now.version, warnings=warnings)
        try:
            if self._prepare is not None and not await self._prepare(snapshot):
                problem = "the sidecar is ending: no other configuration is taken"
                return Reload(REJECTED, now.version, problems=[problem])
            self._runtime.adopt(snapshot, tables)
            self._recorder.watch(self._runtime)
            self._on_applied(loaded, snapshot)
        finally:  # Else what was prepared for one that failed would go on.
            if self._follow is not None:
                self._follow(self._runtime.snapshot)
        return Reload(APPLIED, snapshot.version, changes, warnings)

    def _load(self, path: str) -> tuple[Loaded, Snapshot, Tables]:
        loaded = load_file(path)
        snapshot = self._adapt(loaded)
        return loaded, snapshot, tables_of(snapshot)

    def _tell(self, done: Reload, cause: str) -> None:
        self._recorder.reloaded(done.result)
        for warning in done.warnings[:_MOST_TOLD]:
            _log.warning("reload: %s", warning)
        if done.result == REJECTED:
            for problem in done.problems[:_MOST_TOLD]:
                _log.error("reload rejected: %s", problem)
            more = len(done.problems) - 1
            detail = done.problems[0] + (f", and {more} more" if more else "")
            self._recorder.fault(
                FaultCode.CONFIG_REJECTED.spec,
                f"{detail}; version {done.version} stays in force",
                problems=done.problems[:_MOST_TOLD],
                cause=cause,
            )
            return
        _log.info("reload (%s): %s, version %s", cause, done.result, done.version)
        for change in done.changes[:_MOST_TOLD]:
            _log.info("reload: %s", change)
