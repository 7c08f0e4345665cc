"""One coroutine waits, many callbacks may wake it, and the first one wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


class Rendezvous(Generic[T]):
    """Where a coroutine meets what it waits for.

    A value that comes while nobody waits is dropped by its sender, who keeps
    the state anyway; an interruption is kept and raised at the next wait, since
    whoever left or ran out of time does not come back to say it again.
    """

    __slots__ = ("_future", "_interruption", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[T] | None = None
        self._interruption: BaseException | None = None

    @property
    def is_awaited(self) -> bool:
        """Tell whether a coroutine waits here and has not been woken."""
        return self._future is not None and not self._future.done()

    async def wait(self) -> T:
        """Return what is delivered next.

        Raises:
            BaseException: What `interrupt` was given.
        """
        if self._interruption is not None:
            error, self._interruption = self._interruption, None
            raise error
        self._future = self._loop.create_future()
        try:
            return await self._future
        finally:
            self._future = None

    def deliver(self, value: T) -> bool:
        """Wake the waiter with `value`; return False when nobody waits."""
        if self._future is None or self._future.done():
            return False
        self._future.set_result(value)
        return True

    def interrupt(self, error: BaseException) -> None:
        """Wake the waiter, or whoever waits next, with `error`."""
        if self._future is not None and not self._future.done():
            self._future.set_exception(error)
        elif self._interruption is None:
            self._interruption = error

    def forget(self) -> None:
        """Drop an interruption that nobody needs to hear any more."""
        self._interruption = None
