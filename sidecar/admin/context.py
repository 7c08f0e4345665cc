"""What the two servers ask of the sidecar that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from sidecar.clock import Clock
    from sidecar.record.recorder import Recorder
    from sidecar.record.sources import RuntimeState
    from sidecar.reloading import Reloader
    from sidecar.settings.snapshot import Snapshot


class AdminContext(Protocol):
    """The sidecar; each answer reads it anew, so a reload shows at once."""

    @property
    def snapshot(self) -> Snapshot:
        """Return the configuration in force."""

    @property
    def settings(self) -> BaseModel:
        """Return it as it was written, defaults filled in."""

    @property
    def addresses(self) -> Mapping[str, tuple[str, int]]:
        """Return where it listens, by the listener's name."""

    @property
    def runtime(self) -> RuntimeState:
        """Return it at work."""

    @property
    def recorder(self) -> Recorder:
        """Return who counts."""

    @property
    def reloader(self) -> Reloader:
        """Return who reads the configuration again."""

    def ask_to_drain(self, cause: str) -> None:
        """Begin to drain, unless it does."""

    @property
    def clock(self) -> Clock:
        """Return the clock of all of them."""

    @property
    def has_started(self) -> bool:
        """Tell whether every address is bound."""

    @property
    def not_ready_reason(self) -> str:
        """Return why no traffic should come; empty when it should."""
