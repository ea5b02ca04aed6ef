"""Laws of holding messages back until all of a workflow are there."""

from __future__ import annotations

import datetime as dt

import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.errors import InvalidArgument
from vecna.ports.broker import Broker
from vecna.ports.staging import Staging
from vecna.ports.values import QueueCounts, SettleAs, Standing
from vecna.testing.contracts.driven import BrokerCase, DrivenQueue, names
from vecna.testing.contracts.values import HOSTILE, NOTHING, SECOND


def unstage(broker: Broker, queue: str, hold: str, *, canceled: bool = False, limit: int = 500) -> list[int]:
    """Let all that is held go; what each call answered."""
    left = [broker.unstage(queue, hold, canceled=canceled, limit=limit)]
    while left[-1]:
        left.append(broker.unstage(queue, hold, canceled=canceled, limit=limit))
        assert left[-1] < left[-2], "a call let nothing go"
    return left


class StagingCase(BrokerCase):
    """What the laws of holding back have in common."""

    @pytest.fixture
    def staging(self, broker: Broker) -> Staging:
        """The broker under test, as it holds messages back."""
        return broker


class StageLaws(StagingCase):
    """`Staging.stage`."""

    # -- holding -----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("delay", [None, SECOND])
    def test_what_is_held_does_not_start(
        self, queue: DrivenQueue, staging: Staging, clock: ManualClock, delay: dt.timedelta | None
    ) -> None:
        """Half a workflow must not run while its sender may still die; nor when its time has come meanwhile."""
        assert staging.stage("h", [queue.message("a", delay=delay), queue.message("b", priority=9)]) == [True, True]

        assert queue.take() == []
        queue.pass_time(100 * SECOND)
        assert queue.take() == []
        assert [queue.standing(uuid) for uuid in ("a", "b")] == [Standing.HELD] * 2
        assert queue.counts() == QueueCounts(held=2)
        assert queue.broker.get_pending_tasks("q") == queue.broker.get_delayed_tasks("q") == []

    def test_what_is_let_go_is_leased(self, queue: DrivenQueue, staging: Staging) -> None:
        """As if it had been enqueued: by priority, within one in the order in which it was staged."""
        staging.stage("h", [queue.message(f"t{number}", body=bytes([number])) for number in range(20)])
        staging.stage("h", [queue.message("high", priority=9), queue.message("last")])

        assert unstage(queue.broker, "q", "h")[-1] == 0

        assert queue.counts() == QueueCounts(pending=22)
        taken = queue.take()
        assert names(taken) == ["high", *[f"t{number}" for number in range(20)], "last"]
        assert [item.body for item in taken[1:21]] == [bytes([number]) for number in range(20)]
        assert queue.settle_all(taken) == ["ok"] * 22
        assert queue.counts() == QueueCounts()

    def test_a_queue_is_known_when_something_is_held_in_it(self, broker: Broker, staging: Staging) -> None:
        """Else what a dead sender left there would never be found."""
        staging.stage("h", [DrivenQueue(broker, ManualClock(), "new").message("a")])

        assert broker.queues() == ["new"]

    def test_a_hold_may_span_queues(self, queue: DrivenQueue, staging: Staging) -> None:
        """One call stages in several; each queue's part is let go for itself."""
        other = queue.at("other")
        assert staging.stage("h", [queue.message("a"), other.message("b"), queue.message("c")]) == [True] * 3

        assert unstage(queue.broker, "q", "h")[-1] == 0

        assert names(queue.take()) == ["a", "c"]
        assert other.standing("b") is Standing.HELD
        assert unstage(queue.broker, "other", "h")[-1] == 0
        assert names(other.take()) == ["b"]

    def test_holds_are_kept_apart(self, queue: DrivenQueue, staging: Staging) -> None:
        """To let one workflow go starts no other."""
        staging.stage("h1", [queue.message("a")])
        staging.stage("h2", [queue.message("b")])
        staging.stage("h1", [queue.message("c")])

        assert unstage(queue.broker, "q", "h1")[-1] == 0

        assert names(queue.take()) == ["a", "c"]
        assert queue.counts().held == 1

    # -- repeats and ids ---------------------------------------------------------------------------------------------

    def test_a_repeated_stage_changes_nothing(self, queue: DrivenQueue, staging: Staging) -> None:
        """The reply was lost: the same call says what is not new, and adds nothing."""
        batch = [queue.message("a"), queue.message("b"), queue.message("a")]
        assert staging.stage("h", batch) == [True, True, False]

        assert staging.stage("h", batch) == [False] * 3
        assert staging.stage("h", [queue.message("b"), queue.message("c")]) == [False, True]

        unstage(queue.broker, "q", "h")
        assert names(queue.take()) == ["a", "b", "c"]

    def test_a_stage_that_comes_after_its_unstage_holds_nothing_back(
        self, queue: DrivenQueue, staging: Staging
    ) -> None:
        """A late duplicate: what has been let go is there, and stays on its way."""
        staging.stage("h", [queue.message("a"), queue.message("b")])
        unstage(queue.broker, "q", "h")
        taken = queue.take_one()

        assert staging.stage("h", [queue.message("a"), queue.message("b")]) == [False, False]

        assert (queue.standing("a"), queue.standing("b")) == (Standing.LEASED, Standing.PENDING)
        assert queue.settle(taken) == "ok"

    @pytest.mark.parametrize("standing", [item for item in Standing if item is not Standing.HELD])
    def test_what_the_queue_has_is_not_held_besides(
        self, queue: DrivenQueue, staging: Staging, standing: Standing
    ) -> None:
        """An id is in a queue once, wherever it stands."""
        queue.send("a", body=b"first", delay=SECOND if standing is Standing.DELAYED else None)
        if standing in (Standing.LEASED, Standing.DEAD):
            taken = queue.take_one()
            if standing is Standing.DEAD:
                queue.settle(taken, SettleAs.DEAD)
        elif standing is Standing.ENDING:
            queue.cancel("a")
        before = queue.counts()

        assert staging.stage("h", [queue.message("a", body=b"second")]) == [False]

        assert (queue.standing("a"), queue.counts()) == (standing, before)
        assert staging.unstage("q", "h") == 0
        assert (queue.standing("a"), queue.counts()) == (standing, before)

    @pytest.mark.parametrize("way", ["enqueue", "other hold", "follow-up", "relayed"])
    def test_what_is_held_does_not_come_in_another_way(
        self, queue: DrivenQueue, staging: Staging, clock: ManualClock, way: str
    ) -> None:
        """Nor would it start by that."""
        goal = queue.at("goal")
        staging.stage("h", [goal.message("a", body=b"first")])
        second = goal.message("a", body=b"second")
        if way == "enqueue":
            assert queue.broker.enqueue([second]) == [False]
        elif way == "other hold":
            assert staging.stage("h2", [second]) == [False]
            assert staging.unstage("goal", "h2") == 0
        else:
            source = goal if way == "follow-up" else queue
            source.send("cause")
            source.settle(source.take_one(), follow_ups=(second,))
            source.relay()

        assert goal.take() == []
        assert goal.counts() == QueueCounts(held=1)
        unstage(queue.broker, "goal", "h")
        assert [item.body for item in goal.take()] == [b"first"]

    # -- refusals ----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_a_hold_outside_the_rule_is_refused(self, queue: DrivenQueue, staging: Staging, hostile: str) -> None:
        """Before anything is done."""
        good = queue.message("a")
        for message in (queue.message(hostile), queue.message("b", queue=hostile)):
            with pytest.raises(InvalidArgument):
                staging.stage("h", [good, message])
        with pytest.raises(InvalidArgument):
            staging.stage(hostile, [good])
        with pytest.raises(InvalidArgument):
            staging.unstage(hostile, "h")
        with pytest.raises(InvalidArgument):
            staging.unstage("q", hostile)
        with pytest.raises(InvalidArgument):
            staging.staged(hostile, NOTHING)

        assert queue.counts() == QueueCounts()
