"""What operators do: empty a queue, run a dead task again."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.app.doubles import drain
from vecna.adapters.clock import ManualClock
from vecna.app.config import Config
from vecna.bootstrap import Server
from vecna.domain.errors import InvalidArgument
from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.domain.workflow import Chord, Group
from vecna.ports.values import Settlement
from vecna.testing import Harness

SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def server() -> Iterator[Any]:
    with Server(Config(broker="memory://", max_deliveries=1), clock=ManualClock()) as server:

        @server.task(name="add")
        def add(*numbers: int) -> int:
            return sum(numbers)

        yield server


def one(uuid: str | None = None, **options: Any) -> Signature:
    return Signature("add", [1], uuid=uuid, **options)


def states(server: Any, *uuids: str) -> list[tuple[State, str]]:
    found = [server.result(uuid).get_state() for uuid in uuids]
    return [(state.state, state.error) for state in found]


# -- purging ---------------------------------------------------------------------------------------------------------


def test_what_is_purged_ends_as_canceled_and_its_workflow_hears_of_it(server: Any) -> None:
    chord = Chord(Group(one("m1"), one("m2", queue="q2")), one("after"))
    server.send_chord(chord)
    server.send_task(one("later", delay=60, on_success=one("never")))
    told: list[tuple[int, int]] = []

    assert server.purge("vecna_tasks", on_progress=lambda *news: told.append(news)) == 2

    assert told == [(2, 0)]
    assert states(server, "m1", "later") == [(State.CANCELED, "purged")] * 2
    assert states(server, "after", "never") == [
        (State.CANCELED, "task m1 was canceled: purged"),
        (State.CANCELED, "task later ended as CANCELED"),
    ]
    assert server.queue_counts()["vecna_tasks"].ending == 0
    assert drain(server) == []


def test_more_than_a_step_is_purged(server: Any) -> None:
    server.send_tasks([one() for _ in range(1201)])
    told: list[tuple[int, int]] = []

    assert server.purge("vecna_tasks", on_progress=lambda *news: told.append(news)) == 1201

    assert told == [(500, 701), (1000, 201), (1201, 0)]
    assert server.queue_counts()["vecna_tasks"].ending == 0


def test_what_was_caused_before_is_purged_too(server: Any) -> None:
    """It lay in the outbox of another queue."""
    server.send_task(one("a"))
    (leased,) = server.broker.lease("vecna_tasks", 1, worker="w", call=1, duration=SECOND, max_deliveries=5).deliveries
    caused = Message.of(one("b", queue="q2"), "vecna_tasks")
    server.broker.settle("vecna_tasks", [Settlement("a", leased.token, follow_ups=(caused,))])
    assert "q2" not in server.queue_counts()

    assert server.purge("q2") == 1
    assert states(server, "b") == [(State.CANCELED, "purged")]


def test_the_ends_of_what_was_purged_are_recorded_by_others_if_who_purged_dies(server: Any) -> None:
    with Harness(server) as harness:
        server.send_task(one("a"))
        server.broker.purge("vecna_tasks")
        assert states(server, "a") == [(State.PENDING, "")]

        harness.run()

        assert states(server, "a") == [(State.CANCELED, "purged")]
        assert harness.executed("add") == 0


def test_a_queue_that_is_none_is_refused(server: Any) -> None:
    with pytest.raises(InvalidArgument):
        server.purge("no such")
    assert server.purge("nowhere") == 0


async def test_the_twin_purges(server: Any) -> None:
    await server.send_task_async(one("a"))
    assert await server.purge_async("vecna_tasks") == 1
