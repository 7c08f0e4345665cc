"""End to end means on the event loop that serves: uvloop's.

Its transports differ from asyncio's just where a proxy is delicate: how the end
of input, a reset and a half-written buffer are told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvloop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping


def pytest_asyncio_loop_factories() -> Mapping[
    str, Callable[[], asyncio.AbstractEventLoop]
]:
    return {"uvloop": uvloop.new_event_loop}
