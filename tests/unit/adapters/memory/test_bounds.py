"""The stores hold what is there, and nothing of what was."""

import datetime as dt

import pytest

from vecna.adapters.clock import ManualClock
from vecna.adapters.memory import MemoryBackend, MemoryBroker, MemoryLock
from vecna.adapters.memory.backend import Records
from vecna.adapters.memory.lock import Grants
from vecna.adapters.memory.queue import Queues
from vecna.domain.arg import TaskResult
from vecna.domain.errors import InvalidArgument
from vecna.domain.message import Message
from vecna.domain.state import State, TaskState
from vecna.ports.values import SettleAs, Settlement

LEASE = dt.timedelta(seconds=30)
SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def clock():
    return ManualClock()


def lease(broker, call, worker="w", count=1):
    return broker.lease("q", count, worker=worker, call=call, duration=LEASE, max_deliveries=3)


def test_finished_messages_leave_nothing(clock):
    store = Queues()
    broker = MemoryBroker(clock, store)
    for number in range(2_000):
        broker.enqueue([Message(f"t{number}", "q", b"", delay=SECOND if number % 2 else None)])
        clock.advance(SECOND)
        got = lease(broker, number)
        broker.extend("q", [got.token], LEASE)
        if number % 3 == 0:
            broker.cancel("q", [item.uuid for item in got.deliveries])
        broker.settle("q", [Settlement(item.uuid, item.token) for item in got.deliveries])

    queue = store.queue("q")
    assert broker.counts("q") == type(broker.counts("q"))()
    assert (queue.messages, queue.leases, len(queue.deadlines), len(queue.delayed)) == ({}, {}, 0, 0)
    assert len(queue.deadlines._heap) + len(queue.delayed._heap) < 300
    assert queue.bell.waiting == {}


def test_workers_that_are_gone_are_forgotten_after_a_day(clock):
    store = Queues()
    broker = MemoryBroker(clock, store)
    for number in range(100):
        lease(broker, 1, f"w{number}")
        clock.advance(dt.timedelta(hours=1))

    assert len(store.queue("q")._calls) == 25


def test_a_worker_that_calls_again_is_not_forgotten(clock):
    broker = MemoryBroker(clock)
    for number in range(5):
        lease(broker, 10 + number, "old")
        lease(broker, 1, f"new{number}")
        clock.advance(dt.timedelta(hours=20))
    broker.enqueue([Message("a", "q", b"")])

    assert lease(broker, 3, "old").deliveries == ()


def test_a_waiter_that_has_left_is_not_rung_for(clock):
    store = Queues()
    waiter = MemoryBroker(clock, store).waiter()

    waiter.wait(["q", "r"], 0)

    assert store.queue("q").bell.waiting == store.queue("r").bell.waiting == {}


def test_records_leave_nothing_when_they_go(clock):
    store = Records()
    backend = MemoryBackend(clock, store)
    listener = backend.listen()
    for number in range(300):
        uuid = f"t{number}"
        listener.watch([uuid])
        backend.put_states([TaskState(task_uuid=uuid, state=State.SUCCESS)])
        if number % 3 == 0:
            backend.forget([uuid])
        else:
            backend.release([uuid], SECOND * (number % 3 - 1))
        listener.unwatch([uuid])
    clock.advance(2 * SECOND)
    backend.get_state("x")

    assert (store.by_id, store.ended_at, len(store.expiry), store.listeners) == ({}, {}, 0, {})


def test_a_closed_listener_is_forgotten(clock):
    store = Records()
    listener = MemoryBackend(clock, store).listen()
    listener.watch(["a", "b"])

    listener.close()
    listener.watch(["c"])

    assert store.listeners == {}


def test_locks_that_ran_out_leave_nothing(clock):
    store = Grants()
    lock = MemoryLock(clock, store)
    for number in range(100):
        lock.acquire(f"l{number}", "me", SECOND)
    clock.advance(2 * SECOND)
    lock.acquire("x", "me", SECOND)

    assert list(store.held) == ["x"]


def test_a_record_is_what_was_written_not_what_became_of_it(clock):
    """It is encoded: a list that its task goes on changing is not the result."""
    backend = MemoryBackend(clock)
    values = [1]
    backend.put_states([TaskState(task_uuid="a", state=State.SUCCESS, results=(TaskResult("json", values),))])

    values.append(2)
    for read in backend.get_states(["a"]):
        assert read is not None
        read.results[0].value.append(3)

    assert [state and state.results for state in backend.get_states(["a"])] == [(TaskResult("json", [1]),)]


@pytest.mark.parametrize("priority", [-1, 10, 100])
def test_a_priority_outside_the_range_is_refused(clock, priority):
    broker = MemoryBroker(clock)

    with pytest.raises(InvalidArgument, match="priority"):
        broker.enqueue([Message("a", "q", b""), Message("b", "q", b"", priority=priority)])

    assert broker.queues() == []


def test_durations_beyond_all_time_are_for_ever(clock):
    """The last instant there is; no error that would end a worker."""
    broker, backend = MemoryBroker(clock), MemoryBackend(clock)
    broker.enqueue([Message("a", "q", b"", delay=dt.timedelta.max), Message("b", "q", b"")])
    got = broker.lease("q", 1, worker="w", call=1, duration=dt.timedelta.max, max_deliveries=3)
    assert broker.extend("q", [got.token], dt.timedelta.max)[0].alive
    broker.settle("q", [Settlement("b", got.token, SettleAs.RETRY, delay=dt.timedelta.max)])
    backend.put_states([TaskState(task_uuid="a", state=State.SUCCESS)])
    backend.release(["a"], dt.timedelta.max)

    assert broker.counts("q").delayed == 2
    assert backend.get_state("a") is not None
