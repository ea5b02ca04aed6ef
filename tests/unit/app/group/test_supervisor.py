"""The life of children, with children that are not there, step by step on a virtual clock."""

from random import Random

import pytest

from tests.unit.app.doubles import logged
from vecna.adapters.clock import ManualClock
from vecna.app.group.reports import ABORT, DRAIN
from vecna.app.group.supervisor import FIRST_PAUSE, LAST_CALLS, LONGEST_PAUSE, MOST_FAILED_STARTS, STEADY, Supervisor


class Child:
    """What the supervisor knows of a process."""

    pid = 7

    def __init__(self, name, started):
        self.name, self.started = name, started
        self.serves, self.status, self.killed = False, None, False
        self.orders = []

    @property
    def how(self):
        return f"exit code {self.status}"

    def order(self, order):
        self.orders.append(order)

    def kill(self):
        self.killed = True


class Group:
    """A supervisor and all the children that it has ever started, the latest last."""

    def __init__(self, count=2, lines=None):
        self.lines = lines
        self.clock = ManualClock()
        self.children: list[Child] = []
        self.buried: list[tuple[object, ...]] = []
        self.refusals: list[Exception] = []
        names = [f"g.{number}" for number in range(1, count + 1)]
        self.supervisor = Supervisor(
            "g", names, self._start, lambda *burial: self.buried.append(burial), self.clock, Random(1), lambda: None
        )

    def _start(self, name, _):
        if self.refusals:
            raise self.refusals.pop()
        self.children.append(Child(name, self.clock.monotonic()))
        return self.children[-1]

    def up(self):
        """All children that there are serve."""
        assert not self.supervisor.step()
        for child in self.children:
            child.serves = child.status is None or child.serves
        return self.children[-1]

    def lose(self, child, status=-9):
        child.status = status
        self.supervisor.step()

    def pause(self):
        """How long it waits until the next child is started."""
        until = self.supervisor._until(self.clock.monotonic())
        assert until is not None
        self.clock.advance(until + 0.001)  # its moments have more digits than a date
        return until


@pytest.fixture
def group():
    with logged() as lines:
        yield Group(lines=lines)


def test_a_child_that_dies_is_started_again_and_what_it_held_is_handed_over(group):
    first = group.up()
    others = len(group.children) - 1
    group.lose(first)

    assert group.buried == [(first, True)]
    assert group.pause() <= FIRST_PAUSE
    assert not group.supervisor.step()
    assert [child.name for child in group.children[others:]] == [first.name] * 2
    (line,) = group.lines.of("error")
    assert line.startswith(f"worker {first.name} has died (exit code -9)")


def test_children_that_go_on_dying_are_started_ever_more_seldom(group):
    pauses = []
    for _ in range(12):
        group.lose(group.up())
        pauses.append(group.pause())

    for number, pause in enumerate(pauses):
        whole = min(FIRST_PAUSE * 2**number, LONGEST_PAUSE)
        assert whole / 2 <= pause <= whole
    assert len(set(pauses)) == 12  # with jitter
    last = group.up()
    group.clock.advance(STEADY)
    group.lose(last)
    assert group.pause() <= FIRST_PAUSE  # it has lived well
    assert group.supervisor.failure == ""


def test_one_that_decides_itself_not_to_serve_ends_a_group_that_never_did(group):
    group.supervisor.step()
    group.lose(group.children[0], 1)

    assert "end before they serve (exit code 1)" in group.supervisor.failure
    group.supervisor.step()
    assert group.children[1].killed  # it has nothing to hand back
    group.children[1].status = -9
    assert group.supervisor.step()
    assert len(group.children) == 2


def test_one_that_does_not_come_up_again_is_tried_for_ever_while_others_serve(group):
    group.up()
    group.lose(group.children[1])
    for _ in range(3 * MOST_FAILED_STARTS):
        group.pause()
        group.supervisor.step()
        group.lose(group.children[-1], 1)

    assert group.supervisor.failure == ""
    assert not group.children[0].orders


def test_none_that_comes_up_any_more_ends_the_group_after_some_tries():
    group = Group(count=1)
    with logged():
        group.up()
        group.lose(group.children[-1])
        for _ in range(MOST_FAILED_STARTS):
            assert group.supervisor.failure == ""
            group.pause()
            group.supervisor.step()
            group.lose(group.children[-1], -11)

    assert "end before they serve" in group.supervisor.failure


def test_a_system_that_gives_no_process_or_no_thread_is_asked_again(group):
    group.refusals = [OSError("no more processes"), RuntimeError("can't start new thread")]
    group.supervisor.step()
    assert group.children == []
    group.pause()
    group.supervisor.step()
    group.pause()
    group.supervisor.step()

    assert {child.name for child in group.children} == {"g.1", "g.2"}


def test_a_drain_is_ordered_once_and_starts_no_child(group):
    group.up()
    group.lose(group.children[0])
    group.supervisor.drain()
    for _ in range(3):
        assert not group.supervisor.step()
        group.clock.advance(LONGEST_PAUSE)

    (_, left) = group.children
    assert left.orders == [DRAIN]
    left.status = 0
    assert group.supervisor.step()
    assert group.supervisor.unfinished == []
    assert group.buried[-1] == (left, True)  # it holds nothing, by then


def test_patience_with_a_drain_ends(group):
    group.up()
    group.supervisor.drain(limit=5)
    group.supervisor.step()
    assert group.pause() == 5
    group.supervisor.step()

    assert [child.orders for child in group.children] == [[DRAIN, ABORT]] * 2


def test_who_does_not_hand_back_in_time_is_killed_and_not_blamed(group):
    group.up()
    group.supervisor.abort()
    group.supervisor.step()
    first, second = group.children
    first.status = 1
    group.supervisor.step()
    assert not second.killed
    assert group.pause() == LAST_CALLS
    group.supervisor.step()
    assert second.killed

    second.status = -9
    assert group.supervisor.step()
    assert group.buried == [(first, False), (second, False)]
    assert group.supervisor.unfinished == ["g.1 (exit code 1)", "g.2 (exit code -9)"]
