"""Laws of stopping all that shares a code."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.errors import InvalidArgument
from vecna.ports.broker import Waiter
from vecna.ports.values import Answer, QueueCounts, SettleAs, Standing, Verdict
from vecna.testing.contracts.driven import BrokerCase, DrivenQueue, names
from vecna.testing.contracts.staging import unstage
from vecna.testing.contracts.values import HOSTILE, LEASE, PATIENCE, SECOND
from vecna.testing.contracts.waking import WakeLaws

#: No page may hold the store up; an adapter may cut smaller ones.
LARGEST_PAGE = 1_000
MANY = 1_234


def cancel_code(queue: DrivenQueue, code: str) -> tuple[list[str], list[str]]:
    """All pages of one walk, sorted: what will never start, and what runs."""
    canceled: list[str] = []
    running: list[str] = []
    cursor = ""
    while True:
        page = queue.broker.cancel_code(queue.name, code, cursor)
        assert len(page.canceled) + len(page.running) <= LARGEST_PAGE
        canceled += page.canceled
        running += page.running
        if not page.cursor:
            assert len(set(canceled + running)) == len(canceled + running), "an id came twice in one walk"
            return sorted(canceled), sorted(running)
        assert page.cursor != cursor, "the walk stands still"
        cursor = page.cursor


class CodeCancelCase(BrokerCase):
    """What the laws of cancelling by code have in common."""

    @pytest.fixture
    def stop(self, queue: DrivenQueue) -> Callable[..., tuple[list[str], list[str]]]:
        """Walk through all pages of a code, of one queue."""
        return lambda code="c", name="q": cancel_code(queue.at(name), code)


Stop = Callable[..., tuple[list[str], list[str]]]


class CodeCancelLaws(CodeCancelCase):
    """`CodeCancelling.cancel_code`."""

    # -- what is found -----------------------------------------------------------------------------------------------

    def test_what_waits_under_a_code_never_starts(self, queue: DrivenQueue, stop: Stop, clock: ManualClock) -> None:
        """Pending, delayed, between two attempts, held: each is leased once more, to be recorded as cancelled."""
        queue.send("retry", code="c")
        queue.settle(queue.take_one(), SettleAs.RETRY, delay=SECOND)
        queue.send("pending", code="c", priority=3)
        queue.send("delayed", code="c", delay=SECOND)
        queue.broker.stage("h", [queue.message("held", code="c")])

        assert stop() == (["delayed", "held", "pending", "retry"], [])

        assert queue.counts() == QueueCounts(ending=4)
        clock.advance(10 * SECOND)
        taken = queue.take()
        assert {item.uuid: item.verdict for item in taken} == dict.fromkeys(
            ("delayed", "held", "pending", "retry"), Verdict.CANCELED
        )
        assert queue.settle_all(taken) == [Answer.OK] * 4
        assert queue.broker.unstage("q", "h") == 0
        clock.advance(10 * SECOND)
        assert queue.take() == []
        assert queue.counts() == QueueCounts()

    def test_what_is_leased_under_a_code_is_flagged(self, queue: DrivenQueue, stop: Stop) -> None:
        """Its worker hears of it with the next heartbeat, and nothing more comes of it."""
        queue.send("a", "b", code="c")
        lease = queue.lease(1)

        assert stop() == (["b"], ["a"])

        assert [item.canceled for item in queue.extend(lease.token)] == [("a",)]
        (delivery,) = lease.deliveries
        assert queue.settle(delivery, follow_ups=(queue.message("next", code="c"),)) is Answer.FLAGGED
        assert queue.settle(delivery, SettleAs.RETRY) is Answer.OK
        assert queue.standing("a") is Standing.ENDING

    def test_a_repeated_walk_finds_the_same(self, queue: DrivenQueue, stop: Stop) -> None:
        """The reply was lost, or it is the next round: as long as it is ENDING or leased it is found, once."""
        queue.send("leased", "pending", code="c")
        delivery = queue.take_one(worker="w1")
        for _ in range(3):
            assert stop() == (["pending"], ["leased"])
        assert queue.counts() == QueueCounts(leased=1, ending=1)

        ending = queue.take_one(worker="w2")
        assert stop() == (["pending"], ["leased"])
        queue.settle(ending)
        assert stop() == ([], ["leased"])
        queue.settle(delivery, SettleAs.RETURN)
        assert stop() == (["leased"], [])

    def test_what_was_cancelled_by_its_id_is_found_by_its_code(self, queue: DrivenQueue, stop: Stop) -> None:
        """It is one and the same: it will never start."""
        queue.send("a", "b", code="c")
        queue.cancel("a")

        assert stop() == (["a", "b"], [])
        assert queue.counts() == QueueCounts(ending=2)

    def test_a_dead_letter_is_left_alone(self, queue: DrivenQueue, stop: Stop) -> None:
        """It has ended: there is nothing to stop."""
        queue.send("a", code="c")
        queue.settle(queue.take_one(), SettleAs.DEAD)

        assert stop() == ([], [])
        assert queue.standing("a") is Standing.DEAD

    # -- only that ---------------------------------------------------------------------------------------------------

    def test_only_that_code_in_only_that_queue_is_stopped(self, queue: DrivenQueue, stop: Stop) -> None:
        """Not one that begins the same, nor what has none; the other queues have calls of their own."""
        queue.send("other", code="c2")
        queue.send("shorter", code="co")
        queue.send("none")
        queue.at("q2").send("there", code="code")
        queue.send("here", code="code")

        assert stop("code") == (["here"], [])

        assert queue.counts() == QueueCounts(pending=3, ending=1)
        assert queue.at("q2").counts() == QueueCounts(pending=1)
        assert stop("code", "q2") == (["there"], [])

    def test_an_unknown_code_is_no_error(self, queue: DrivenQueue, stop: Stop) -> None:
        """A canceller asks every queue; most have nothing."""
        assert stop() == ([], [])
        queue.send("a")
        assert stop() == ([], [])
        assert stop("a") == ([], [])  # its own id is no code that it shares
        assert stop("c", "nowhere") == ([], [])
        assert queue.counts() == QueueCounts(pending=1)

    def test_the_first_message_of_an_id_says_its_code(self, queue: DrivenQueue, stop: Stop) -> None:
        """What is not accepted changes nothing, its code least of all."""
        queue.send("a", code="first")
        queue.send("a", code="second")
        queue.send("a")

        assert stop("second") == ([], [])
        assert stop("first") == (["a"], [])

    def test_nothing_is_left_of_a_code_when_its_messages_are_done(self, queue: DrivenQueue, stop: Stop) -> None:
        """An id that comes again under another code, or none, is not caught by the old one."""
        queue.send("a", "b", "d", code="c")
        queue.settle_all(queue.take())
        assert stop() == ([], [])

        queue.send("a", code="c9")
        queue.send("b")
        assert stop() == ([], [])
        assert queue.counts() == QueueCounts(pending=2)
        assert stop("c9") == (["a"], [])

    def test_a_code_can_be_used_again(self, queue: DrivenQueue, stop: Stop) -> None:
        """A cancel covers what was accepted before it; what comes later under the same code runs."""
        queue.send("a", code="c")
        stop()
        queue.settle_all(queue.take())

        queue.send("a", "b", code="c")

        assert [(item.uuid, item.verdict) for item in queue.take()] == [("a", None), ("b", None)]
        assert stop() == ([], ["a", "b"])

    # -- it travels along --------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("settle", [SettleAs.RETRY, SettleAs.RETURN])
    def test_what_comes_back_keeps_its_code(self, queue: DrivenQueue, stop: Stop, settle: SettleAs) -> None:
        """However often it was leased."""
        queue.send("a", code="c")
        for _ in range(3):
            queue.settle(queue.take_one(), settle)

        assert stop() == (["a"], [])

    def test_what_its_worker_has_lost_keeps_its_code(self, queue: DrivenQueue, stop: Stop) -> None:
        """A crash changes nothing about what it can be cancelled by; who held it may run it still."""
        queue.send("a", code="c")
        queue.take_one(worker="w1")
        queue.pass_time(LEASE + SECOND)
        queue.lease(0)

        assert stop() == ([], ["a"])

    def test_a_flag_by_code_outlives_the_lease(self, queue: DrivenQueue, stop: Stop) -> None:
        """Its worker dies before it hears: the next one is told to end it."""
        queue.send("a", code="c")
        queue.take_one(worker="w1")
        assert stop() == ([], ["a"])

        queue.pass_time(LEASE + SECOND)

        assert [item.verdict for item in queue.take(worker="w2")] == [Verdict.CANCELED]

    @pytest.mark.parametrize("target", ["q", "other"])
    def test_follow_ups_bring_their_code(self, queue: DrivenQueue, stop: Stop, target: str, clock: ManualClock) -> None:
        """A chain is stopped wherever it stands; each message has the code that it came with."""
        goal = queue.at(target)
        queue.send("a", code="c")
        queue.settle(
            queue.take_one(),
            follow_ups=(goal.message("b", code="c"), goal.message("d", code="c2"), goal.message("e", delay=SECOND)),
        )
        queue.relay()

        assert stop("c", target) == (["b"], [])
        assert stop("c2", target) == (["d"], [])
        assert goal.counts() == QueueCounts(delayed=1, ending=2)

    def test_what_was_let_go_keeps_its_code(self, queue: DrivenQueue, stop: Stop) -> None:
        """It came as one of many; it can still be stopped as one of them."""
        queue.broker.stage("h", [queue.message("a", code="c"), queue.message("b", code="c")])
        unstage(queue.broker, "q", "h")

        assert stop() == (["a", "b"], [])

    # -- pages -------------------------------------------------------------------------------------------------------

    def test_many_are_stopped_page_by_page(self, queue: DrivenQueue, stop: Stop, clock: ManualClock) -> None:
        """A walk finds all that is there, in steps that hold nobody up."""
        uuids = [f"t{number}" for number in range(MANY)]
        queue.send(*uuids[: MANY // 2], code="c")
        queue.send(*uuids[MANY // 2 :], code="c", delay=SECOND)
        queue.send(*[f"other{number}" for number in range(100)], code="c2")
        running = names(queue.take(200))

        canceled, flagged = stop()

        assert flagged == sorted(running)
        assert canceled == sorted(set(uuids) - set(running))
        assert queue.counts() == QueueCounts(pending=100, leased=200, ending=MANY - 200)

    def test_what_is_ended_between_two_pages_hides_no_other(self, queue: DrivenQueue) -> None:
        """The canceller records the ends while it walks on: a page begins where the one before has ended."""
        uuids = {f"t{number}" for number in range(MANY)}
        queue.send(*sorted(uuids), code="c")
        found: set[str] = set()
        cursor = ""
        while True:
            page = queue.broker.cancel_code("q", "c", cursor)
            found.update(page.canceled)
            queue.settle_all(queue.take(LARGEST_PAGE, verdicts_only=True))
            cursor = page.cursor
            if not cursor:
                break

        assert found == uuids
        assert queue.counts() == QueueCounts()

    def test_a_repeated_page_is_the_same_page(self, queue: DrivenQueue) -> None:
        """A lost reply in the middle of a walk."""
        queue.send(*[f"t{number}" for number in range(MANY)], code="c")
        first = queue.broker.cancel_code("q", "c")
        second = queue.broker.cancel_code("q", "c", first.cursor)

        again = [queue.broker.cancel_code("q", "c", cursor) for cursor in ("", first.cursor)]

        assert [set(page.canceled) for page in again] == [set(first.canceled), set(second.canceled)]

    # -- refusals ----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_a_code_outside_the_rule_is_refused(self, queue: DrivenQueue, hostile: str) -> None:
        """Before anything is stopped; and no message comes in under such a code."""
        queue.send("a", code="c")
        with pytest.raises(InvalidArgument):
            queue.broker.cancel_code(hostile, "c")
        with pytest.raises(InvalidArgument):
            queue.broker.cancel_code("q", hostile)
        if hostile:
            with pytest.raises(InvalidArgument):
                queue.send("b", code=hostile)

        assert queue.counts() == QueueCounts(pending=1)


class CodeCancelWakeLaws(WakeLaws):
    """Waiting for what is ended by its code."""

    def test_what_was_cancelled_by_code_wakes_who_waits(
        self, live_queue: DrivenQueue, waiting: Callable[..., tuple[Waiter, Future[None]]]
    ) -> None:
        """Its end is to be recorded at once: somebody may await it."""
        live_queue.send("a", code="c", delay=1000 * SECOND)
        live_queue.lease()
        _, future = waiting()

        cancel_code(live_queue, "c")

        future.result(PATIENCE)
        assert [item.verdict for item in live_queue.take()] == [Verdict.CANCELED]
