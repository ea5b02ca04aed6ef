"""What operators do: empty a queue, run a dead task again."""

import contextlib
import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.app.doubles import drain
from vecna.adapters.clock import ManualClock
from vecna.app.config import Config
from vecna.bootstrap import Server
from vecna.domain.errors import BrokerUnavailable, InvalidArgument, InvalidSignature, UnknownTask
from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.domain.workflow import Chain, Chord, Group
from vecna.ports.values import Settlement
from vecna.testing import CrashPoint, Harness

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


# -- dead tasks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def harness(server: Any) -> Iterator[Harness]:
    with Harness(server, raise_errors=False) as harness:
        yield harness


def die(server: Any, harness: Harness) -> None:
    """The next task that runs kills its worker, once too often."""
    harness.crash_next(CrashPoint.BEFORE_RUN)
    harness.run()
    harness.advance(seconds=server.config.lease)
    assert harness.crashes == 1


def test_a_dead_task_runs_again_as_a_copy(server: Any, harness: Harness) -> None:
    server.send_task(one("a", queue="q2", headers={"trace": "t"}, on_success=one("then"), on_error=one("else")))
    die(server, harness)
    assert [letter.uuid for letter in server.get_dead_tasks("q2")] == ["a"]

    retried = server.retry_dead_task("a")

    assert (retried.result.is_new, retried.later, retried.left_out) == (True, (), "")
    (waiting,) = server.get_pending_tasks("q2")
    assert waiting.uuid == retried.result.uuid != "a"
    assert dict(waiting.headers) == {"trace": "t", "retry_of": "a"}
    assert waiting.code == waiting.uuid
    assert server.get_dead_tasks("q2") == []
    harness.run()
    assert retried.result.touch() == 1
    assert server.result(waiting.on_success[0].uuid).touch() == 2
    assert server.result(waiting.on_error[0].uuid).get_state().is_canceled
    assert server.result("a").get_state().is_failure
    assert server.result("then").get_state().is_canceled


def test_a_dead_link_brings_what_follows_it(server: Any, harness: Harness) -> None:
    """Nested, as it was; the old chain stays ended."""
    nested = Chain(one("n1"), one("n2"), Group(one("n3"), one("n4")), one("n5"))
    chain = Chain(one("a"), Chain(one("b"), one("c")), Group(one("d"), nested, Chain(Group(one("e")))), one("last"))
    old = server.send_chain(chain)
    harness.run(limit=1)
    die(server, harness)
    assert [letter.uuid for letter in server.get_dead_tasks()] == ["b"]
    assert old.get_state().is_canceled

    retried = server.retry_dead_task("b")
    harness.run()

    assert (len(retried.later), retried.left_out) == (9, "")
    # c = 1 + b with the 1 of a; d = 1 + c; n5 = 1 + n3 + n4, each 1 + n2 …
    assert retried.result.touch() == 2
    assert server.result(retried.later[0]).touch() == 3
    assert server.result(retried.later[-1]).touch() == 1 + 4 + 13 + 4
    assert harness.executed("add") == 11
    codes = {each.code for each in harness.sent("add") if each.uuid in retried.later}
    assert codes == {"a"}
    assert server.result("last").get_state().is_completed
    assert not server.result("last").get_state().is_success


def test_a_dead_member_runs_again_alone_and_that_is_said(server: Any, harness: Harness) -> None:
    server.send_chord(Chord(Group(Chain(one("a"), one("b")), one("m")), one("after")))
    die(server, harness)
    assert [letter.uuid for letter in server.get_dead_tasks()] == ["a"]

    retried = server.retry_dead_task("a")
    harness.run()

    assert server.result(retried.later[0]).touch() == 2
    assert "it was in group" in retried.left_out
    assert server.result("after").get_state().is_failure


