"""Schedules under histories of many clients."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import attrs
import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.message import Message
from vecna.domain.schedule import ScheduleRecord
from vecna.kit import rules
from vecna.ports.broker import Broker
from vecna.ports.schedules import FireCall, Fired
from vecna.testing.contracts.driven_schedules import DrivenSchedules, ScheduleCase, content
from vecna.testing.contracts.stressing import History
from vecna.testing.contracts.values import SECOND

T = TypeVar("T")
_CODES: Final = ("a", "b", "c")
_RHYTHM: Final = 10 * SECOND


class _Run:
    """One history, and what `rules` say that stands after each of its calls."""

    def __init__(self, brokers: Sequence[Broker], history: History) -> None:
        self.brokers, self.history = brokers, history
        self.draw, self.clock = history.draw, history.clock
        self.driven = DrivenSchedules(brokers[0], history.clock)
        self.stands: dict[str, ScheduleRecord] = {}
        self.removed: dict[str, tuple[dt.datetime, int]] = {}
        self.read: list[ScheduleRecord] = []  # by workers, now or long ago
        self.began: list[dt.datetime] = []
        self.sent: list[str] = []
        self.count = 0

    @property
    def broker(self) -> Broker:
        return self.draw.choice(self.brokers)

    def both(self, what: str, act: Callable[[Broker], T], expected: Callable[[], T]) -> None:
        """Call the broker, and again if the reply is lost; each answer is what the rules say."""
        broker = self.broker

        def compared() -> T:
            answer, right = act(broker), expected()
            assert answer == right, f"{what}: {answer}; the rules say {right}"
            return answer

        self.history.call(what, compared)

    # -- what clients do -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.history.note("somebody begins to register")
        now = self.broker.due_schedules(0).now
        assert all(at < now for at, _ in self.removed.values()), "a registration begins before a removal that is over"
        self.began.append(now)

    def put(self) -> None:
        due = (self.clock.now() - self.driven.start).total_seconds() + self.draw.randint(-15, 15)
        record = self.driven.record(self.draw.choice(_CODES), due, content=content(self.draw.choice(["x", "y"])))
        began_at = self.draw.choice([None, *self.began[-3:]])

        def expected() -> ScheduleRecord | None:
            removed_at, version = self.removed.get(record.code, (None, 0))
            stands = rules.registered(self.stands.get(record.code), record, began_at, removed_at, version)
            if stands is not None:
                self.stands[record.code] = stands
            return stands

        self.both(f"put {record.code}", lambda broker: broker.put_schedule(record, began_at), expected)

    def remove(self) -> None:
        code = self.draw.choice(_CODES)
        broker = self.broker
        self.history.call(f"remove {code}", lambda: broker.remove_schedule(code))
        self.forget(code)

    def forget(self, code: str) -> None:
        stands, (_, version) = self.stands.pop(code, None), self.removed.get(code, (None, 0))
        # It lies between this moment and what the next registration is told.
        at = self.brokers[0].due_schedules(0).now - dt.timedelta(microseconds=1)
        self.removed[code] = (at, version if stands is None else stands.version)

    def pause(self) -> None:
        code, paused = self.draw.choice(_CODES), self.draw.random() < 0.4
        following = None if paused else self.clock.now() + _RHYTHM

        def expected() -> ScheduleRecord | None:
            if code in self.stands:
                self.stands[code] = rules.paused_as(self.stands[code], paused, following)
            return self.stands.get(code)

        self.both(
            f"pause {code}: {paused}",
            lambda broker: broker.pause_schedule(code, paused=paused, following=following),
            expected,
        )

    def look(self) -> None:
        self.history.note("a worker looks what is due")
        now = self.clock.now()
        found = self.broker.due_schedules()
        due = [each for each in self.stands.values() if each.next_fire_at <= now and not each.paused]
        assert sorted(found.records, key=lambda each: each.code) == sorted(due, key=lambda each: each.code)
        assert [each.next_fire_at for each in found.records] == sorted(each.next_fire_at for each in due)
        self.read.extend(found.records)

    def fire(self) -> None:
        if not self.read:
            return
        call = self.call(self.draw.choice(self.read[-6:]))

        def expected() -> list[Fired]:
            record = self.stands.get(call.code)
            answer, stands = rules.fired(record, call, self.clock.now())
            if answer is Fired.FIRED and stands is not record:
                self.sent += [message.uuid for message in call.messages]
                if stands is None:
                    self.forget(call.code)
                else:
                    self.stands[call.code] = stands
            return [answer]

        self.both(f"fire {call.code} of {call.due}", lambda broker: broker.fire([call]), expected)

    def call(self, record: ScheduleRecord) -> FireCall:
        """What fires an occurrence, or leaves it out, or is an extra one, or the last."""
        self.count += 1
        due, uuid = record.next_fire_at, f"o{self.count}"
        messages = (Message(uuid, "q", b""), Message(f"{uuid}x", "p", b""))
        call = FireCall(record.code, record.version, due, due + _RHYTHM, due, uuid, messages, may_be_past=True)
        kind = self.draw.random()
        if kind < 0.1:
            return attrs.evolve(call, occurred_at=None, uuid="", messages=(), skipped=1)
        if kind < 0.2:
            return attrs.evolve(call, following=due)
        if kind < 0.25:
            return attrs.evolve(call, following=None)
        return attrs.evolve(call, may_be_past=kind < 0.7)

    def pass_time(self) -> None:
        step = self.draw.random() * 6 * SECOND
        self.history.note(f"{step.total_seconds():.3f} s pass")
        self.clock.advance(step)

    # -- a run ---------------------------------------------------------------------------------------------------------

    def go(self, steps: int) -> None:
        acts = (self.begin, self.put, self.remove, self.pause, self.look, self.fire, self.pass_time)
        for _ in range(steps):
            self.draw.choices(acts, (1, 2, 0.5, 1, 4, 5, 3))[0]()
            assert self.broker.get_schedules(_CODES) == [self.stands.get(code) for code in _CODES]

    def drain(self) -> None:
        """What was fired has arrived, each once."""
        arrived = [*self.driven.arrived("q"), *self.driven.arrived("p")]
        assert sorted(arrived) == sorted(self.sent), "occurrences were lost or doubled"


class ScheduleStressLaws(ScheduleCase):
    """What holds of schedules in every history of many clients.

    Attributes:
        schedule_steps: how many things happen in one history.
    """

    schedule_steps = 150

    @pytest.mark.parametrize("seed", range(5))
    def test_in_any_history_each_occurrence_is_fired_once(self, clock: ManualClock, seed: int) -> None:
        """Whoever fires what was read long ago, while it is replaced, paused and removed: as `vecna.kit.rules` say."""
        history = History(seed, clock)
        brokers = [self.make(clock) for _ in range(2)]
        run = _Run(brokers, history)
        with history.told():
            run.go(self.schedule_steps)
            run.drain()
        for broker in brokers:
            broker.close()
