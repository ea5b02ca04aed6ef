"""Schedules of the broker under test, as the laws of schedules drive them."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.message import Message
from vecna.domain.schedule import ScheduleRecord, occurrence_id, template
from vecna.domain.signature import Signature
from vecna.ports.broker import Broker
from vecna.ports.clock import Clock
from vecna.ports.schedules import FireCall, Fired
from vecna.testing.contracts.driven import BrokerCase, DrivenQueue, names
from vecna.testing.contracts.values import SECOND

_workers = itertools.count()


def content(name: str) -> bytes:
    """What a schedule of the task of this name sends."""
    return template(Signature(name))


class DrivenSchedules:
    """Schedules of a broker. Fills in what a law does not care about."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self.broker = broker
        self.clock = clock
        self.start = clock.now()

    def at(self, seconds: float) -> dt.datetime:
        """The instant so many seconds after the test began."""
        return self.start + seconds * SECOND

    def record(self, code: str = "s", due: float = 10, **fields: Any) -> ScheduleRecord:
        """A schedule that is due every ten seconds, first at this second of the test."""
        plain: dict[str, Any] = {
            "kind": "task",
            "spec": "@every 10s",
            "timezone": "UTC",
            "missed": "once",
            "overlap": True,
            "start": None,
            "end": None,
            "content": content("task"),
            "anchor": self.at(due - 10),
            "next_fire_at": self.at(due),
        }
        return ScheduleRecord(code=code, **{**plain, **fields})

    def put(self, code: str = "s", due: float = 10, **fields: Any) -> ScheduleRecord:
        """Store such a schedule; what stands then."""
        stands = self.broker.put_schedule(self.record(code, due, **fields))
        assert stands is not None
        return stands

    def get(self, code: str = "s") -> ScheduleRecord | None:
        """The schedule under a code."""
        return self.broker.get_schedules([code])[0]

    def stands(self, code: str = "s") -> ScheduleRecord:
        """The schedule under a code, which must be there."""
        record = self.get(code)
        assert record is not None
        return record

    def now(self) -> dt.datetime:
        """The store's time, as a registration reads it when it begins."""
        return self.broker.due_schedules(0).now

    def due(self, limit: int = 100) -> list[str]:
        """Codes of the schedules that are due."""
        return [record.code for record in self.broker.due_schedules(limit).records]

    def every(self, page: int = 500) -> list[str]:
        """Codes of all schedules, read in pages."""
        found: list[str] = []
        while records := self.broker.list_schedules(offset=len(found), limit=page):
            assert len(records) <= page
            found += [record.code for record in records]
            assert len(found) < 10_000, "the pages have no end"
        return found

    def message(self, record: ScheduleRecord, queue: str = "q", **fields: Any) -> Message:
        """The message of the occurrence that is due next."""
        uuid = occurrence_id(record.code, record.next_fire_at)
        return Message(uuid, queue, fields.pop("body", b"{}"), **fields)

    def call(self, record: ScheduleRecord, **fields: Any) -> FireCall:
        """Fire what is due of a schedule, and be due again ten seconds later."""
        message = self.message(record)
        plain: dict[str, Any] = {
            "following": record.next_fire_at + 10 * SECOND,
            "occurred_at": record.next_fire_at,
            "uuid": message.uuid,
            "messages": (message,),
        }
        return FireCall(record.code, record.version, record.next_fire_at, **{**plain, **fields})

    def skip(self, record: ScheduleRecord, count: int = 1, **fields: Any) -> FireCall:
        """Leave out what is due."""
        return self.call(record, occurred_at=None, uuid="", messages=(), skipped=count, **fields)

    def fire(self, *calls: FireCall) -> list[Fired]:
        """Fire in one call."""
        return self.broker.fire(calls)

    def relay(self) -> None:
        """Relay until nothing is left."""
        for _ in range(1_000):
            if not self.broker.relay_schedules():
                return
        raise AssertionError("relays never end")

    def arrived(self, queue: str = "q") -> list[str]:
        """Ids that came to a queue since the last time, after a relay; they are done then."""
        self.relay()
        goal = DrivenQueue(self.broker, self.clock, queue)
        taken = goal.take(10_000, worker=f"arrived-{next(_workers)}")
        goal.settle_all(taken)
        return names(taken)


class ScheduleCase(BrokerCase):
    """What the laws of schedules have in common."""

    @pytest.fixture
    def schedules(self, broker: Broker, clock: ManualClock) -> DrivenSchedules:
        """Schedules of the broker under test."""
        return DrivenSchedules(broker, clock)


def occurrences(code: str, instants: Sequence[dt.datetime]) -> list[str]:
    """Ids of a schedule's occurrences at these instants."""
    return [occurrence_id(code, instant) for instant in instants]
