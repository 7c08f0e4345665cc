"""When a message goes, goes again, or is given up."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from sidecar.alerting.notice import Kind
from sidecar.alerting.outbox import MAX_WAITING, SENT, Delivery, Outbox
from sidecar.clock import NEVER_S
from tests.alerting.samples import notice, plan

FAILED = Delivery(is_sent=False, problem="answers 500")
FINAL = Delivery(is_sent=False, problem="answers 404", is_final=True)


def box(alerts: str = "") -> Outbox:
    return Outbox(plan(alerts), Random(316))


def test_a_burst_is_one_message_after_the_wait() -> None:
    one = box("group_wait: 10s")
    for number in range(20):
        one.put(notice(group=str(number)), 100.0 + number / 10)
    assert one.due_s(102.0) == 110.0
    assert len(one.take(110.0)) == 20
    assert one.due_s(110.0) == NEVER_S


def test_a_p0_waits_for_nobody_and_takes_the_others_along() -> None:
    one = box("group_wait: 10s")
    one.put(notice(group="a"), 100.0)
    one.put(notice(group="b", severity="P0"), 101.0)
    assert one.due_s(101.0) == 101.0
    assert [n.group for n in one.take(101.0)] == ["b", "a"]  # The worst first.


def test_one_message_is_under_way_at_a_time() -> None:
    one = box("group_wait: 0s")
    one.put(notice(group="a"), 100.0)
    one.take(100.0)
    one.put(notice(group="b"), 100.0)
    assert one.due_s(200.0) == NEVER_S
    assert one.settle(SENT, 200.0)
    assert one.due_s(200.0) == 200.0
    assert [n.group for n in one.take(200.0)] == ["b"]


def test_the_newest_of_a_group_is_what_is_told() -> None:
    one = box()
    one.put(notice(count=1), 100.0)
    one.put(notice(count=2, kind=Kind.WORSE), 101.0)
    [told] = one.take(110.0)
    assert (told.count, told.kind) == (2, Kind.FIRING)  # Of which nobody has heard.


def test_what_is_over_before_it_was_told_is_told_as_over() -> None:
    one = box()
    one.put(notice(), 100.0)
    one.put(notice(kind=Kind.RESOLVED), 101.0)
    [told] = one.take(110.0)
    assert told.kind is Kind.RESOLVED


def test_what_begins_again_while_its_end_waits_is_a_beginning() -> None:
    one = box()
    one.put(notice(kind=Kind.RESOLVED), 100.0)
    one.put(notice(kind=Kind.FIRING), 101.0)
    [told] = one.take(110.0)
    assert told.kind is Kind.FIRING


def test_a_failure_is_tried_again_later_and_later_and_then_given_up() -> None:
    one = box("give_up: 10m")
    one.put(notice(severity="P0"), 0.0)
    now_s, ends, attempts = 0.0, False, 0
    while not ends:
        assert one.due_s(now_s) <= now_s
        one.take(now_s)
        attempts += 1
        ends = one.settle(FAILED, now_s)
        if not ends:
            now_s = one.due_s(now_s)
    assert now_s <= 600.0
    assert 8 < attempts < 100  # Some thirty: a minute's step, half of it by chance.
    assert len(one) == 0


def test_what_makes_no_sense_to_try_again_is_given_up_at_once() -> None:
    one = box()
    one.put(notice(), 0.0)
    one.take(10.0)
    assert one.settle(FINAL, 10.0)
    assert len(one) == 0


def test_a_receiver_may_say_when_to_come_again_within_bounds() -> None:
    one = box("give_up: 1h")
    one.put(notice(), 0.0)
    one.take(10.0)
    asked = Delivery(is_sent=False, retry_after_s=200.0)
    assert not one.settle(asked, 10.0)
    assert one.due_s(10.0) == 210.0
    one.take(210.0)
    far = Delivery(is_sent=False, retry_after_s=1e9)
    assert not one.settle(far, 210.0)
    assert one.due_s(210.0) == 510.0


def test_beyond_the_rate_notices_wait_and_are_one_message() -> None:
    one = box("group_wait: 0s, rate_limit: {messages: 2, per: 100s}")
    for number in range(2):
        one.put(notice(group=str(number)), 0.0)
        assert one.due_s(0.0) == 0.0
        one.take(0.0)
        one.settle(SENT, 0.0)
    for number in range(5):
        one.put(notice(group=str(number), severity="P0"), 1.0)
    assert one.due_s(1.0) == 50.0  # Two in 100 s: one every 50 s.
    assert len(one.take(50.0)) == 5


def test_what_is_new_of_a_group_does_not_let_it_wait_longer() -> None:
    one = box("group_wait: 10s")
    one.put(notice(), 100.0)
    one.put(notice(kind=Kind.WORSE), 109.0)
    assert one.due_s(109.0) == 110.0


def test_a_full_outbox_drops_the_oldest_and_counts_it() -> None:
    one = box()
    for number in range(MAX_WAITING + 3):
        one.put(notice(group=str(number)), 0.0)
    assert (len(one), one.dropped) == (MAX_WAITING, 3)
    assert one.take(10.0)[0].group == "3"


def test_a_full_outbox_drops_the_least_severe_first() -> None:
    """The worst are told in any case, be they the oldest or the newest."""
    one = box()
    one.put(notice(group="worst", severity="P0"), 0.0)
    one.put(notice(group="over", kind=Kind.RESOLVED), 0.0)
    for number in range(MAX_WAITING - 2):
        one.put(notice(group=str(number)), 0.0)
    one.put(notice(group="small", severity="P3"), 1.0)
    assert one.dropped == 1
    one.put(notice(group="another", severity="P0"), 1.0)
    assert one.dropped == 2
    groups = [each.group for each in one.take(20.0)]
    assert groups[:2] == ["worst", "another"]
    assert not {"small", "over"} & set(groups)
    assert len(groups) == MAX_WAITING


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "sent", "failed", "final", "wait"]), st.integers(0, 30)
    ),
    max_size=80,
)


@given(STEPS)
def test_whatever_happens_each_notice_is_settled_replaced_or_still_there(
    steps: list[tuple[str, int]],
) -> None:
    one = box("group_wait: 3s, give_up: 20s, rate_limit: {messages: 3, per: 30s}")
    now_s, wanted, settled = 0.0, set[str](), set[str]()
    answers = {"sent": SENT, "failed": FAILED, "final": FINAL}
    for what, number in steps:
        if what == "put":
            one.put(notice(group=str(number)), now_s)
            wanted.add(str(number))
            settled.discard(str(number))
        elif what == "wait":
            now_s += number
        elif one.due_s(now_s) <= now_s:
            message = one.take(now_s)
            if one.settle(answers[what], now_s):
                settled.update(n.group for n in message)
    assert len(one) >= len(wanted - settled)
    while len(one):
        message = one.take(now_s)
        one.settle(SENT, now_s)
        settled.update(n.group for n in message)
    assert settled == wanted
