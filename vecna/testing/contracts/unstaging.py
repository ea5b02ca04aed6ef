"""Laws of letting go what was held back."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import cast

import pytest

from vecna.adapters.clock import ManualClock
from vecna.ports.broker import Waiter
from vecna.ports.staging import Staging
from vecna.ports.values import Canceling, QueueCounts, Standing, Verdict
from vecna.testing.contracts.driven import DrivenQueue, at_once, names
from vecna.testing.contracts.staging import StagingCase, unstage
from vecna.testing.contracts.values import MILLISECOND, NOTHING, PATIENCE, SECOND
from vecna.testing.contracts.waking import WakeLaws


class UnstageLaws(StagingCase):
    """`Staging.unstage` and `Staging.staged`."""

    def test_a_repeated_unstage_lets_nothing_go_twice(self, queue: DrivenQueue, staging: Staging) -> None:
        """Also when what went has long been done: whoever finds the hold lets it go, however often."""
        staging.stage("h", [queue.message("a")])
        assert staging.unstage("q", "h") == 0
        queue.settle(queue.take_one())

        assert staging.unstage("q", "h") == 0
        assert staging.unstage("q", "h", canceled=True) == 0
        assert staging.unstage("q", "never") == 0
        assert staging.unstage("nowhere", "h") == 0

        assert queue.take() == []
        assert queue.counts() == QueueCounts()

    def test_what_was_let_go_cannot_be_ended_by_its_hold(self, queue: DrivenQueue, staging: Staging) -> None:
        """The first to decide has decided: what is on its way runs."""
        staging.stage("h", [queue.message("a"), queue.message("b")])
        left = staging.unstage("q", "h", limit=1)

        unstage(queue.broker, "q", "h", canceled=True)

        assert left == 1
        assert [item.verdict for item in queue.take()] == [Verdict.CANCELED, None]

    # -- bounds ------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("canceled", [False, True])
    def test_an_unstage_lets_no_more_go_than_it_was_told_to(
        self, queue: DrivenQueue, staging: Staging, canceled: bool
    ) -> None:
        """No call may hold the store up; each says how many are left, and all that were staged go in the end."""
        staging.stage("h", [queue.message(f"t{number}") for number in range(7)])

        left = [staging.unstage("q", "h", canceled=canceled, limit=2)]
        assert queue.counts().held == left[0] >= 5
        left += unstage(queue.broker, "q", "h", canceled=canceled, limit=2)

        assert left == sorted(left, reverse=True)
        assert left[-1] == 0
        assert [max(a - b for a, b in zip([7, *left], left, strict=False))] == [2]
        assert names(queue.take()) == [f"t{number}" for number in range(7)]

    def test_many_can_be_held(self, queue: DrivenQueue, staging: Staging) -> None:
        """A group of thousands is staged in batches of any size."""
        uuids = [f"t{number}" for number in range(1_300)]
        assert staging.stage("h", [queue.message(uuid) for uuid in uuids]) == [True] * 1_300
        assert staging.stage("h", []) == []

        unstage(queue.broker, "q", "h", limit=1_300)

        assert sorted(names(queue.take(2_000))) == sorted(uuids)

    # -- time --------------------------------------------------------------------------------------------------------

    def test_a_delay_counts_from_the_staging(self, queue: DrivenQueue, staging: Staging, clock: ManualClock) -> None:
        """How long the rest took to arrive is no business of the task; nor is it older or younger for it."""
        start = clock.now()
        batch = [queue.message("soon", delay=2 * SECOND), queue.message("due", due=start + 3 * SECOND)]
        staging.stage("h", [*batch, queue.message("later", delay=4 * SECOND), queue.message("now")])
        clock.advance(2 * SECOND)

        unstage(queue.broker, "q", "h")

        taken = queue.take()
        assert sorted(names(taken)) == ["now", "soon"]
        assert all(abs(item.enqueued_at - start) < MILLISECOND for item in taken)
        assert queue.counts() == QueueCounts(leased=2, delayed=2)
        clock.advance(SECOND)
        assert names(queue.take()) == ["due"]
        clock.advance(SECOND - MILLISECOND)
        assert queue.take() == []
        clock.advance(MILLISECOND)
        assert names(queue.take()) == ["later"]

    def test_what_is_let_go_late_is_due_at_once(self, queue: DrivenQueue, staging: Staging, clock: ManualClock) -> None:
        """Its time has come while it was held."""
        start = clock.now()
        staging.stage("h", [queue.message("a", delay=SECOND)])
        clock.advance(10 * SECOND)

        unstage(queue.broker, "q", "h")

        assert queue.standing("a") in (Standing.PENDING, Standing.DELAYED)
        delivery = queue.take_one()
        assert delivery.due_at is not None
        assert abs(delivery.due_at - (start + SECOND)) <= MILLISECOND

    # -- ending ------------------------------------------------------------------------------------------------------

    def test_a_canceled_hold_is_ended_and_not_run(
        self, queue: DrivenQueue, staging: Staging, clock: ManualClock
    ) -> None:
        """Its sender died: each of its messages is leased once more, to be recorded as cancelled."""
        staging.stage("h", [queue.message("a"), queue.message("b", delay=SECOND)])

        unstage(queue.broker, "q", "h", canceled=True)
        assert staging.unstage("q", "h") == 0

        assert queue.counts() == QueueCounts(ending=2)
        assert queue.cancel("a", "b") == [Canceling.CANCELED] * 2
        taken = queue.take(verdicts_only=True)
        assert [(item.uuid, item.verdict) for item in taken] == [("a", Verdict.CANCELED), ("b", Verdict.CANCELED)]
        queue.settle_all(taken)
        clock.advance(SECOND)
        assert queue.take() == []

    @pytest.mark.parametrize("canceled", [False, True])
    def test_what_is_held_can_be_canceled(self, queue: DrivenQueue, staging: Staging, canceled: bool) -> None:
        """CANCELED is a promise: it does not start when the others are let go. Repeated: the same answer."""
        staging.stage("h", [queue.message("a"), queue.message("b")])

        assert queue.cancel("a") == [Canceling.CANCELED]
        assert queue.cancel("a") == [Canceling.CANCELED]

        assert (queue.standing("a"), queue.counts()) == (Standing.ENDING, QueueCounts(held=1, ending=1))
        assert staging.stage("h", [queue.message("a")]) == [False]
        unstage(queue.broker, "q", "h", canceled=canceled)
        verdicts = {item.uuid: item.verdict for item in queue.take()}
        assert verdicts == {"a": Verdict.CANCELED, "b": Verdict.CANCELED if canceled else None}

    def test_a_hold_whose_last_message_was_canceled_is_empty(
        self, queue: DrivenQueue, staging: Staging, clock: ManualClock
    ) -> None:
        """No sweeper finds it again and again."""
        staging.stage("h", [queue.message("a")])
        queue.cancel("a")

        assert staging.staged("q", NOTHING) == []
        assert staging.unstage("q", "h") == 0

    # -- the sweeper's view ------------------------------------------------------------------------------------------

    def test_holds_that_nobody_lets_go_are_found(
        self, queue: DrivenQueue, staging: Staging, clock: ManualClock
    ) -> None:
        """Their sender died. Oldest first, old enough, not more than asked for; age counts from the first message."""
        for hold in ("h1", "h2", "h3"):
            staging.stage(hold, [queue.message(hold, delay=None if hold == "h1" else 5 * SECOND)])
            clock.advance(10 * SECOND)
        staging.stage("h1", [queue.message("late")])
        staging.stage("elsewhere", [queue.at("other").message("x")])

        assert staging.staged("q", NOTHING) == ["h1", "h2", "h3"]
        assert staging.staged("q", 20 * SECOND) == ["h1", "h2"]
        assert staging.staged("q", 20 * SECOND, 1) == ["h1"]
        assert staging.staged("q", 30 * SECOND + MILLISECOND) == []
        assert staging.staged("other", NOTHING) == ["elsewhere"]
        assert staging.staged("nowhere", NOTHING) == []

    def test_a_hold_is_found_until_all_of_it_is_gone(
        self, queue: DrivenQueue, staging: Staging, clock: ManualClock
    ) -> None:
        """Whoever lets it go may die on the way. Used again, a hold begins anew."""
        staging.stage("h", [queue.message("a"), queue.message("b")])
        clock.advance(SECOND)

        staging.unstage("q", "h", limit=1)
        assert staging.staged("q", SECOND) == ["h"]
        staging.unstage("q", "h", limit=1)
        assert staging.staged("q", NOTHING) == []

        staging.stage("h", [queue.message("c")])
        assert staging.staged("q", SECOND) == []
        assert staging.staged("q", NOTHING) == ["h"]

    # -- many at once ------------------------------------------------------------------------------------------------

    def test_calls_at_the_same_time_let_each_message_go_once(self, clock: ManualClock) -> None:
        """Its sender and sweepers, cancels in between: none is lost, none is doubled, none that was ended starts."""
        first = DrivenQueue(self.make(clock), clock)
        uuids = [f"t{number}" for number in range(300)]
        chosen = random.Random(1).sample(uuids, 60)

        def stage(mine: list[str]) -> list[object]:
            broker = self.make(clock)
            for start in range(0, len(mine), 20):
                broker.stage("h", [first.message(uuid) for uuid in mine[start : start + 20]])
            return []

        def let_go() -> list[object]:
            broker = self.make(clock)
            for _ in range(40):
                broker.unstage("q", "h", limit=7)
            return []

        def cancel() -> list[object]:
            queue = DrivenQueue(self.make(clock), clock)
            return [(uuid, queue.cancel(uuid)[0]) for uuid in chosen]

        def work(name: str) -> list[object]:
            queue = DrivenQueue(self.make(clock), clock)
            taken = [item for _ in range(40) for item in queue.lease(5, worker=name).deliveries]
            return [(item.uuid, item.verdict) for item in taken]

        *_, canceled, one, two = at_once(
            partial(stage, uuids), partial(stage, uuids[::-1]), let_go, let_go, cancel, partial(work, "w1"),
            partial(work, "w2"),
        )  # fmt: skip
        unstage(first.broker, "q", "h")
        rest = [(item.uuid, item.verdict) for item in first.take(1_000, worker="rest")]

        delivered = cast(list[tuple[str, Verdict | None]], [*one, *two, *rest])
        assert sorted(uuid for uuid, _ in delivered) == sorted(uuids)
        started = {uuid for uuid, verdict in delivered if verdict is None}
        answers = dict(cast(list[tuple[str, Canceling]], canceled))
        for uuid, answer in answers.items():
            assert answer is not Canceling.CANCELED or uuid not in started
            assert answer is not Canceling.RUNNING or uuid in started
        assert {uuid for uuid, verdict in delivered if verdict} == {
            uuid for uuid, answer in answers.items() if answer is Canceling.CANCELED
        }


class UnstageWakeLaws(WakeLaws):
    """Waiting for what is let go."""

    @pytest.mark.parametrize("canceled", [False, True])
    def test_what_is_let_go_wakes_who_waits(
        self, live_queue: DrivenQueue, waiting: Callable[..., tuple[Waiter, Future[None]]], canceled: bool
    ) -> None:
        """A group's first member starts at once; an end is recorded at once."""
        live_queue.broker.stage("h", [live_queue.message("a")])
        _, future = waiting()

        live_queue.broker.unstage("q", "h", canceled=canceled)

        future.result(PATIENCE)
        assert names(live_queue.take()) == ["a"]
