"""Where a coroutine meets what wakes it: the first one wins, nothing is lost."""

from __future__ import annotations

import pytest

from sidecar.rendezvous import Rendezvous


class Story:
    """A coroutine that waits a few times and remembers what it met."""

    def __init__(self, meeting: Rendezvous) -> None:
        self.meeting = meeting
        self.met: list[str] = []

    async def run(self, waits: int = 2) -> None:
        for _ in range(waits):
            try:
                await self.meeting
                self.met.append("woken")
            except ValueError as error:
                self.met.append(str(error))
        self.met.append("over")


@pytest.fixture
def story() -> Story:
    return Story(Rendezvous())


def test_it_runs_up_to_its_first_wait(story: Story) -> None:
    story.meeting.run(story.run())
    assert story.met == []
    assert repr(story.meeting) == "<Rendezvous waits>"


def test_whoever_wakes_it_runs_it(story: Story) -> None:
    """At once, up to the next wait: when `deliver` returns it is done."""
    story.meeting.run(story.run())
    story.meeting.deliver()
    assert story.met == ["woken"]
    story.meeting.deliver()
    assert story.met == ["woken", "woken", "over"]
    assert repr(story.meeting) == "<Rendezvous over>"


def test_an_interruption_is_raised_where_it_waits(story: Story) -> None:
    story.meeting.run(story.run())
    story.meeting.interrupt(ValueError("left"))
    story.meeting.deliver()
    assert story.met == ["left", "woken", "over"]


def test_after_its_end_nothing_happens(story: Story) -> None:
    story.meeting.run(story.run(0))
    story.meeting.deliver()
    story.meeting.interrupt(ValueError("late"))
    assert story.met == ["over"]


class Busy(Story):
    """One that is woken and interrupted while it runs itself."""

    async def run(self, waits: int = 2) -> None:
        self.meeting.deliver()
        self.meeting.interrupt(ValueError("first"))
        self.meeting.interrupt(ValueError("second"))
        await super().run(waits)


def test_a_wake_up_while_it_runs_is_dropped_an_interruption_is_kept() -> None:
    """Who wakes keeps its state; who left does not come to say it again."""
    story = Busy(Rendezvous())
    story.meeting.run(story.run())
    assert story.met == ["first"]
    story.meeting.deliver()
    assert story.met == ["first", "woken", "over"]


def test_an_interruption_may_be_forgotten() -> None:
    meeting = Rendezvous()

    async def forgetful() -> None:
        meeting.interrupt(ValueError("of an attempt that is over"))
        meeting.forget()
        await meeting

    meeting.run(forgetful())
    assert meeting.interruption is None
    meeting.deliver()
    assert repr(meeting) == "<Rendezvous over>"


def test_it_may_wait_in_a_coroutine_that_it_awaits(story: Story) -> None:
    async def outer() -> None:
        await story.run(1)
        await story.run(1)

    story.meeting.run(outer())
    story.meeting.deliver()
    assert story.met == ["woken", "over"]
    story.meeting.interrupt(ValueError("left"))
    assert story.met == ["woken", "over", "left", "over"]
