"""Laws of stopping by code while others work."""

from __future__ import annotations

import itertools
import threading
from functools import partial

from vecna.adapters.clock import ManualClock
from vecna.ports.broker import Broker
from vecna.ports.values import Answer, Delivery, SettleAs, Verdict
from vecna.testing.contracts.code_cancelling import CodeCancelCase, cancel_code
from vecna.testing.contracts.driven import DrivenQueue, at_once
from vecna.testing.contracts.values import LEASE, NOTHING, SECOND

_MESSAGES = 240
_CHAINS = 60
_QUEUES = ("q", "other")


class CodeRaceLaws(CodeCancelCase):
    """What holds however a cancel and the work of others fall together."""

    def test_a_cancel_by_code_and_a_lease_agree(self, clock: ManualClock) -> None:
        """Canceled: no worker gets it to run. Running: one has it. Whoever of the two was first."""
        sender = DrivenQueue(self.make(clock), clock)
        uuids = [f"t{number}" for number in range(_MESSAGES)]
        sender.send(*uuids[::2], code="c")
        sender.send(*uuids[1::2], code="c", delay=LEASE / 10)
        clock.advance(LEASE / 10)  # half of them are promoted in the race
        started: set[str] = set()
        ended: set[str] = set()

        def work(name: str) -> tuple[list[str], list[str]]:
            queue = DrivenQueue(self.make(clock), clock)
            while taken := queue.lease(3, worker=name).deliveries:
                started.update(item.uuid for item in taken if item.verdict is None)
                ended.update(item.uuid for item in taken if item.verdict is Verdict.CANCELED)
            return [], []

        def cancel() -> tuple[list[str], list[str]]:
            return cancel_code(DrivenQueue(self.make(clock), clock), "c")

        first, second, *_ = at_once(cancel, cancel, partial(work, "w1"), partial(work, "w2"))
        ended.update(item.uuid for item in sender.take(1_000, worker="rest"))

        assert not started & ended
        assert started | ended == set(uuids)
        for canceled, running in (first, second):
            assert set(canceled) == ended
            assert set(running) == started

    def test_what_was_cancelled_by_code_does_not_start_again(self, clock: ManualClock) -> None:
        """Workers give back, repeat and lose what they have, over and over, while it is let go and cancelled.

        After a cancel has found a message, no lease call gives it to anybody to run.
        """
        sender = DrivenQueue(self.make(clock), clock)
        uuids = [f"t{number}" for number in range(_MESSAGES)]
        sender.send(*uuids[::2], code="c")
        sender.broker.stage("h", [sender.message(uuid, code="c") for uuid in uuids[1::2]])
        moments = itertools.count()
        told_at: dict[str, int] = {}
        runs: list[tuple[int, str]] = []
        ended: set[str] = set()
        over = threading.Event()

        def work(name: str, settle: SettleAs | None) -> None:
            queue = DrivenQueue(self.make(clock), clock)
            while not over.is_set():
                begun = next(moments)
                taken = queue.lease(5, worker=name, max_deliveries=10**6).deliveries
                runs.extend((begun, item.uuid) for item in taken if item.verdict is None)
                ending = [item for item in taken if item.verdict is not None]
                for item, answer in zip(ending, queue.settle_all(ending), strict=True):
                    if answer is Answer.OK:
                        ended.add(item.uuid)
                if settle is not None:
                    queue.settle_all([item for item in taken if item.verdict is None], settle, delay=NOTHING)

        def cancel() -> None:
            queue = DrivenQueue(self.make(clock), clock)
            try:
                cursor = ""
                while len(ended) < len(uuids):
                    page = queue.broker.cancel_code("q", "c", cursor)
                    found = next(moments)
                    for uuid in (*page.canceled, *page.running):
                        told_at.setdefault(uuid, found)
                    cursor = page.cursor
            finally:
                over.set()

        def let_go() -> None:
            broker = self.make(clock)
            while broker.unstage("q", "h", limit=3):
                pass

        def pass_time() -> None:
            queue = DrivenQueue(self.make(clock), clock)
            while not over.is_set():
                queue.pass_time(LEASE / 4)

        at_once(
            cancel,
            let_go,
            pass_time,
            partial(work, "returns", SettleAs.RETURN),
            partial(work, "repeats", SettleAs.RETRY),
            partial(work, "loses", None),
        )

        assert ended == set(told_at) == set(uuids)
        assert [uuid for begun, uuid in runs if begun > told_at[uuid]] == []
        assert sender.take(1_000, worker="rest") == []

    def test_a_cancel_by_code_overtakes_what_follows(self, clock: ManualClock) -> None:
        """Chains go to and fro between two queues, in many hands, while they are cancelled round by round.

        Once a cancel has begun, what a link causes is enqueued with a delay: else it could pass the walk for ever.
        After three rounds that have found nothing new, no link starts any more; what was canceled never has.
        """
        broker = self.make(clock)
        DrivenQueue(broker, clock).send(*[f"t{number}:0" for number in range(_CHAINS)], code="c")
        chains = _Chains()

        def work(name: str) -> tuple[set[str], set[str]]:
            chains.work(self.make(clock), clock, name)
            return set(), set()

        def cancel() -> tuple[set[str], set[str]]:
            chains.stopping.set()
            try:
                return _cancel_in_rounds(self.make(clock), clock)
            finally:
                chains.told.set()

        (canceled, running), *_ = at_once(cancel, partial(work, "w1"), partial(work, "w2"))

        assert chains.late == []
        assert running <= chains.started
        assert not (canceled - running) & chains.started
        assert len({uuid.partition(":")[0] for uuid in canceled | running}) == _CHAINS
        for name in _QUEUES:
            assert DrivenQueue(broker, clock, name).take(worker="rest") == []


