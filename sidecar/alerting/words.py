"""One message, in the words of each kind of receiver: pure.

What stands in a message beside our own words (details, names, addresses) may be of
somebody who wants it to be read as markup. So it is put on one line, cut, and:

    JSON      the encoder quotes it
    Slack     `&<>` are escaped, and it stands in a code span
    DingTalk  it stands in a code span
    mail      plain text; in a header, without any control character
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sidecar.alerting.notice import Kind, Notice
from sidecar.record.moments import iso_time
from sidecar.settings.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MOST_SHOWN: Final = 10  # Of a message; Slack takes 50 blocks, DingTalk 20,000 bytes.
MOST_LISTED: Final = 100  # As JSON: to encode more would take milliseconds.
_MAX_CHARS: Final = 300
# Of control, of direction, of no width: what breaks lines, or shows another text.
_ODD: Final = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff]+"
)
_SLACK: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_VERBS: Final = {
    Kind.FIRING: "",
    Kind.WORSE: "worse: ",
    Kind.REPEAT: "goes on: ",
    Kind.RESOLVED: "resolved: ",
    Kind.FORGOTTEN: "not watched any more: ",
    Kind.TEST: "test: ",
}


@dataclass(frozen=True, slots=True)
class Sender:
    """Who tells, and where people can read on."""

    service: str
    host: str
    page_url: str = ""
    runbook_url: str = ""

    def page_of(self, notice: Notice) -> str:
        """Return where the group is shown; empty where nobody said."""
        return f"{self.page_url}#group={notice.group}" if self.page_url else ""

    def runbook_of(self, notice: Notice) -> str:
        """Return where its code is explained; empty where nobody said."""
        return f"{self.runbook_url}#{notice.code.lower()}" if self.runbook_url else ""


def line(text: str, most: int = _MAX_CHARS) -> str:
    """Return a text on one line, of printable characters, and not too long."""
    clean = " ".join(_ODD.sub(" ", text).split())
    return clean if len(clean) <= most else f"{clean[: most - 3]}..."


def in_slack(text: str) -> str:
    """Return a text that Slack shows as it is."""
    return "".join(_SLACK.get(c, c) for c in line(text))


def code_span(text: str) -> str:
    """Return a text that markdown shows as it is."""
    return "`" + line(text).replace("`", "'") + "`" if line(text) else ""


def headline(message: Sequence[Notice], sender: Sender) -> str:
    """Return a message in a line."""
    first, more = message[0], len(message) - 1
    others = f" and {more} more" if more else ""
    return line(f"{sender.service}: {_title(first)}{others}", 150)


def as_json(message: Sequence[Notice], sender: Sender, wall_ns: int) -> dict[str, Any]:
    """Return what the generic webhook gets; members may be added, never renamed."""
    is_over = all(notice.kind.is_over for notice in message)
    return {
        "version": 1,
        "status": "resolved" if is_over else "firing",
        "service": sender.service,
        "host": sender.host,
        "sent_at": iso_time(wall_ns),
        "title": headline(message, sender),
        "alerts": [_as_object(notice, sender) for notice in message[:MOST_LISTED]],
        "more": max(0, len(message) - MOST_LISTED),
    }


def as_slack(message: Sequence[Notice], sender: Sender) -> dict[str, Any]:
    """Return what an incoming webhook of Slack gets."""

    def shown(text: str) -> str:
        return "".join(_SLACK.get(c, c) for c in code_span(text))

    def link(url: str, text: str) -> str:
        return f"<{in_slack(url).replace('|', '%7C')}|{text}>"

    title = in_slack(headline(message, sender))
    sections = [f"*{title}*"]
    for notice in message[:MOST_SHOWN]:
        rows = "\n".join(_marked_rows(notice, sender, shown, link))
        sections.append(f"*{in_slack(_title(notice))}*\n{rows}"[:2900])
    sections += _rest(message)
    return {
        "text": title,
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": text}}
            for text in sections
        ],
    }


def as_dingtalk(message: Sequence[Notice], sender: Sender) -> dict[str, Any]:
    """Return what a robot of DingTalk gets."""

    def link(url: str, text: str) -> str:
        return f"[{text}]({line(url).replace('(', '%28').replace(')', '%29')})"

    title = headline(message, sender)
    parts = [f"#### {code_span(title)}"]
    for notice in message[:MOST_SHOWN]:
        rows = [f"- {row}" for row in _marked_rows(notice, sender, code_span, link)]
        parts.append("\n".join([f"**{code_span(_title(notice))}**", "", *rows]))
    text = "\n\n".join([*parts, *_rest(message)])
    return {"msgtype": "markdown", "markdown": {"title": title, "text": text}}


def as_text(message: Sequence[Notice], sender: Sender) -> str:
    """Return the body of a mail."""
    parts = [f"{sender.service} on {line(sender.host)}"]
    for notice in message[:MOST_SHOWN]:
        rows = [f"  {name:<11}{line(text)}" for name, text in _rows(notice, sender)]
        rows += [f"  {name:<11}{url}" for name, url in _links(notice, sender)]
        parts.append("\n".join([line(_title(notice)), *rows]))
    return "\n\n".join([*parts, *_rest(message)]) + "\n"


def _title(notice: Notice) -> str:
    lasted = ""
    if notice.kind is Kind.RESOLVED:
        lasted = f", after {format_duration(max(1.0, round(notice.lasted_s)))}"
    return (
        f"[{notice.severity}] {_VERBS[notice.kind]}{notice.code} {notice.title}{lasted}"
    )


def _rest(message: Sequence[Notice]) -> list[str]:
    more = len(message) - MOST_SHOWN
    return [f"... and {more} more: see /alerts of the admin API"] if more > 0 else []


def _rows(notice: Notice, sender: Sender) -> Iterator[tuple[str, str]]:
    """Yield what is told of one, by name; what is not known is left out."""
    found = {
        "where": _where(notice),
        "what": notice.detail,
        "how many": _how_many(notice),
        "since": _since(notice),
        "fix": notice.fix,
        "host": sender.host,
        "rule": ", ".join(notice.rules),
        "group": notice.group,
        "fault": notice.fault_id,
        "trace": notice.trace_id,
    }
    yield from ((name, text) for name, text in found.items() if text)


def _marked_rows(
    notice: Notice,
    sender: Sender,
    shown: Callable[[str], str],
    link: Callable[[str, str], str],
) -> Iterator[str]:
    yield from (f"{name}: {shown(text)}" for name, text in _rows(notice, sender))
    links = [link(url, name) for name, url in _links(notice, sender)]
    if links:
        yield " - ".join(links)


def _links(notice: Notice, sender: Sender) -> Iterator[tuple[str, str]]:
    urls = {"details": sender.page_of(notice), "runbook": sender.runbook_of(notice)}
    yield from ((name, url) for name, url in urls.items() if url)


def _where(notice: Notice) -> str:
    places = {
        "route": notice.route,
        "upstream": notice.upstream,
        "endpoint": notice.endpoint,
    }
    return ", ".join(f"{name} {place}" for name, place in places.items() if place)


def _how_many(notice: Notice) -> str:
    if not notice.count:
        return ""
    share = f", {notice.share_ratio:.1%} of its route" if notice.share_ratio else ""
    return f"{notice.count} ({notice.rate_per_s:g}/s in the last minute{share})"


def _since(notice: Notice) -> str:
    if not notice.first_ns:
        return ""
    return f"{iso_time(notice.first_ns)}, last {iso_time(notice.last_ns)}"


def _as_object(notice: Notice, sender: Sender) -> dict[str, Any]:
    return {
        "kind": notice.kind.value,
        "status": "resolved" if notice.kind.is_over else "firing",
        "key": f"{sender.service}/{notice.group}",  # The same until it is over.
        "severity": notice.severity,
        "code": notice.code,
        "title": notice.title,
        "detail": notice.detail,
        "fix": notice.fix,
        "route": notice.route,
        "upstream": notice.upstream,
        "endpoint": notice.endpoint,
        "state": notice.state,
        "count": notice.count,
        "rate_per_s": notice.rate_per_s,
        "share_of_traffic": notice.share_ratio,
        "first_seen": iso_time(notice.first_ns),
        "last_seen": iso_time(notice.last_ns),
        "lasted_s": notice.lasted_s,
        "group": notice.group,
        "fault_id": notice.fault_id,
        "trace_id": notice.trace_id,
        "rules": list(notice.rules),
        "page": sender.page_of(notice),
        "runbook": sender.runbook_of(notice),
    }


def encoded(body: dict[str, Any]) -> bytes:
    """Return a body as it is sent."""
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
