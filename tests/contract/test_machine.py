"""The same steps on memory and on real Redis: the same answers, and the same things stored.

Bounded so that a run of all tests stays short; VECNA_MACHINE_EXAMPLES=2000 looks further.
"""

import datetime as dt
import itertools
import os

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from vecna.adapters import memory, redis
from vecna.adapters.clock import ManualClock
from vecna.app.config import RedisConfig
from vecna.domain.arg import TaskResult
from vecna.domain.decide import Attempts
from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.domain.state import State, TaskState
from vecna.ports.values import SettleAs, Settlement

EXAMPLES = int(os.environ.get("VECNA_MACHINE_EXAMPLES", "20"))
STEPS = 40

QUEUES = ("q1", "q2")
UUIDS = tuple(f"t{number}" for number in range(8))
WORKERS = ("w1", "w2")
LEASE = dt.timedelta(seconds=30)
DEAD_LETTERS = 3

_namespaces = itertools.count()


@attrs.frozen
class Settings:
    namespace: str
    dead_letter_limit: int = DEAD_LETTERS
    send_timeout: float = 10
    redis: RedisConfig = attrs.field(factory=RedisConfig)


def milliseconds(*values):
    """Durations as drawn from these, in milliseconds: the finest that all stores know."""
    return st.sampled_from([dt.timedelta(milliseconds=value) for value in values])


uuids = st.sampled_from(UUIDS)
queues = st.sampled_from(["q1", "q1", "q2"])
workers = st.sampled_from(WORKERS)
holds = st.sampled_from(["h1", "h2"])
repeats = st.sampled_from([1, 1, 1, 2])  # 2: the reply of the first call was lost
delays = milliseconds(0, 1, 999, 1_000, 5_000, 30_000)
numbers = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 5, 8, -1, -2])  # of deliveries: the newest, older ones, the oldest
attempts = st.builds(Attempts, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))


@st.composite
def messages(draw, now):
    uuid = draw(uuids)
    when = draw(st.sampled_from(["now", "now", "delay", "due", "both"]))
    readable = draw(st.sampled_from([True, True, True, False]))
    priority = draw(st.sampled_from([0, 0, 5, 9]))
    return Message(
        uuid,
        draw(queues),
        Signature("task", [draw(st.integers(0, 9))], uuid=uuid).to_json() if readable else b"\x00unreadable\xff",
        priority,
        now + draw(milliseconds(-1_000, 0, 1, 1_000, 20_000)) if when in {"due", "both"} else None,
        draw(delays) if when in {"delay", "both"} else None,
        # One message of a code in a queue: in which order several come to their end is nobody's promise.
        draw(st.sampled_from(["", f"code-{uuid}"])),
    )


