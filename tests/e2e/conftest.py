"""End to end means on the event loop that serves: uvloop's.

Its transports differ from asyncio's just where a proxy is delicate: how the end
of input, a reset and a half-written buffer are told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import uvloop

from tests.support.otlp import OF_COLLECTOR, Collector

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping


def pytest_asyncio_loop_factories() -> Mapping[
    str, Callable[[], asyncio.AbstractEventLoop]
]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(params=list(OF_COLLECTOR))
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def collector(protocol: str) -> Iterator[Collector]:
    with OF_COLLECTOR[protocol]() as one:
        yield one