def test_a_dead_callback_of_a_chord_is_passed_the_results_again(server: Any, harness: Harness) -> None:
    server.send_chord(Chord(Group(one("m1"), one("m2")), one("after")))
    harness.run(limit=2)
    die(server, harness)

    retried = server.retry_dead_task("after")
    harness.run()

    assert retried.result.touch() == 3


def test_what_has_expired_cannot_be_copied_and_that_is_said(server: Any, harness: Harness) -> None:
    server.send_chain(Chain(one("a"), one("b")))
    die(server, harness)
    harness.advance(hours=2)

    retried = server.retry_dead_task("a")
    harness.run()

    assert retried.result.touch() == 1
    assert (retried.later, "expired" in retried.left_out) == ((), True)


@pytest.mark.parametrize("lost", ["enqueue", "store_plan", "drop_dead"])
def test_a_repeated_retry_makes_one_copy(server: Any, harness: Harness, lost: str) -> None:
    """A reply is lost and the call repeated; it died before it could clear the dead letter away."""
    server.send_chain(Chain(one("a"), one("b")))
    die(server, harness)
    broker, dropping = server.broker, server.broker.drop_dead
    broker.drop_dead = lambda *_: [False]
    first = server.retry_dead_task("a")
    broker.drop_dead = dropping
    harness.run(limit=1)
    harness.drop_next_reply(lost)
    with contextlib.suppress(BrokerUnavailable):
        server.retry_dead_task("a")
    with contextlib.suppress(UnknownTask):
        second = server.retry_dead_task("a")
        assert (second.result.uuid, second.result.is_new) == (first.result.uuid, False)
    harness.run()

    assert harness.executed("add") == 2
    assert server.get_dead_tasks() == []
    assert server.result(first.later[0]).touch() == 2


def test_a_retry_whose_last_reply_gets_lost_is_none_that_failed(server: Any, harness: Harness) -> None:
    server.send_task(one("a"))
    die(server, harness)
    harness.drop_next_reply("drop_dead")

    retried = server.retry_dead_task("a")
    harness.run()

    assert retried.result.touch() == 1
    assert server.get_dead_tasks() == []


def test_a_retry_whose_sender_died_halfway_can_be_repeated(server: Any, harness: Harness) -> None:
    """The copies were cancelled, since their sender was gone; the dead letter is all that is left of the work."""
    server.send_chain(Chain(one("a"), one("b")))
    die(server, harness)
    for attempt in range(2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(server.broker, "enqueue", _die)
            with pytest.raises(KeyboardInterrupt):
                server.retry_dead_task("a")
        harness.advance(seconds=3 * server.config.publish_timeout)
        assert [letter.uuid for letter in server.get_dead_tasks()] == ["a"], attempt
    assert harness.executed("add") == 0

    retried = server.retry_dead_task("a")
    harness.run()

    assert retried.result.is_new
    assert (retried.result.touch(), server.result(retried.later[0]).touch()) == (1, 2)
    assert server.get_dead_tasks() == []


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_only_what_is_dead_is_run_again(server: Any, harness: Harness) -> None:
    server.send_task(one("a"))
    with pytest.raises(UnknownTask, match="a: it is pending in queue vecna_tasks"):
        server.retry_dead_task("a")
    with pytest.raises(UnknownTask, match="nowhere: it is not with the broker"):
        server.retry_dead_task("nowhere")


def test_what_nobody_has_signed_is_not_signed_by_a_retry() -> None:
    keys = ("a key of sixteen characters",)
    server = Server(Config(broker="memory://", signing_keys=keys))
    with Harness(server, raise_errors=False) as harness:
        server.broker.enqueue([Message.of(one("forged"), "vecna_tasks")])
        harness.run()
        assert [letter.uuid for letter in server.get_dead_tasks()] == ["forged"]
        with pytest.raises(InvalidSignature, match="is not signed"):
            server.retry_dead_task("forged")


async def test_the_twin_purges(server: Any) -> None:
    await server.send_task_async(one("a"))
    assert await server.purge_async("vecna_tasks") == 1
