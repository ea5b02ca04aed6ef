"""Laws of many at once: threads at the same schedules."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from functools import partial

from vecna.adapters.clock import ManualClock
from vecna.domain.schedule import ScheduleRecord
from vecna.ports.broker import Broker
from vecna.ports.schedules import FireCall, Fired
from vecna.testing.contracts.driven import at_once
from vecna.testing.contracts.driven_schedules import DrivenSchedules, ScheduleCase, content, occurrences
from vecna.testing.contracts.values import SECOND

_WORKERS = 8
_OCCURRENCES = 300


class ScheduleRaceLaws(ScheduleCase):
    """What holds however calls fall together."""

    def test_each_occurrence_comes_once(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """Eight workers fire, relay and work off the same schedules, and none of them knows of the others."""
        codes = ["a", "b", "c"]
        for code in codes:
            schedules.put(code, 10, missed="all")
        clock.advance(10 * _OCCURRENCES // len(codes) + 5)

        def work() -> list[str]:
            mine, done = DrivenSchedules(self.make(clock), clock), list[str]()
            for _ in range(_OCCURRENCES * 2):
                if not (found := mine.broker.due_schedules().records):
                    break
                mine.fire(*[mine.call(record, may_be_past=True) for record in found])
                done += mine.arrived()
            return done

        done = at_once(*[work] * _WORKERS)

        instants = [schedules.at(10 * number) for number in range(1, _OCCURRENCES // len(codes) + 1)]
        expected = [uuid for code in codes for uuid in occurrences(code, instants)]
        came = Counter([*itertools.chain(*done), *schedules.arrived()])
        assert came == Counter(expected)
        assert len(expected) == _OCCURRENCES
        for code in codes:
            assert schedules.stands(code).next_fire_at == instants[-1] + 10 * SECOND

    def test_changes_at_the_same_time_lose_nothing(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """Programs send what changes, operators pause and resume, workers fire and leave out: all of it counts."""
        schedules.put()
        rounds = 60

        def send(name: str) -> list[object]:
            mine = DrivenSchedules(self.make(clock), clock)
            return [mine.put(content=content(f"{name}-{number}")).version for number in range(rounds)]

        def fire() -> list[object]:
            mine, skipped = DrivenSchedules(self.make(clock), clock), list[object]()
            for _ in range(rounds * 2):
                record = mine.stands()
                skipped += [1 for answer in mine.fire(mine.skip(record)) if answer is Fired.FIRED]
            return skipped

        def pause() -> list[object]:
            mine = DrivenSchedules(self.make(clock), clock)
            for number in range(rounds):
                stands = mine.broker.pause_schedule("s", paused=number % 2 == 0)
                assert stands is not None
                assert stands.paused == (number % 2 == 0)
            return []

        first, second, one, two, _ = at_once(partial(send, "x"), partial(send, "y"), fire, fire, pause)

        stands, skipped = schedules.stands(), len(one) + len(two)
        assert stands.skipped == skipped
        assert stands.next_fire_at == schedules.at(10 + 10 * skipped)
        assert stands.version == 1 + 2 * rounds
        assert sorted(map(str, [*first, *second])) == sorted(str(number) for number in range(2, 2 * rounds + 2))
        assert not stands.paused

    def test_a_removal_and_a_firing_agree(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """Fired: the occurrence comes, and a cancel finds it. Lost: nothing comes. In either case nothing is left."""
        for number in range(40):
            call = schedules.call(schedules.put(content=content(f"t{number}")))
            firing, rival, removing = (self.make(clock) for _ in range(3))

            one, two, removed = at_once(
                partial(_fired, firing, call), partial(_fired, rival, call), partial(_removed, removing)
            )

            assert removed is True
            assert one + two <= 1
            assert schedules.arrived() == [call.uuid] * (one + two)
            assert schedules.every() == []

    def test_a_removal_and_a_registration_agree(self, schedules: DrivenSchedules, clock: ManualClock) -> None:
        """One that began before the removal does not outlive it, whichever comes first; nor is it fired later."""
        stored: list[ScheduleRecord] = []

        def register(broker: Broker, began_at: dt.datetime, name: str) -> bool:
            stands = broker.put_schedule(schedules.record(content=content(name)), began_at)
            if stands is not None:
                stored.append(stands)
            return stands is not None

        for number in range(40):
            if number % 2:
                schedules.put()
            one, two, removing = (self.make(clock) for _ in range(3))
            began_at = schedules.now()

            at_once(
                partial(register, one, began_at, f"x{number}"),
                partial(register, two, began_at, f"y{number}"),
                partial(_removed, removing),
            )

            assert schedules.every() == []
        assert schedules.fire(*map(schedules.call, stored)) == [Fired.LOST] * len(stored)
        schedules.put()
        assert schedules.fire(*map(schedules.call, stored)) == [Fired.LOST] * len(stored)
        assert schedules.arrived() == []


def _fired(broker: Broker, call: FireCall) -> bool:
    return broker.fire([call]) == [Fired.FIRED]


def _removed(broker: Broker) -> bool:
    return broker.remove_schedule("s")
