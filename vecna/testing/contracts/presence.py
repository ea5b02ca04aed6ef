"""Laws of which workers are there."""

from __future__ import annotations

import datetime as dt
from typing import Any

import attrs
import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.errors import InvalidArgument
from vecna.domain.presence import RunningTask, WorkerRecord
from vecna.ports.broker import Broker
from vecna.testing.contracts.driven import BrokerCase
from vecna.testing.contracts.values import HOSTILE, NOTHING, SECOND


def worker(uuid: str, name: str = "w", **fields: Any) -> WorkerRecord:
    """What a worker says of itself."""
    begun = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
    return attrs.evolve(WorkerRecord(uuid, name, ("q", "q2"), 4, begun, "host", 7), **fields)


class PresenceLaws(BrokerCase):
    """`Presence`."""

    def test_a_worker_is_there_as_long_as_it_has_said(self, broker: Broker, clock: ManualClock) -> None:
        """Not for longer, so that dead ones vanish; it may say so again."""
        assert broker.workers() == []
        broker.note_worker(worker("1"), 10 * SECOND)
        clock.advance(9 * SECOND)
        broker.note_worker(worker("2"), 10 * SECOND)
        assert broker.workers() == [worker("1"), worker("2")]
        clock.advance(2 * SECOND)
        assert broker.workers() == [worker("2")]
        broker.note_worker(worker("2"), 10 * SECOND)
        clock.advance(9 * SECOND)
        assert broker.workers() == [worker("2")]

    def test_what_it_says_last_counts(self, broker: Broker) -> None:
        """All of it, as it was said; the shorter time too."""
        busy = worker("1", held=3, running=(RunningTask("t", "add", "q", dt.datetime(2026, 1, 2, tzinfo=dt.UTC)),))
        broker.note_worker(worker("1"), 10 * SECOND)
        broker.note_worker(busy, 10 * SECOND)
        broker.note_worker(busy, 10 * SECOND)
        assert broker.workers() == [busy]
        broker.note_worker(busy, NOTHING)
        assert broker.workers() == []
        broker.note_worker(busy, NOTHING)
        assert broker.workers() == []

    def test_they_come_by_name(self, broker: Broker) -> None:
        """Two may have the same; others see what one has said."""
        for uuid, name in (("1", "b"), ("3", "a"), ("2", "a")):
            broker.note_worker(worker(uuid, name), SECOND)
        assert [(each.name, each.uuid) for each in broker.workers()] == [("a", "2"), ("a", "3"), ("b", "1")]

    def test_many_may_be_there(self, broker: Broker) -> None:
        """More than go into one answer."""
        for number in range(501):
            broker.note_worker(worker(f"w{number}"), 100 * SECOND)
        assert len(broker.workers()) == 501

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_an_id_outside_the_rule_is_no_worker(self, broker: Broker, hostile: str) -> None:
        """Before anything is done."""
        with pytest.raises(InvalidArgument):
            broker.note_worker(worker(hostile), SECOND)
        assert broker.workers() == []
