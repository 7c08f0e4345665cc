"""The command that repeats a request that failed, as far as records tell of it.

Its path below the route's, its query, its header fields and its body are recorded by
nobody: where they would be, the command says so.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sidecar.settings.snapshot import Route

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only to be replaced
_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
_TEMPLATE = re.compile(r"[^\w/%.~!$&',;=:@-].*", re.DOTALL)


def repeated(
    record: Mapping[str, Any],
    addresses: Mapping[str, tuple[str, int]],
    route: Route | None,
) -> str | None:
    """Return a line for a shell; None: it was no request of a client.

    Args:
        record: Of the failure.
        addresses: Where the listeners are, by name.
        route: The one that the request took, if it is there still.
    """
    bound = addresses.get(record["listener"])
    method = record["method"]
    if bound is None or not method:
        return None
    host, port = _ANYWHERE.get(bound[0], bound[0]), bound[1]
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    words = ["curl", "-i"]
    if method == "HEAD":
        words.append("--head")
    elif method != "GET":
        words += ["-X", method]
    name = _host_of(route)
    if name:
        words += ["-H", f"Host: {name}"]
    if method in _WITH_BODY:
        words += ["--data", "@BODY"]
    path = _TEMPLATE.sub("", record["path_template"]) or "/"
    return shlex.join([*words, f"http://{authority}{path}"])


def _host_of(route: Route | None) -> str:
    hosts = () if route is None else route.hosts
    name = hosts[0] if hosts else ""
    return "" if name == "*" else name.replace("*", "any", 1)
