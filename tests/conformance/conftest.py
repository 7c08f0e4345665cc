"""The same wire as for the exchange: a whole proxy without sockets."""

from __future__ import annotations

from tests.exchange.conftest import make, wire

__all__ = ["make", "wire"]
