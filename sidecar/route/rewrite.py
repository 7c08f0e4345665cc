"""What a route changes in the request target."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.model import RequestHead
    from sidecar.settings.snapshot import Rewrite


def target(head: RequestHead, rewrite: Rewrite, prefix_bytes: int) -> bytes:
    """Return the target to send on, in origin form, its bytes as they came.

    Args:
        head: The request.
        rewrite: The route's changes.
        prefix_bytes: How much of the path the prefix that matched covers.
    """
    path = head.path
    if path == b"*":
        return path  # It asks about the server, not a path (RFC 9110, 9.3.7).
    if rewrite.full_path is not None:
        path = rewrite.full_path
    elif rewrite.prefix is not None:
        rest = path[prefix_bytes:]
        base = rewrite.prefix.rstrip(b"/")
        path = base + (rest if rest.startswith(b"/") else b"/" + rest if rest else b"")
        path = path or b"/"
    elif head.target.startswith(b"/"):
        return head.target
    return path if head.query is None else b"%b?%b" % (path, head.query)
