"""Alerts over HTTP: what fires, who was told, and silences by hand."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from pydantic import Field, ValidationError

from sidecar.admin.guard import refusal
from sidecar.admin.holds import text_of
from sidecar.admin.openapi import told
from sidecar.admin.schemas import ref
from sidecar.record.moments import iso_time
from sidecar.settings.alert_plan import Selection, Silence
from sidecar.settings.alerting import Line, SelectionSettings, selection

if TYPE_CHECKING:
    from sidecar.admin.context import AdminContext
    from sidecar.alerting.book import Alert
    from sidecar.alerting.center import AlertCenter, Settled

_log = logging.getLogger(__name__)

_MAX_FOR_S: Final = 7 * 86400.0  # A silence without an end is one that is forgotten.
_NS_PER_S: Final = 1_000_000_000
_NAMES: Final = ("codes", "families", "severities", "routes", "upstreams")


class _NewSilence(SelectionSettings):
    """What a request says of a silence."""

    for_s: float = Field(ge=1, le=_MAX_FOR_S, allow_inf_nan=False, strict=True)
    comment: Line | None = None


class AlertRoutes:
    """The handlers."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context

    @property
    def _center(self) -> AlertCenter:
        return self._context.alerts

    @told(returns="Alerts")
    async def alerts(self, _: web.Request) -> web.Response:
        """Show what fires, who was told of it, and what is silenced."""
        book, now_s = self._center.book, self._context.clock.now_s()
        wall_ns = self._context.clock.wall_ns()
        silences = [_shown("", silence) for silence in book.plan.silences]
        silences += [_shown(name, each) for name, each in book.silences.items()]
        return _json(
            {
                "firing": [
                    _firing(alert, now_s, book.silence_of(alert.group, wall_ns))
                    for alert in book
                ],
                "receivers": [self._receiver(name) for name in self._center.boxes],
                "silences": silences,
                "notices": [_settled(each) for each in reversed(self._center.settled)],
            }
        )

    @told(returns="Silence", body=ref("NewSilence"), errors=(400, 409))
    async def silence(self, request: web.Request) -> web.Response:
        """Tell nobody of some groups, for a while."""
        wanted = _read(await text_of(request))
        if isinstance(wanted, str):
            return refusal(400, wanted)
        starts_ns = self._context.clock.wall_ns()
        until_ns = starts_ns + int(wanted.for_s * _NS_PER_S)
        found = Silence(selection(wanted), starts_ns, until_ns, wanted.comment or "")
        name = self._center.book.silence(found)
        if name is None:
            return refusal(409, "there are too many silences: delete one first")
        _log.info("admin: alerts: silence %s, for %g s", name, wanted.for_s)
        return _json(_shown(name, found))

    @told(returns="Silence")
    async def unsilence(self, request: web.Request) -> web.Response:
        """End a silence."""
        name = request.match_info["id"]
        found = self._center.book.silences.pop(name, None)
        if found is None:
            return refusal(404, f"no silence {name!r} was made here")
        _log.info("admin: alerts: silence %s is over", name)
        return _json(_shown(name, found))

    def _receiver(self, name: str) -> dict[str, Any]:
        counts = self._context.recorder.book.alerts
        time_s = counts.succeeded_s.get(name)
        return {
            "name": name,
            "waiting": len(self._center.boxes[name]),
            "last_success": None if time_s is None else iso_time(int(time_s * 1e9)),
            "problem": self._center.problems.get(name, ""),
            "notices": {
                result: count
                for (receiver, result), count in counts.notices.items()
                if receiver == name
            },
        }


def _read(text: str) -> _NewSilence | str:
    """Return what is asked for, or what is wrong with it."""
    try:
        found = _NewSilence.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the body"
        return f"{place}: {first['msg']}"
    except (ValueError, RecursionError):
        return 'the body must be like {"codes": ["316-CONN-REFUSED"], "for_s": 3600}'
    if selection(found).is_of_all:
        return f"it silences everything: name one of {', '.join(_NAMES)}"
    return found


def _firing(alert: Alert, now_s: float, silence: Silence | None) -> dict[str, Any]:
    group = alert.group
    return {
        "group": group.id,
        "code": group.key.code,
        "severity": group.severity.name,
        "route": group.key.route,
        "upstream": group.key.upstream,
        "state": group.state_at(now_s).value,
        "count": group.count,
        "since_s": round(group.age_s(now_s), 3),
        "rules": alert.rules,
        "told": [*alert.told],
        "silenced": silence is not None,
    }


def _shown(name: str, silence: Silence) -> dict[str, Any]:
    return {
        "id": name,
        "starts": iso_time(silence.starts_ns),
        "until": iso_time(silence.until_ns),
        "comment": silence.comment,
        **_selected(silence.select),
    }


def _selected(select: Selection) -> dict[str, list[str]]:
    return {name: sorted(getattr(select, name)) for name in _NAMES}


def _settled(settled: Settled) -> dict[str, Any]:
    notice = settled.notice
    return {
        "time": iso_time(settled.wall_ns),
        "receiver": settled.receiver,
        "result": settled.result,
        "problem": settled.problem,
        "kind": notice.kind.value,
        "severity": notice.severity,
        "code": notice.code,
        "route": notice.route,
        "upstream": notice.upstream,
        "group": notice.group,
    }


def _json(value: Any) -> web.Response:
    text = json.dumps(value, indent=2) + "\n"  # A silence may name anything.
    return web.json_response(text=text)
