"""Which notices are due, and to whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.alerting.book import MAX_SILENCES
from sidecar.faults.catalogue import FaultCode
from sidecar.faults.spec import Severity
from sidecar.settings.alert_plan import Selection, Silence
from tests.alerting.samples import START_S, Told, kinds, plan
from tests.support.outcomes import NOON_NS

BOTH = {"hook": "firing", "post": "firing"}
P0, P1, P2, P3 = Severity


@pytest.mark.parametrize(
    ("severity", "told"),
    [(P0, BOTH), (P1, BOTH), (P2, {"hook": "firing"}), (P3, {})],
)
def test_without_rules_the_severity_decides_who_is_told(
    severity: Severity, told: dict[str, str]
) -> None:
    one = Told()
    one.fail(severity=severity)
    assert kinds(one.look()) == told


def test_a_group_is_told_once_however_often_it_fails() -> None:
    one = Told()
    one.fail()
    assert kinds(one.look()) == BOTH
    for _ in range(100):
        one.fail()
        assert one.after(1.0) == []


def test_two_groups_are_two_notices() -> None:
    one = Told()
    first, second = one.fail(), one.fail(route="else")
    assert {p.notice.group for p in one.look()} == {first.id, second.id}


def test_it_is_told_again_after_repeat_if_it_has_failed_since() -> None:
    one = Told("repeat: 1h")
    one.fail()
    one.look()
    assert one.after(3600.0) == []  # Not one failure since: nothing is new.
    one.fail()
    [post] = one.after(0.0)
    assert post.receivers == ("hook", "post")
    assert post.notice.kind.value == "repeat"
    assert post.notice.count == 2
    assert one.after(1.0) == []


def test_who_was_told_a_p2_hears_that_it_is_a_p1_now() -> None:
    one = Told()
    one.fail(severity=P2)
    assert kinds(one.look()) == {"hook": "firing"}
    one.fail(severity=P1)
    assert kinds(one.after(1.0)) == {"hook": "worse", "post": "firing"}
    one.fail(severity=P2)
    assert one.after(1.0) == []  # Better is no news, and neither is worse again.
    one.fail(severity=P1)
    assert one.after(1.0) == []


def test_recovery_is_told_to_those_who_know_with_how_long_it_took() -> None:
    one = Told()
    one.fail(severity=P2)
    one.look()
    one.now_s += 30.0
    one.fail(severity=P2)
    one.now_s += 2.0
    [post] = one.recover()
    assert (post.receivers, post.notice.kind.value) == (("hook",), "resolved")
    assert post.notice.lasted_s == 32.0
    assert one.after(1.0) == []


def test_silence_of_clients_is_no_recovery() -> None:
    one = Told()
    one.fail()
    one.look()
    assert one.after(3600.0) == []


def test_a_group_that_fails_again_is_told_anew_as_regressed() -> None:
    one = Told()
    one.fail()
    one.look()
    one.recover()
    one.fail()
    posts = one.after(1.0)
    assert kinds(posts) == BOTH
    assert posts[0].notice.state == "regressed"


def flap(one: Told, times: int, every_s: float = 120.0) -> list[str]:
    """Let a group fail and recover; return what the hook is told."""
    found: list[str] = []
    for _ in range(times):
        one.fail()
        for post in [*one.look(), *one.recover(), *one.after(every_s - 60.0)]:
            found += [post.notice.kind.value] * ("hook" in post.receivers)
    return found


def test_a_group_that_comes_and_goes_is_not_told_each_time() -> None:
    """Its end was told too soon once; the next is told when it has lasted."""
    one = Told("keep_firing: 15m")
    assert flap(one, 20) == ["firing", "resolved", "firing"]
    assert [alert.group.state_at(one.now_s).value for alert in one.book] == [
        "recovered"
    ]
    assert one.after(15 * 60.0 - 61.0 - 60.0) == []
    [post] = one.after(61.0)
    assert post.notice.kind.value == "resolved"
    assert post.notice.lasted_s == 18 * 120.0  # Since it was told for the last time.
    assert list(one.book) == []


def test_who_comes_and_goes_seldom_enough_is_told_each_time() -> None:
    one = Told("keep_firing: 15m")
    assert flap(one, 3, 20 * 60.0) == ["firing", "resolved"] * 3


def test_it_may_be_told_each_time() -> None:
    assert flap(Told("keep_firing: 0s"), 3) == ["firing", "resolved"] * 3


def test_of_who_comes_and_goes_worse_is_told_and_repeat_goes_on() -> None:
    one = Told("keep_firing: 15m, repeat: 1h")
    one.fail(severity=P2)
    one.look()
    one.recover()
    one.fail(severity=P2)
    assert kinds(one.look()) == {"hook": "firing"}
    one.recover()
    one.fail(severity=P1)
    assert kinds(one.look()) == {"hook": "worse", "post": "firing"}
    assert flap(one, 40).count("repeat") == 1


def test_a_time_that_a_rule_asks_for_begins_anew_after_a_recovery() -> None:
    one = Told(
        "rules: [{name: x, receivers: [hook]}, {name: y, for: 2m, receivers: [post]}]"
    )
    for _ in range(5):
        one.fail()
        assert "post" not in kinds(one.look())
        one.recover()


def test_what_is_over_stays_over_when_a_reload_asks_for_a_longer_quiet() -> None:
    one = Told()
    one.groups.use(5.0)
    one.fail()
    one.look()
    one.groups.succeeded("all", one.now_s)
    assert kinds(one.after(6.0)) == {"hook": "resolved", "post": "resolved"}
    one.groups.look(one.now_s)  # As once a second.
    one.groups.use(60.0)
    assert one.after(1.0) == []  # Nothing has failed since.
    one.fail()
    assert kinds(one.look()) == BOTH
    one.groups.succeeded("all", one.now_s)
    assert one.after(59.0) == []


def test_a_group_that_made_room_is_told_to_be_watched_no_more() -> None:
    one = Told(most=1)
    gone = one.fail()
    one.look()
    one.fail(route="else")
    posts = one.after(1.0)
    told = [post for post in posts if post.notice.group == gone.id]
    assert kinds(told) == {"hook": "forgotten", "post": "forgotten"}


@pytest.mark.parametrize(
    ("condition", "is_told"),
    [
        ("codes: [316-CONN-REFUSED]", True),
        ("codes: [316-CONN-RESET]", False),
        ("families: [CONN]", True),
        ("families: [TLS]", False),
        ("severities: [P1]", True),
        ("severities: [P2]", False),
        ("routes: [all]", True),
        ("routes: [else]", False),
        ("upstreams: [app]", True),
        ("states: [new]", True),
        ("states: [regressed]", False),
        ("rate_per_s: 5", True),
        ("rate_per_s: 50", False),
        ("share: 50%", True),
        ("codes: [316-CONN-REFUSED], routes: [else]", False),
    ],
)
def test_every_condition_of_a_rule_must_hold(
    condition: str,
    is_told: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    one = Told(f"rules: [{{name: x, {condition}, receivers: [hook]}}]")
    one.fail(severity=P1, count=10)
    one.requests["all"] += 8
    assert kinds(one.look()) == ({"hook": "firing"} if is_told else {})


def test_a_share_that_is_too_small_is_not_told() -> None:
    one = Told("rules: [{name: x, share: 50%, receivers: [hook]}]")
    one.fail(count=10)
    one.requests["all"] += 90
    assert one.look() == []


def test_a_condition_must_hold_for_so_long_without_a_gap() -> None:
    one = Told("rules: [{name: x, for: 2m, receivers: [hook]}]")
    one.fail()
    one.look()
    assert one.after(59.0) == []
    assert one.after(2.0) == []  # A minute without a failure: it begins anew.
    for _ in range(12):
        one.fail()
        assert one.look() == []
        one.now_s += 10.0
    one.fail()
    assert kinds(one.look()) == {"hook": "firing"}


def test_all_rules_that_match_add_up_and_each_receiver_is_told_once() -> None:
    one = Told(
        "rules: [{name: x, receivers: [hook]}, {name: y, receivers: [hook, post]}]"
    )
    one.fail()
    posts = one.look()
    assert kinds(posts) == BOTH
    assert len(posts) == 1
    assert posts[0].notice.rules == ("x", "y")


def test_a_rule_without_receivers_goes_by_severity() -> None:
    one = Told("rules: [{name: x, families: [CONN]}]")
    one.fail(severity=P2)
    one.fail(FaultCode.TIMEOUT_ERR, severity=P0)
    assert kinds(one.look()) == {"hook": "firing"}


def test_a_severity_that_changes_does_not_begin_the_time_of_a_rule_anew() -> None:
    """A P2 that lasts is a P1: the webhook is for both, so its time goes on."""
    one = Told("rules: [{name: x, for: 2m}]")
    told: list[dict[str, str]] = []
    for number in range(13):
        one.fail(severity=P1 if number > 6 else P2)
        told.append(kinds(one.look()))
        one.now_s += 10.0
    assert told[:12] == [{}] * 12
    assert told[12] == {"hook": "firing"}
    for _ in range(6):
        one.fail(severity=P1)
        told.append(kinds(one.after(10.0)))
    assert {"post": "firing"} in told  # Two minutes after it became a P1.


def test_a_group_whose_place_was_taken_in_between_is_told_again_after_repeat() -> None:
    one = Told("repeat: 1h", most=1)
    one.fail(count=1000)
    one.look()
    one.fail(route="else")
    one.fail()  # Counted anew.
    assert one.after(1.0) == []
    one.fail()
    assert kinds(one.after(3600.0)) == {"hook": "repeat", "post": "repeat"}


def silence(for_s: float, **names: set[str]) -> Silence:
    select = Selection(**{key: frozenset(value) for key, value in names.items()})
    return Silence(select, NOON_NS, NOON_NS + int(for_s * 1e9))


def test_what_is_silenced_is_told_when_the_silence_ends() -> None:
    one = Told()
    one.book.silence(silence(300.0, routes={"all"}))
    one.fail()
    posts = one.look()
    assert [post.is_silenced for post in posts] == [True]  # Counted once,
    assert one.after(1.0) == []  # and not at each look.
    one.fail()
    assert kinds(one.after(300.0)) == BOTH
    assert one.book.silences == {}


def test_a_silence_holds_for_what_it_names_alone() -> None:
    one = Told()
    one.book.silence(silence(300.0, routes={"else"}))
    one.fail()
    assert kinds(one.look()) == BOTH


def test_what_was_told_is_resolved_whatever_is_silenced_since() -> None:
    one = Told()
    one.fail()
    one.look()
    one.book.silence(silence(9999.0, routes={"all"}))
    assert kinds(one.recover()) == {"hook": "resolved", "post": "resolved"}


def test_what_nobody_was_told_of_is_not_resolved_to_anybody() -> None:
    one = Told()
    one.book.silence(silence(9999.0, codes={"316-CONN-REFUSED"}))
    one.fail()
    one.look()
    assert one.recover() == []


def test_a_silence_of_the_file_has_a_beginning_and_an_end() -> None:
    one = Told(
        "silences: [{codes: [316-CONN-REFUSED], from: '2023-11-14T22:13:30Z',"
        " until: '2023-11-14T22:14:20Z'}]"
    )  # From ten seconds after the start, for fifty.
    one.fail()
    assert kinds(one.look()) == BOTH
    one.fail(route="else")
    assert kinds(one.after(20.0)) == {}
    assert kinds(one.after(40.0)) == BOTH


def test_silences_are_bounded() -> None:
    one = Told()
    names = [one.book.silence(silence(1.0, routes={"x"})) for _ in range(101)]
    assert names[-1] is None
    assert len({*names}) == len(names) == MAX_SILENCES + 1


def test_another_plan_does_not_tell_again_what_was_told() -> None:
    one = Told()
    one.fail()
    one.look()
    one.book.use(plan("repeat: 1h, rules: [{name: x, receivers: [hook]}]"))
    assert one.after(1.0) == []
    assert kinds(one.recover()) == {"hook": "resolved", "post": "resolved"}


def test_a_receiver_that_is_new_is_told_what_fires_and_one_that_is_gone_nothing() -> (
    None
):
    one = Told()
    one.fail()
    one.look()
    hook = "webhook: {url: 'http://127.0.0.1:1/'}"
    one.book.use(plan(receivers=f"hook: {{{hook}}}, other: {{{hook}}}"))
    assert kinds(one.after(1.0)) == {"other": "firing"}
    assert kinds(one.recover()) == {"hook": "resolved", "other": "resolved"}


def test_without_receivers_nothing_is_looked_at() -> None:
    one = Told()
    one.fail()
    one.look()
    one.book.use(plan(receivers=""))
    assert one.after(1.0) == []
    assert list(one.book) == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["fail", "succeed", "wait"]),
        st.sampled_from(["all", "else"]),
        st.integers(0, 90),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_beginning_and_end_take_turns(
    steps: list[tuple[str, str, int]],
) -> None:
    """For each receiver and group: no end that nobody began, no beginning twice."""
    one = Told()
    open_now: set[tuple[str, str]] = set()
    for what, route, wait_s in steps:
        if what == "fail":
            one.fail(route=route)
        elif what == "succeed":
            one.groups.succeeded(route, one.now_s)
        for post in one.after(float(wait_s)):
            for receiver in post.receivers:
                key = (receiver, post.notice.group)
                assert (key in open_now) is not (post.notice.kind.value == "firing")
                (open_now.remove if post.notice.kind.is_over else open_now.add)(key)
    assert one.now_s >= START_S
