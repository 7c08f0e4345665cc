"""What is held by hand for a while, as a request says it.

{"state": "open", "for_s": 60}      hold it so
{"state": "auto"}                   let it go
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiohttp import web

AUTO: Final = "auto"
_HOLD_S: Final = 60.0
_MAX_HOLD_S: Final = 3600.0  # What is held by hand is forgotten by people.


async def read_hold(
    request: web.Request, states: Collection[str]
) -> tuple[str, float] | str:
    """Return how to hold something and for how long, or what is wrong with it."""
    try:
        body = json.loads(await text_of(request))
    except ValueError:
        body = None
    if not isinstance(body, dict) or body.get("state") not in [*states]:
        *others, last = (f'"{state}"' for state in states)
        words = f"{', '.join(others)} or {last}"
        return f'the body must be like {{"state": {words}, "for_s": 60}}'
    for_s = body.get("for_s", _HOLD_S)
    if isinstance(for_s, bool) or not isinstance(for_s, int | float):
        return "for_s must be a number of seconds"
    if not 0 < for_s <= _MAX_HOLD_S:
        return f"for_s must be above 0 and at most {_MAX_HOLD_S:g}"
    return body["state"], float(for_s)


async def text_of(request: web.Request) -> str:
    """Return the body, whatever its declared charset claims it is."""
    return (await request.read()).decode("utf-8", "replace")
