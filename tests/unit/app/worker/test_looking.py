"""When a worker looks for schedules that others have stored."""

import math
import threading
from collections.abc import Callable
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any

from tests.unit.app.worker.wiring import TestWiring
from vecna.adapters.clock import ManualClock
from vecna.app.schedule_draft import Draft
from vecna.app.when import When
from vecna.app.worker.engine import Engine
from vecna.app.worker.outage import Outage
from vecna.app.worker.scheduling import Scheduling
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.schedule import template
from vecna.domain.signature import Signature


class Scripted(ManualClock):
    """A clock that moves when it is waited on, and does things at their times meanwhile: the loop needs no thread."""

    def __init__(self) -> None:
        super().__init__()
        self._acts: list[tuple[float, Callable[[], object]]] = []

    def at(self, moment: float, act: Callable[[], object]) -> None:
        self._acts.append((moment, act))

    def wait(self, event: threading.Event, timeout: float | None = None) -> bool:
        end = math.inf if timeout is None else self.monotonic() + max(timeout, 0.0)
        while not event.is_set():
            moment, act = min(self._acts, key=lambda each: each[0])  # the last one ends the loop
            if moment > end:
                self.advance(end - self.monotonic())
                return False
            self._acts.remove((moment, act))
            self.advance(max(moment - self.monotonic(), 0.0))
            act()
        return True


class Story:
    """A loop that is told things at their times, and when it has looked."""

    def __init__(self, *, listening: bool = True, **settings: Any) -> None:
        self.clock = Scripted()
        self.wiring = TestWiring.make(self.clock, **{"poll_interval": 60, "lease": 60, **settings})
        self.wiring.registry.add("tick", lambda: None, {})
        self.outage = Outage("w", self.clock, Random(1), lambda _: None)
        self.scheduling = Scheduling(self.wiring, self.outage)
        self.scheduling.listen(listening)
        self.looks: list[float] = []
        self.down = False
        due = self.wiring.broker._port.due_schedules

        def looked(limit=100):
            self.looks.append(round(self.clock.monotonic(), 3))
            if self.down:
                raise BrokerUnavailable("away")
            return due(limit)

        self.wiring.broker._port.due_schedules = looked

    def put(self) -> None:
        """Store a schedule that is due every second."""
        draft = Draft("c", "task", When.of("@every 1s"), template(Signature("tick")))
        self.wiring.broker.put_schedule(draft.record(self.clock.now()))

    def rings(self, moment: float) -> None:
        """Somebody is back at the doorbell a millisecond later."""
        self.clock.at(moment, self.scheduling.ring)
        self.clock.at(moment + 0.001, lambda: self.scheduling.listen(True))

    def until(self, moment: float) -> list[float]:
        self.clock.at(moment, self.scheduling.stop)
        self.scheduling.loop()
        return self.looks


def test_while_nothing_rings_it_looks_behind_the_doorbell():
    assert Story(poll_interval=5).until(20) == [0, 6, 12, 18]
    assert Story(poll_interval=600, lease=60).until(40) == [0, 15, 30]
    assert Story(poll_interval=600, lease=600).until(70) == [0, 30, 60]
    assert Story(poll_interval=0.1, lease=1).until(3.5) == [0, 1, 2, 3]


def test_while_nobody_listens_it_looks_once_a_second():
    assert Story(listening=False).until(4.5) == [0, 1, 2, 3, 4]


def test_it_looks_soon_after_a_ring():
    story = Story()
    story.rings(2.5)

    assert story.until(25) == [0, 2.6, 17.6]


def test_after_a_ring_it_looks_again_until_somebody_listens():
    """What rings meanwhile may be taken away by a lease."""
    story = Story()
    story.clock.at(2.5, story.scheduling.ring)
    story.clock.at(4.0, lambda: story.scheduling.listen(True))

    assert story.until(25) == [0, 2.6, 3.6, 4.6, 19.6]


def test_when_listening_ends_it_looks_soon():
    story = Story()
    for moment, listening in ((2.0, True), (2.5, False), (2.7, False), (2.8, True)):
        story.clock.at(moment, partial(story.scheduling.listen, listening))

    assert story.until(15) == [0, 2.6, 3.6]


def test_however_often_it_rings_it_looks_once_a_second():
    story = Story()
    for number in range(300):
        story.rings(2.0 + number / 100)

    assert story.until(15) == [0, 2.1, 3.1, 4.1, 5.1]


def test_a_ring_delays_nothing_that_is_planned():
    story = Story()
    story.put()
    story.rings(0.95)
    story.rings(1.5)

    assert story.until(3.5) == [0, 1, 2, 3]


def test_a_ring_does_not_make_it_ask_a_broker_that_is_away_more_often():
    quiet, loud = Story(), Story()
    for story in (quiet, loud):
        story.down = True
    for number in range(300):
        loud.rings(0.5 + number / 100)

    assert loud.until(10) == quiet.until(10)


def test_a_ring_that_comes_as_soon_as_the_doorbell_is_armed_has_the_last_word():
    """Else the worker would believe for long that somebody waits there."""
    story = Story(listening=False)

    class Ringing:
        def arm(self):
            story.scheduling.ring()

    engine: Any = SimpleNamespace(_doorbell=Ringing(), _scheduling=story.scheduling)
    Engine._listen(engine, True)

    assert not story.scheduling._listening


def test_a_fault_makes_nothing_late_that_it_does_not_hinder():
    story = Story()
    story.put()

    def away():
        raise BrokerUnavailable("a target is away")

    story.wiring.broker._port.relay_schedules = away
    looks = story.until(30.5)

    assert set(range(1, 31)) <= set(looks)
    assert len(looks) < 50
