"""Messages: what is in them, and that nobody's value becomes markup."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.alerting import words
from sidecar.alerting.notice import Kind
from tests.alerting.samples import SENDER, notice
from tests.support.outcomes import NOON_NS

EVIL = (
    "x\r\nBcc: all@a.test\n<!channel> <http://evil.test|click> `*b*` ](http://e) @all"
)
FACTS = (
    "P1", "316-CONN-REFUSED", "connection refused", "all", "app", "127.0.0.1:8080",
    "1.5/s", "25.0%", "2023-11-14T22:13:20.000Z", "Is the application up?", "pod-1",
    "shop", "0123456789abcdef", "018bcfe5680012345678",
    "0af7651916cd43dd8448eb211c80319c",
    "http://127.0.0.1:15000/page#group=0123456789abcdef",
    "https://docs.test/faults#316-conn-refused",
)  # fmt: skip


def rendered() -> dict[str, str]:
    message = [notice()]
    return {
        "slack": json.dumps(words.as_slack(message, SENDER)),
        "dingtalk": json.dumps(words.as_dingtalk(message, SENDER)),
        "mail": words.headline(message, SENDER) + words.as_text(message, SENDER),
    }


@pytest.mark.parametrize("form", ["slack", "dingtalk", "mail"])
def test_a_message_says_all_that_is_known(form: str) -> None:
    text = rendered()[form]
    assert [fact for fact in FACTS if fact not in text] == []


def test_the_generic_body_has_each_fact_under_its_name() -> None:
    body = words.as_json([notice()], SENDER, NOON_NS)
    [alert] = body["alerts"]
    assert (body["status"], body["service"], body["host"]) == (
        "firing",
        "shop",
        "pod-1",
    )
    assert alert["key"] == "shop/0123456789abcdef"
    assert alert["detail"] == "127.0.0.1:8080: connection refused"
    assert alert["share_of_traffic"] == 0.25
    assert alert["page"].endswith("/page#group=0123456789abcdef")
    assert alert["runbook"] == "https://docs.test/faults#316-conn-refused"


def test_a_message_is_resolved_if_all_in_it_is() -> None:
    over = notice(kind=Kind.RESOLVED, lasted_s=125.0)
    assert words.as_json([over], SENDER, NOON_NS)["status"] == "resolved"
    assert words.as_json([notice(), over], SENDER, NOON_NS)["status"] == "firing"
    assert "resolved: 316-CONN-REFUSED connection refused, after 2m5s" in words.as_text(
        [over], SENDER
    )


def test_without_addresses_there_are_no_links() -> None:
    bare = words.Sender("shop", "pod-1")
    assert "http" not in words.as_text([notice()], bare)
    assert "](" not in words.as_dingtalk([notice()], bare)["markdown"]["text"]
    assert words.as_json([notice()], bare, 0)["alerts"][0]["page"] == ""


def test_of_many_the_first_are_shown_and_the_others_counted() -> None:
    many = [notice(group=f"{n:016x}") for n in range(500)]
    assert "and 490 more" in words.as_text(many, SENDER)
    slack = words.as_slack(many, SENDER)
    assert len(slack["blocks"]) < 50  # Of Slack,
    assert all(len(b["text"]["text"]) <= 3000 for b in slack["blocks"])
    text = words.as_dingtalk(many, SENDER)["markdown"]["text"]
    assert len(text.encode()) < 20_000  # and of DingTalk.
    body = words.as_json(many, SENDER, 0)
    assert (len(body["alerts"]), body["more"]) == (100, 400)


def test_the_longest_message_is_within_what_they_take() -> None:
    long = "<" * 5000
    many = [
        notice(group=f"{n:016x}", detail=long, route=long, endpoint=long, fix=long)
        for n in range(30)
    ]
    for block in words.as_slack(many, SENDER)["blocks"]:
        assert len(block["text"]["text"]) <= 3000
    text = words.as_dingtalk(many, SENDER)["markdown"]["text"]
    assert len(text.encode()) < 20_000


def values(text: str) -> list[str]:
    return re.findall(r"`([^`]*)`", text)


def test_slack_shows_what_is_meant_as_markup() -> None:
    text = words.as_slack([notice(detail=EVIL)], SENDER)["blocks"][1]["text"]["text"]
    assert "<!channel>" not in text
    assert "&lt;!channel&gt; &lt;http://evil.test|click&gt; '*b*'" in text
    assert "\nBcc" not in text


def test_dingtalk_shows_what_is_meant_as_markup() -> None:
    told = words.as_dingtalk([notice(detail=EVIL)], SENDER)
    text = told["markdown"]["text"]
    [shown] = [value for value in values(text) if "Bcc" in value]
    assert "](http://e) @all" in shown  # In a code span: nothing of it is a link.
    assert "\nBcc" not in text


FOREIGN = st.text(max_size=60)


def markup(form: str, **fields: str) -> set[str]:
    """Return the lines of a message without its code spans: what is markup."""
    message = [notice(**fields)]
    if form == "slack":
        text = words.as_slack(message, SENDER)["blocks"][1]["text"]["text"]
    else:
        text = words.as_dingtalk(message, SENDER)["markdown"]["text"]
    return set(re.sub("`[^`]*`", "", text).split("\n"))


@pytest.mark.parametrize("form", ["slack", "dingtalk"])
@given(FOREIGN, FOREIGN, FOREIGN)
def test_no_value_leaves_its_code_span(
    form: str, detail: str, endpoint: str, route: str
) -> None:
    """So the markup is that of any other message; what is empty is left out."""
    found = markup(form, detail=detail, endpoint=endpoint, route=route)
    usual = markup(form, detail="a", endpoint="b", route="c")
    assert found <= usual
    assert usual - found <= {"what: ", "- what: "}


@given(FOREIGN, FOREIGN, FOREIGN)
def test_no_value_begins_a_line_of_a_mail(
    detail: str, endpoint: str, route: str
) -> None:
    evil = notice(detail=detail, endpoint=endpoint, route=route)
    usual = words.as_text([notice()], SENDER).splitlines()
    found = words.as_text([evil], SENDER).splitlines()
    names = {line[:13] for line in usual}
    assert {line[:13] for line in found} <= names
    assert len(found) <= len(usual)


@given(st.text(max_size=400))
def test_a_line_is_one_line_and_short(text: str) -> None:
    line = words.line(text)
    assert len(line.splitlines()) <= 1
    assert len(line) <= 300
    assert line.strip() == line
