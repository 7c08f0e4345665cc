"""The key `alerts`: what it becomes, what is wrong with it, what is hardly meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sidecar.settings.alerting import format_moment, parse_moment
from sidecar.settings.differences import differences
from sidecar.settings.load import Loaded, load_text
from sidecar.settings.problem import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

HOOK: dict[str, Any] = {"webhook": {"url": "https://hooks.test/s3cret"}}
PLAIN = {"host": "smtp.test", "from": "a@b.test", "to": ["c@d.test"]}
MAIL: dict[str, Any] = {"mail": PLAIN}
SECRET = "s3cret"


def load(**alerts: Any) -> Loaded:
    data = {
        "upstreams": {
            "app": {"endpoints": ["127.0.0.1:8080"]},
            "other": {"endpoints": ["127.0.0.1:8081"]},
        },
        "routes": [
            {"name": "all", "upstream": "app"},
            {"name": "else", "upstream": "other", "hosts": ["b.test"]},
        ],
        "alerts": alerts,
    }
    return load_text(yaml.safe_dump(data), "x")


def rule(**more: Any) -> dict[str, Any]:
    return {"receivers": {"oncall": HOOK}, "rules": [{"name": "x", **more}]}


def hooked(**more: Any) -> dict[str, Any]:
    return {"receivers": {"oncall": {"webhook": more}}}


def mailed(**more: Any) -> dict[str, Any]:
    return {"receivers": {"post": {"mail": PLAIN | more}}}


def silenced(**more: Any) -> dict[str, Any]:
    return {"silences": [{"until": "2026-01-31T12:00:00Z", **more}]}


def test_without_rules_p0_and_p1_go_to_all_and_p2_to_the_webhooks() -> None:
    plan = load(receivers={"oncall": HOOK, "post": MAIL}).snapshot.alerts
    told = {r.receivers: sorted(r.select.severities) for r in plan.rules}
    assert told == {("oncall",): ["P0", "P1", "P2"], ("post",): ["P0", "P1"]}


def test_a_mail_server_is_spoken_to_by_starttls_on_its_own_port() -> None:
    mail = load(receivers={"post": MAIL}).snapshot.alerts.receivers[0].mail
    assert mail is not None
    assert (mail.port, mail.is_starttls, mail.is_tls) == (587, True, False)
    mail = load(**mailed(tls=True)).snapshot.alerts.receivers[0].mail
    assert mail is not None
    assert (mail.port, mail.is_starttls, mail.is_tls) == (465, False, True)


@pytest.mark.parametrize(
    ("alerts", "path", "words"),
    [
        ({"receivers": {"a": {}}}, "receivers.a", "has neither of webhook and mail"),
        ({"receivers": {"a": HOOK | MAIL}}, "receivers.a", "has both of webhook and"),
        (hooked(), "receivers.oncall.webhook", "has none of url, url_file and url_env"),
        (hooked(url="https://a", url_file="/b"), "receivers.oncall.webhook.url_file",
         "and url exclude each other"),
        (hooked(url="ftp://a/s3cret"), "receivers.oncall.webhook.url",
         "is not an URL such as"),
        (hooked(url=7), "receivers.oncall.webhook.url", "should be a valid string"),
        (hooked(url="https://a", secret="s3cret"), "receivers.oncall.webhook.secret",
         "is not a known key (did you mean 'secret_"),
        (hooked(url="https://a", secret_env="A"), "receivers.oncall.webhook.secret_env",
         "is for DingTalk's signature"),
        (hooked(url="https://a", format="dingtalk", secret_env="A", secret_file="/b"),
         "receivers.oncall.webhook.secret_env", "exclude each other"),
        (hooked(url="https://a", format="slak"), "receivers.oncall.webhook.format",
         "did you mean 'slack'"),
        (hooked(url="https://a", url_env="a b"), "receivers.oncall.webhook.url_env",
         "is not the name of a variable"),
        (hooked(url_env="https://a/s3cret"), "receivers.oncall.webhook.url_env",
         "is not the name of a variable"),
        (hooked(url_file="https://a/s3cret"), "receivers.oncall.webhook.url_file",
         "is an URL, not the path of a file"),
        (mailed(to=[]), "receivers.post.mail.to", "there is nobody to write to"),
        (mailed(to=["x\nBcc: y@z"]), "receivers.post.mail.to[0]", "not a mail address"),
        (mailed(username="u"), "receivers.post.mail", "go together"),
        (mailed(password_env="A"), "receivers.post.mail", "go together"),
        (mailed(username="u", password="s3cret"), "receivers.post.mail.password",
         "is not a known key"),
        (mailed(tls=True, starttls=True), "receivers.post.mail.starttls",
         "exclude each other"),
        (rule(receivers=["oncal"]), "rules[0].receivers[0]",
         "there is no receiver 'oncal' (did you mean 'oncall'?)"),
        (rule(routes=["al"]), "rules[0].routes[0]",
         "there is no route 'al' (did you mean 'all'?)"),
        (rule(upstreams=["ap"]), "rules[0].upstreams[0]", "there is no upstream 'ap'"),
        (rule(codes=["502"]), "rules[0].codes[0]", "is not a code such as"),
        (rule(severities=["P4"]), "rules[0].severities[0]", "'P4'"),
        (rule(states=["recovered"]), "rules[0].states[0]", "'recovered'"),
        (rule(share="0%"), "rules[0].share", "must be over 0%"),
        (rule(after="2"), "rules[0].after", "is not a duration"),
        ({**rule(), "rules": [{"name": "x"}, {"name": "x"}]}, "rules[1].name",
         "is the name of alerts.rules[0], too"),
        (silenced(until="tomorrow"), "silences[0].until", "is not a time with"),
        (silenced(until="2026-01-31T12:00:00"), "silences[0].until", "with its zone"),
        (silenced(**{"from": "2026-02-01T00:00:00Z"}), "silences[0].until",
         "is not after its start"),
        (silenced(routes=["al"]), "silences[0].routes[0]", "there is no route 'al'"),
        ({"repeat": "0s"}, "repeat", "must be over 0s"),
        ({"page_url": "localhost"}, "page_url", "is not an URL such as"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_where_it_stands(
    alerts: dict[str, Any], path: str, words: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**alerts)
    [problem] = caught.value.problems
    assert problem.path == f"alerts.{path}"
    assert problem.line > 0
    assert words in str(problem)
    assert "s3cret" not in str(problem)
    assert SECRET not in str(problem)


@pytest.mark.parametrize(
    ("alerts", "path", "words"),
    [
        (hooked(url="http://a.test/x"), "receivers.oncall.webhook.url", "plain HTTP"),
        (hooked(url="https://a.test/x", format="slack"), "receivers.oncall.webhook.url",
         "it stands here in plain (use url_file or url_env)"),
        (hooked(url_file="/none"), "receivers.oncall.webhook.url_file",
         "cannot be read: No such file or directory"),
        (hooked(url_env="NOT_SET"), "receivers.oncall.webhook.url_env", "is not set"),
        (mailed(starttls=False, username="u", password_env="HOME"),
         "receivers.post.mail.starttls", "the password goes over the network in plain"),
        (mailed(username="u", password_file="/none"),
         "receivers.post.mail.password_file", "cannot be read"),
        (rule(codes=["316-CONN-REFUSD"], receivers=["oncall"]), "rules[0].codes[0]",
         "only an application has it (did you mean '316-CONN-REFUSED'"),
        (rule(families=["CON"], receivers=["oncall"]), "rules[0].families[0]",
         "did you mean 'CONN'"),
        (rule(codes=["316-CONN-REFUSED"], families=["TLS"], receivers=["oncall"]),
         "rules[0]", "can never match: none of codes is of one of families"),
        (rule(codes=["316-CLIENT-ABORT"], severities=["P0"], receivers=["oncall"]),
         "rules[0]", "can never match: its codes are P3 alone"),
        (rule(states=["new"], after="1m", receivers=["oncall"]), "rules[0]",
         "can never match: a group is new for 60 s"),
        (rule(routes=["all"], upstreams=["other"], receivers=["oncall"]), "rules[0]",
         "can never match: none of routes leads to one of upstreams"),
        ({"rules": [{"name": "x"}]}, "rules", "tell nobody: there are no receivers"),
        ({"receivers": {"oncall": HOOK, "post": MAIL},
          "rules": [{"name": "x", "receivers": ["oncall"]}]},
         "receivers.post", "is never told: no rule leads here"),
    ],
)  # fmt: skip
def test_what_is_hardly_meant_is_warned_of(
    alerts: dict[str, Any], path: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/")
    [warning] = load(**alerts).warnings
    assert warning.path == f"alerts.{path}"
    assert words in str(warning)


def test_a_rule_for_p3_without_receivers_tells_nobody() -> None:
    texts = [str(warning) for warning in load(**rule(severities=["P3"])).warnings]
    assert any("alerts.rules[0]: tells nobody" in text for text in texts)


@pytest.mark.parametrize(
    "alerts",
    [
        hooked(url="http://127.0.0.1:9000/x"),
        hooked(url="https://a.test/x"),
        mailed(host="127.0.0.1", starttls=False, username="u", password_env="HOME"),
        rule(codes=["316-CONN-STALE"], severities=["P1"], receivers=["oncall"]),
        rule(states=["new"], after="30s", receivers=["oncall"]),
        rule(routes=["all"], upstreams=["app"], receivers=["oncall"]),
    ],
)
def test_what_is_fine_is_not_warned_of(
    alerts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/")
    assert load(**alerts).warnings == []


def test_a_file_that_all_may_read_and_one_without_an_url_are_warned_of(
    tmp_path: Path,
) -> None:
    file = tmp_path / "url"
    file.write_text(SECRET, encoding="utf-8")
    file.chmod(0o644)
    told = [str(warning) for warning in load(**hooked(url_file=str(file))).warnings]
    assert any("every user of this host may read" in text for text in told)
    assert any("holds no http or https URL" in text for text in told)
    assert SECRET not in "".join(told)
    file.write_text("https://a.test/s3cret\n", encoding="utf-8")
    file.chmod(0o400)
    assert load(**hooked(url_file=str(file))).warnings == []


def test_a_change_is_told_without_a_secret() -> None:
    before = load(receivers={"oncall": HOOK}).snapshot
    other = load(**hooked(url="https://other.test/s3cret?token=s3cret")).snapshot
    told = "\n".join(differences(before, other))
    assert "alerts: receivers:" in told
    assert "https://other.test/(hidden)" in told
    assert SECRET not in told
    renewed = load(**hooked(url="https://hooks.test/s3cret-2")).snapshot
    assert differences(before, renewed) != []  # Though they look the same.
    assert SECRET not in repr(before)


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00Z", "1970-01-01T00:00:00Z"])
def test_a_time_is_written_as_it_is_read(text: str) -> None:
    assert format_moment(parse_moment(text)) == text
