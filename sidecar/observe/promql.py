"""Selectors of PromQL, and what several rules and panels ask alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sidecar.faults.catalogue import FaultCode
from sidecar.model import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable

# Whose series are added up: those of all sidecars of a service.
WHERE: Final = "job, namespace"
REQUESTS: Final = "http_server_request_duration_seconds"
_CLIENT_ERRORS: Final = range(400, 500)


class Scope:
    """Which sidecars are meant: matchers that go into every selector.

    Args:
        matchers: As PromQL has them, such as `job="orders"`.
    """

    def __init__(self, matchers: Iterable[str] = ()) -> None:
        self._matchers = tuple(matchers)

    def series(self, metric: str, *matchers: str) -> str:
        """Return the selector of a metric."""
        found = ",".join((*self._matchers, *matchers))
        return f"{metric}{{{found}}}" if found else metric

    def failures(self, function: str, window: str, *matchers: str) -> str:
        """Return the requests that failed for the user, as `app_request_success_rate`.

        Server errors, whoever made them; and what broke off behind a good status,
        unless the client did that itself.
        """
        count = f"{REQUESTS}_count"
        told = self.series(count, *matchers, 'http_response_status_code=~"5.."')
        broken = self.series(
            count,
            *matchers,
            'http_response_status_code!~"[45].."',
            f'error_type!~"|{_client_codes()}"',
        )
        return f"({function}({told}[{window}]) or {function}({broken}[{window}]))"


def equals(label: str, value: str) -> str:
    """Return the matcher of one value."""
    return f'{label}="{_escaped(value)}"'


def one_of(label: str, values: Iterable[str]) -> str:
    """Return the matcher of some values."""
    pattern = "|".join(re.escape(value).replace("\\-", "-") for value in values)
    return f'{label}=~"{_escaped(pattern)}"'


def number(value: float) -> str:
    """Return a number without the noise of binary fractions."""
    return f"{value:.6g}"


def codes_of(origin: Origin) -> list[str]:
    """Return the codes that one side is to blame for."""
    return [code.spec.code for code in FaultCode if code.spec.origin is origin]


def _client_codes() -> str:
    """Return what clients do to themselves: their codes without a server's status."""
    specs = (code.spec for code in FaultCode)
    return "|".join(
        spec.code
        for spec in specs
        if spec.origin is Origin.CLIENT and spec.status in _CLIENT_ERRORS
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