class Machine(RuleBasedStateMachine):
    """Sends each step to both stores, and compares what they answer."""

    def __init__(self, url):
        super().__init__()
        self.clock = ManualClock(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
        namespace = f"machine-{os.getpid()}-{next(_namespaces)}"
        self.ours = memory.connect("memory://", Settings(namespace), self.clock)
        self.theirs = redis.connect(url, Settings(namespace), self.clock)

    def teardown(self):
        for adapters in (self.ours, self.theirs):
            adapters.broker.close()
            adapters.backend.close()
            adapters.lock.close()

    def both(self, port, method, *args, repeat=1, **kwargs):
        for _ in range(repeat):
            ours = getattr(getattr(self.ours, port), method)(*args, **kwargs)
            theirs = getattr(getattr(self.theirs, port), method)(*args, **kwargs)
            assert theirs == ours, f"{method}: {theirs} is not {ours}"
        return ours

    @rule(duration=milliseconds(1, 999, 1_000, 5_000, 10_000, 14_999, 15_000, 15_001, 20_000, 30_000, 31_000, 100_000))
    def advance(self, duration):
        self.clock.advance(duration)


class BrokerMachine(Machine):
    def __init__(self, url):
        super().__init__(url)
        self.calls = dict.fromkeys(itertools.product(QUEUES, WORKERS), 2)
        self.deliveries = []  # the latest last, those that were settled first

    def held(self):
        return bool(self.deliveries)

    def pick(self, number):
        return self.deliveries[-1 - number % len(self.deliveries)]

    def settle_both(self, queue, settlements, repeat):
        self.both("broker", "settle", queue, settlements, repeat=repeat)
        done = {(settlement.uuid, settlement.token) for settlement in settlements}
        over = [delivery for delivery in self.deliveries if (delivery.uuid, delivery.token) in done]
        self.deliveries = over[-3:] + [delivery for delivery in self.deliveries if delivery not in over][-12:]

    @rule(data=st.data(), size=st.integers(1, 5), repeat=repeats)
    def enqueue(self, data, size, repeat):
        batch = data.draw(st.lists(messages(self.clock.now()), min_size=size, max_size=size))
        self.both("broker", "enqueue", batch, repeat=repeat)

    @rule(
        queue=queues,
        worker=workers,
        count=st.sampled_from([0, 1, 2, 3, 100]),
        age=st.sampled_from([0, 0, 0, 0, 1, 2]),  # 1: the newest call again, 2: an older one
        duration=st.sampled_from([LEASE, LEASE, LEASE / 3]),
        limit=st.sampled_from([1, 2, 5]),
        verdicts_only=st.sampled_from([False, False, False, True]),
        repeat=repeats,
    )
    def lease(self, queue, worker, count, age, duration, limit, verdicts_only, repeat):
        call = self.calls[queue, worker] + 1 - age
        self.calls[queue, worker] = max(call, self.calls[queue, worker])
        lease = self.both(
            "broker",
            "lease",
            queue,
            count,
            worker=worker,
            call=call,
            duration=duration,
            max_deliveries=limit,
            verdicts_only=verdicts_only,
            repeat=repeat,
        )
        self.deliveries += lease.deliveries

    def busy(self):
        """A queue that has something to lease, if there is one."""
        counts = {queue: self.ours.broker.counts(queue) for queue in QUEUES}
        return next((queue for queue, count in counts.items() if count.pending or count.ending), "")

    @precondition(busy)
    @rule(worker=workers, count=st.sampled_from([1, 2, 100]))
    def take(self, worker, count):
        """The plain form of `lease`, so that there is always something in hands."""
        self.lease(self.busy(), worker, count, 0, LEASE, 2, False, 1)

    @precondition(held)
    @rule(picks=st.lists(numbers, max_size=3), duration=milliseconds(1_000, 30_000), repeat=repeats)
    def extend(self, picks, duration, repeat):
        held = [self.pick(number) for number in picks]
        queue = held[0].queue if held else QUEUES[0]
        tokens = ["7:nobody:1", *[delivery.token for delivery in held]]
        self.both("broker", "extend", queue, tokens, duration, repeat=repeat)

    @precondition(held)
    @rule(number=numbers, limit=st.sampled_from([1, 2, 5]), repeat=repeats)
    def forfeit(self, number, limit, repeat):
        held = self.pick(number)
        self.both("broker", "forfeit", held.queue, ["7:nobody:1", held.token], max_deliveries=limit, repeat=repeat)

    @precondition(held)
    @rule(
        data=st.data(),
        picks=st.lists(st.tuples(numbers, st.sampled_from(SettleAs)), min_size=1, max_size=5),
        causes=st.sampled_from([0, 0, 1, 3]),
        repeat=repeats,
    )
    def settle(self, data, picks, causes, repeat):
        held = [(self.pick(number), kind) for number, kind in picks]
        settlements = [
            Settlement(
                delivery.uuid,
                delivery.token,
                kind,
                data.draw(delays),
                data.draw(attempts),
                data.draw(st.sampled_from(["", "why"])),
                tuple(data.draw(st.lists(messages(self.clock.now()), min_size=causes, max_size=causes))),
            )
            for delivery, kind in held
        ]
        self.settle_both(held[0][0].queue, settlements, repeat)

    @precondition(held)
    @rule(number=numbers, kind=st.sampled_from(SettleAs), repeat=repeats)
    def settle_one(self, number, kind, repeat):
        """The plain form of `settle`."""
        delivery = self.pick(number)
        settlement = Settlement(delivery.uuid, delivery.token, kind, dt.timedelta(seconds=1), Attempts(1, 1, 1))
        self.settle_both(delivery.queue, [settlement], repeat)

    @rule(queue=st.sampled_from(QUEUES), repeat=repeats)
    def relay(self, queue, repeat):
        self.both("broker", "relay", queue, repeat=repeat)

    @rule(queue=queues, chosen=st.lists(uuids, min_size=1, max_size=4), repeat=repeats)
    def cancel(self, queue, chosen, repeat):
        self.both("broker", "cancel", queue, chosen, repeat=repeat)

    @rule(queue=queues, chosen=st.lists(uuids, min_size=1, max_size=4))
    def drop_dead(self, queue, chosen):
        self.both("broker", "drop_dead", queue, chosen)

    @rule(queue=queues, limit=st.sampled_from([1, 500]))
    def purge(self, queue, limit):
        self.both("broker", "purge", queue, limit)

    @rule(queue=queues, uuid=uuids, repeat=repeats)
    def cancel_code(self, queue, uuid, repeat):
        self.both("broker", "cancel_code", queue, f"code-{uuid}", repeat=repeat)

    @rule(data=st.data(), hold=holds, size=st.integers(1, 4), repeat=repeats)
    def stage(self, data, hold, size, repeat):
        batch = data.draw(st.lists(messages(self.clock.now()), min_size=size, max_size=size))
        self.both("broker", "stage", hold, batch, repeat=repeat)

    @rule(
        queue=queues,
        hold=holds,
        canceled=st.sampled_from([False, False, True]),
        limit=st.sampled_from([1, 500, 500]),
        repeat=repeats,
    )
    def unstage(self, queue, hold, canceled, limit, repeat):
        self.both("broker", "unstage", queue, hold, canceled=canceled, limit=limit, repeat=repeat)

    @precondition(held)
    @rule(number=numbers)
    def cancel_held(self, number):
        delivery = self.pick(number)
        self.both("broker", "cancel", delivery.queue, [delivery.uuid])

    @precondition(held)
    @rule(worker=workers, limit=st.sampled_from([1, 2, 5]), count=st.sampled_from([0, 1, 100]))
    def run_out(self, worker, limit, count):
        """Leases end while others keep the queue alive: no outage."""
        queue = self.deliveries[-1].queue
        for _ in range(4):
            self.clock.advance(LEASE / 3)
            self.both("broker", "extend", queue, ["7:nobody:1"], LEASE)
        self.lease(queue, worker, count, 0, LEASE, limit, False, 1)

    @precondition(held)
    @rule(worker=workers, count=st.sampled_from([0, 1, 100]), first=st.sampled_from(["lease", "extend", "settle"]))
    def outage(self, worker, count, first):
        """The store was away, and comes back."""
        queue = self.deliveries[-1].queue
        self.clock.advance(LEASE * 2)
        if first == "extend":
            self.both("broker", "extend", queue, [self.pick(0).token], LEASE)
        elif first == "settle":
            self.both("broker", "settle", queue, [Settlement("nothing", "7:nobody:1")])
        self.lease(queue, worker, count, 0, LEASE, 2, False, 1)

    @rule()
    def look(self):
        """Pages cost Redis many calls: not after each step, but at the end always."""
        self.both("broker", "queues")
        for queue in QUEUES:
            self.both("broker", "get_pending_tasks", queue)
            self.both("broker", "get_delayed_tasks", queue)
            self.both("broker", "get_dead_tasks", queue)
            for age in (0, 1, 10):
                # Which of equally old ones comes first is nobody's promise.
                ours = self.ours.broker.staged(queue, dt.timedelta(seconds=age))
                assert sorted(self.theirs.broker.staged(queue, dt.timedelta(seconds=age))) == sorted(ours)

    def teardown(self):
        self.look()
        super().teardown()

    @invariant()
    def the_same_is_stored(self):
        self.both("broker", "locate", UUIDS)
        for queue in QUEUES:
            self.both("broker", "counts", queue)


class StoreMachine(Machine):
    """The backend and the lock."""

    def __init__(self, url):
        super().__init__(url)
        self.grants = []

    @rule(
        written=st.lists(
            st.builds(
                TaskState,
                task_uuid=uuids,
                state=st.sampled_from(State),
                token=st.sampled_from(["", "1:w:1", "2:w:1", "10:w:1"]),
                error=st.sampled_from(["", "no", "ö\x00"]),
                results=st.sampled_from([(), (TaskResult("int64", 1), TaskResult("json", {"a": [None]}))]),
            ),
            min_size=1,
            max_size=4,
        ),
        repeat=repeats,
    )
    def put_states(self, written, repeat):
        self.both("backend", "put_states", written, repeat=repeat)

    @rule(
        chosen=st.lists(uuids, min_size=1, max_size=4),
        keep=milliseconds(-1, 0, 1, 1_000, 30_000),
        repeat=repeats,
    )
    def release(self, chosen, keep, repeat):
        self.both("backend", "release", chosen, keep, repeat=repeat)

    @rule(chosen=st.lists(uuids, min_size=1, max_size=2), repeat=repeats)
    def forget(self, chosen, repeat):
        self.both("backend", "forget", chosen, repeat=repeat)

    @rule(age=milliseconds(0, 1, 1_000, 30_000))
    def unreleased(self, age):
        # Which of equally old ones comes first is nobody's promise.
        assert sorted(self.ours.backend.unreleased(age, 9)) == sorted(self.theirs.backend.unreleased(age, 9))
        ours, theirs = self.ours.backend.waiting_callbacks(age, 9), self.theirs.backend.waiting_callbacks(age, 9)
        assert sorted(ours) == sorted(theirs)

    @rule(
        name=st.sampled_from(["l1", "l2"]),
        owner=st.sampled_from(["o1", "o2"]),
        ttl=milliseconds(1, 1_000, 30_000),
        repeat=repeats,
    )
    def acquire(self, name, owner, ttl, repeat):
        for _ in range(repeat):
            ours, theirs = self.ours.lock.acquire(name, owner, ttl), self.theirs.lock.acquire(name, owner, ttl)
            assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert (ours.name, ours.owner) == (theirs.name, theirs.owner) == (name, owner)
            self.grants.append((ours, theirs))  # fences grow in steps of their own; each store gets back its own grant

    @precondition(lambda self: self.grants)
    @rule(
        number=st.integers(0, 5),
        ttl=milliseconds(1, 1_000, 30_000),
        act=st.sampled_from(["renew", "release"]),
        repeat=repeats,
    )
    def hold(self, number, ttl, act, repeat):
        ours, theirs = self.grants[-1 - number % min(len(self.grants), 6)]
        args = (ttl,) if act == "renew" else ()
        for _ in range(repeat):
            answer = getattr(self.ours.lock, act)(ours, *args)
            assert getattr(self.theirs.lock, act)(theirs, *args) == answer

    @invariant()
    def the_same_is_stored(self):
        self.both("backend", "get_states", UUIDS)


@pytest.mark.timeout(0)  # a difference takes its time to be made small
@pytest.mark.parametrize("machine", [BrokerMachine, StoreMachine])
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
