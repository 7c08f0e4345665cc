"""On the event loop that serves: uvloop's."""

from tests.e2e.conftest import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]
