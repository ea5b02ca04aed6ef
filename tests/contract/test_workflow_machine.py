"""The same steps of workflows on memory and on real Redis: the same answers, and the same things stored.

As `test_machine`, for what is held back, for shared codes, and for plans.
"""

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from tests.contract.test_machine import (
    EXAMPLES,
    LEASE,
    QUEUES,
    STEPS,
    BrokerMachine,
    Machine,
    messages,
    milliseconds,
    queues,
    repeats,
    workers,
)
from vecna.domain.plan import plan
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chain, Chord, Group
from vecna.ports.plans import Report
from vecna.ports.values import Settlement

CODES = ("c1", "c2")
HOLDS = ("h1", "h2")

codes = st.sampled_from(CODES)
holds = st.sampled_from(HOLDS)


@st.composite
def coded(draw, now):
    return attrs.evolve(draw(messages(now)), code=draw(st.sampled_from(["", *CODES])))


class HoldingMachine(BrokerMachine):
    """Messages that are held back and that share codes, besides all that happens to messages anyway."""

    def batch(self, data, size):
        return data.draw(st.lists(coded(self.clock.now()), min_size=size, max_size=size))

    @rule(data=st.data(), size=st.integers(1, 5), repeat=repeats)
    def enqueue_coded(self, data, size, repeat):
        self.both("broker", "enqueue", self.batch(data, size), repeat=repeat)

    @rule(data=st.data(), size=st.integers(1, 5), hold=holds, repeat=repeats)
    def stage(self, data, size, hold, repeat):
        self.both("broker", "stage", hold, self.batch(data, size), repeat=repeat)

    @rule(
        queue=queues,
        hold=holds,
        canceled=st.sampled_from([False, False, True]),
        limit=st.sampled_from([0, 1, 2, 500, 2_000]),
        repeat=repeats,
    )
    def unstage(self, queue, hold, canceled, limit, repeat):
        self.both("broker", "unstage", queue, hold, canceled=canceled, limit=limit, repeat=repeat)

    @rule(queue=queues, age=milliseconds(0, 1, 999, 5_000, 30_000), limit=st.sampled_from([0, 1, 5]))
    def staged(self, queue, age, limit):
        ours, theirs = (adapters.broker.staged(queue, age, limit) for adapters in (self.ours, self.theirs))
        assert len(ours) == len(theirs)
        if limit > len(HOLDS):  # which of equally old ones comes first is nobody's promise
            assert sorted(ours) == sorted(theirs)

    @precondition(BrokerMachine.held)
    @rule(data=st.data(), causes=st.integers(1, 3), repeat=repeats)
    def settle_coded(self, data, causes, repeat):
        delivery = self.pick(0)
        settlement = Settlement(delivery.uuid, delivery.token, follow_ups=tuple(self.batch(data, causes)))
        self.settle_both(delivery.queue, [settlement], repeat)

    @rule(queue=queues, code=codes, worker=workers, repeat=repeats)
    def cancel_code(self, queue, code, worker, repeat):
        for _ in range(repeat):
            assert self.walk(self.ours.broker, queue, code) == self.walk(self.theirs.broker, queue, code)
        # Pages come in an order of the store's own, and so do the ends: they are taken all at once.
        call = self.calls[queue, worker] = self.calls[queue, worker] + 1
        options = {"worker": worker, "call": call, "duration": LEASE, "max_deliveries": 5, "verdicts_only": True}
        ours, theirs = (adapters.broker.lease(queue, 100, **options) for adapters in (self.ours, self.theirs))
        assert attrs.evolve(ours, deliveries=()) == attrs.evolve(theirs, deliveries=())
        deliveries = sorted(ours.deliveries, key=lambda delivery: delivery.uuid)
        assert deliveries == sorted(theirs.deliveries, key=lambda delivery: delivery.uuid)
        self.both("broker", "settle", queue, [Settlement(delivery.uuid, ours.token) for delivery in deliveries])

    @staticmethod
    def walk(broker, queue, code):
        """All that the pages of a cancel by code say."""
        canceled, running, cursor = set(), set(), ""
        while True:
            page = broker.cancel_code(queue, code, cursor)
            canceled.update(page.canceled)
            running.update(page.running)
            cursor = page.cursor
            if not cursor:
                return canceled, running

    def teardown(self):
        for queue in QUEUES:
            for code in CODES:
                self.cancel_code(queue, code, "w1", 1)
        super().teardown()