class _Chains:
    """Workers at endless chains."""

    def __init__(self) -> None:
        self.started: set[str] = set()
        self.late: list[str] = []  # what started after the cancel was over
        self.stopping = threading.Event()
        self.told = threading.Event()

    def work(self, broker: Broker, clock: ManualClock, worker: str) -> None:
        """Until nothing of them is left after the cancel."""
        here, there = (DrivenQueue(broker, clock, name) for name in _QUEUES)
        idle = 0
        while idle < 2 and not self.late:
            after = self.told.is_set()
            taken = here.lease(4, worker=worker).deliveries
            for item in taken:
                if item.verdict is None:
                    self.started.add(item.uuid)
                    if after:
                        self.late.append(item.uuid)
                self._settle(item, here, there)
            broker.relay(here.name)
            here, there = there, here
            idle = idle + 1 if after and not taken else 0

    def _settle(self, item: Delivery, here: DrivenQueue, there: DrivenQueue) -> None:
        chain, _, link = item.uuid.partition(":")
        delay = SECOND if self.stopping.is_set() else None
        following = (there.message(f"{chain}:{int(link) + 1}", code="c", delay=delay),)
        answer = here.settle(item, follow_ups=() if item.verdict else following)
        if answer is Answer.FLAGGED:
            answer = here.settle(item)
        assert answer is Answer.OK


def _cancel_in_rounds(broker: Broker, clock: ManualClock) -> tuple[set[str], set[str]]:
    """As a canceller does it: relay and walk, there and back, until there is nothing new three times in a row."""
    canceled: set[str] = set()
    running: set[str] = set()
    quiet = number = 0
    while quiet < 3:
        for name in broker.queues():
            while broker.relay(name):
                pass
        before = canceled | running
        for name in sorted(broker.queues(), reverse=number % 2 == 1):
            never, now = cancel_code(DrivenQueue(broker, clock, name), "c")
            canceled.update(never)
            running.update(now)
        quiet = quiet + 1 if before and canceled | running == before else 0
        number += 1
    return canceled, running