def links(depth):
    """A signature, or a small workflow."""
    signatures: st.SearchStrategy = st.builds(Signature, st.just("task"))
    if not depth:
        return signatures
    inner = links(depth - 1)
    groups = st.lists(inner, min_size=1, max_size=3).map(lambda members: Group(*members))
    return st.one_of(
        signatures,
        groups,
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: Chain(*parts)),
        st.builds(Chord, groups, inner),
    )


class PlanMachine(Machine):
    """Plans of small workflows, reported to, released and stored again in any order."""

    @initialize(
        workflows=st.lists(links(2).filter(lambda link: not isinstance(link, Signature)), min_size=1, max_size=3)
    )
    def prepare(self, workflows):
        self.plans = [plan(workflow) for workflow in workflows]
        self.nodes = [node for each in self.plans for node in each.nodes]

    def pick(self, number):
        return self.plans[number % len(self.plans)]

    @rule(number=st.integers(0, 2), repeat=repeats)
    def store(self, number, repeat):
        self.both("backend", "store_plan", self.pick(number), repeat=repeat)

    @rule(number=st.integers(0, 2), repeat=repeats)
    def commit(self, number, repeat):
        self.both("backend", "commit_plan", self.pick(number).root, repeat=repeat)

    @rule(
        chosen=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=6),
        canceled=st.booleans(),
        repeat=repeats,
    )
    def report(self, chosen, canceled, repeat):
        reports = []
        for number, index, luck in chosen:
            node = self.nodes[number % len(self.nodes)].uuid
            reports.append(
                Report(node, index, succeeded=True)
                if luck
                else Report(node, index, succeeded=False, canceled=canceled, reason=f"ö {number} {index}")
            )
        self.both("backend", "report", reports, repeat=repeat)

    @rule(number=st.integers(0, 2), keep=milliseconds(-1, 0, 1, 1_000, 30_000), repeat=repeats)
    def release(self, number, keep, repeat):
        self.both("backend", "release_plan", self.pick(number).root, keep, repeat=repeat)

    @rule(number=st.integers(0, 40))
    def release_what_is_no_root(self, number):
        node = self.nodes[number % len(self.nodes)]
        if node.uuid != node.root:
            self.both("backend", "commit_plan", "nobody")
            self.both("backend", "release_plan", "nobody", LEASE)

    @rule(age=milliseconds(0, 1, 999, 5_000), limit=st.sampled_from([0, 1, 9]))
    def uncommitted(self, age, limit):
        ours, theirs = (adapters.backend.uncommitted(age, limit) for adapters in (self.ours, self.theirs))
        assert len(ours) == len(theirs)
        if limit > len(self.plans):
            assert sorted(ours) == sorted(theirs)

    @rule(number=st.integers(0, 40), every=st.booleans(), offset=st.integers(0, 4), limit=st.integers(0, 9))
    def get_tasks(self, number, every, offset, limit):
        node = self.nodes[number % len(self.nodes)].uuid
        self.both("backend", "get_tasks", node, every=every, offset=offset, limit=limit)

    @rule(number=st.integers(0, 40), index=st.integers(0, 4))
    def get_step(self, number, index):
        self.both("backend", "get_step", self.nodes[number % len(self.nodes)].uuid, index)

    @invariant()
    def the_same_is_stored(self):
        if hasattr(self, "nodes"):
            self.both("backend", "get_nodes", ["nobody", *[node.uuid for node in self.nodes]])


@pytest.mark.timeout(0)  # a difference takes its time to be made small
@pytest.mark.parametrize("machine", [HoldingMachine, PlanMachine])
def test_memory_and_redis_do_the_same(machine, any_redis_url):
    run_state_machine_as_test(
        lambda: machine(any_redis_url),  # type: ignore[arg-type]  # any factory will do
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
