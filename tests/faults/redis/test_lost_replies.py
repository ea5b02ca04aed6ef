"""The reply to a call is lost, and the call is made again by itself: each script in turn."""

import datetime as dt
from pathlib import Path

import pytest

from tests.faults.redis.conftest import LEASE, uuids_of
from vecna.adapters.redis import scripts
from vecna.domain.decide import Attempts
from vecna.domain.message import Message
from vecna.domain.presence import WorkerRecord
from vecna.domain.state import State, TaskState
from vecna.ports.values import Answer, Canceling, QueueCounts, SettleAs, Standing


@pytest.fixture
def driven(proxy, drive, namespace):
    return drive(proxy.url, namespace=namespace)


def test_enqueue(driven, losing):
    driven.send("warm-up")
    losing(scripts.ENQUEUE)

    # It is in the queue once; that it came from this very call nobody can know.
    assert driven.send("a", "b") == [False, False]
    assert driven.broker.counts("q") == QueueCounts(pending=3)
    assert uuids_of(driven.lease()) == ["warm-up", "a", "b"]


def test_lease(driven, losing):
    driven.send("a", "b", "c")
    driven.lease(0)
    losing(scripts.LEASE)

    lease = driven.lease(2)

    assert uuids_of(lease) == ["a", "b"]
    assert driven.broker.counts("q") == QueueCounts(pending=1, leased=2)
    assert driven.settle(lease) == [Answer.OK] * 2


def test_ring(driven, losing):
    driven.broker.ring("q")
    driven.lease(0)
    losing(scripts.RING)

    driven.broker.ring("q")

    assert driven.broker.queues() == []
    assert driven.lease().deliveries == ()


def test_extend(driven, losing):
    driven.send("a")
    lease = driven.lease()
    driven.broker.extend("q", [lease.token], LEASE)
    losing(scripts.EXTEND)

    assert [item.alive for item in driven.broker.extend("q", [lease.token], LEASE)] == [True]


def test_forfeit(driven, losing):
    driven.send("a")
    lease = driven.lease()
    driven.broker.forfeit("q", ["1:nobody:1"], max_deliveries=5)
    losing(scripts.FORFEIT)

    driven.broker.forfeit("q", [lease.token], max_deliveries=5)
    assert driven.broker.counts("q") == QueueCounts(pending=1)
    assert driven.lease().deliveries[0].crashes == 1


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        (SettleAs.RETRY, QueueCounts(delayed=1)),
        (SettleAs.RETURN, QueueCounts(pending=1)),
        (SettleAs.DEAD, QueueCounts(dead=1)),
    ],
)
def test_settle(driven, losing, kind, counts):
    driven.send("a")
    lease = driven.lease()
    losing(scripts.SETTLE)

    assert driven.settle(lease, kind, delay=LEASE, attempts=Attempts(1, 1)) == [Answer.ALREADY]
    assert driven.broker.counts("q") == counts


def test_settle_with_follow_ups(driven, losing):
    driven.send("a")
    lease = driven.lease()
    losing(scripts.SETTLE)

    assert driven.settle(lease, follow_ups=(Message("b", "q", b"{}"), Message("c", "other", b"{}"))) == [Answer.GONE]

    driven.broker.relay("q")
    assert driven.broker.counts("q") == QueueCounts(pending=1)
    assert driven.broker.counts("other") == QueueCounts(pending=1)


@pytest.mark.parametrize("script", [scripts.OUTBOX_READ, scripts.ACCEPT, scripts.OUTBOX_DROP], ids=lambda it: it.name)
def test_relay(driven, losing, script):
    driven.send("a")
    follow_ups = tuple([Message(f"b{number}", "other", b"{}") for number in range(3)])
    driven.settle(driven.lease(), follow_ups=follow_ups)
    losing(script)

    assert driven.broker.relay("q") == 0
    assert driven.broker.relay("q") == 0
    assert uuids_of(driven.lease(queue="other")) == ["b0", "b1", "b2"]


def test_cancel(driven, losing):
    driven.send("a", "b")
    driven.lease(1)
    losing(scripts.CANCEL)

    assert driven.broker.cancel("q", ["a", "b"]) == [Canceling.RUNNING, Canceling.CANCELED]
    assert driven.broker.counts("q") == QueueCounts(leased=1, ending=1)
    assert [place.standing for place in driven.broker.locate(["a", "b"])] == [Standing.LEASED, Standing.ENDING]


def test_purge(driven, losing):
    driven.send("a", "b")
    driven.broker.purge("q", 0)
    losing(scripts.PURGE)

    driven.broker.purge("q")
    assert driven.broker.counts("q") == QueueCounts(ending=2)


def test_dropping_dead_letters(driven, losing):
    driven.send("a", "b")
    driven.settle(driven.lease(), SettleAs.DEAD)
    driven.broker.drop_dead("q", ["b"])
    losing(scripts.DROP_DEAD)

    assert driven.broker.drop_dead("q", ["a"]) == [False]  # the first try has; "it is none" is true
    assert driven.broker.counts("q") == QueueCounts()


def test_presence(driven, losing):
    noted = WorkerRecord("u", "w", ("q",), 1, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    driven.broker.note_worker(WorkerRecord("other", "w", ("q",), 1, noted.started_at), dt.timedelta(0))

    losing(scripts.NOTE_WORKER)
    driven.broker.note_worker(noted, LEASE)
    losing(scripts.WORKERS)
    assert driven.broker.workers() == [noted]


def test_looking(driven, losing):
    driven.send("a")
    for script, look in (
        (scripts.COUNTS, lambda: driven.broker.counts("q") == QueueCounts(pending=1)),
        (scripts.LOCATE, lambda: driven.broker.locate(["a"], ["q"])[0].standing is Standing.PENDING),
        (scripts.PAGE, lambda: driven.broker.get_pending_tasks("q") == []),
    ):
        losing(script)
        assert look()


def test_records(driven, losing):
    started, ended = (TaskState(task_uuid="a", state=state) for state in (State.STARTED, State.SUCCESS))
    driven.backend.put_states([started])

    losing(scripts.PUT_STATES)
    assert driven.backend.put_states([ended]) == [ended]
    losing(scripts.UNRELEASED)
    assert driven.backend.unreleased(dt.timedelta(0), 10) == ["a"]
    losing(scripts.RELEASE)
    driven.backend.release(["a"], LEASE)
    assert driven.backend.unreleased(dt.timedelta(0), 10) == []
    losing(scripts.FORGET_STATES)
    driven.backend.forget(["a"])
    assert driven.backend.get_state("a") is None


def test_locks(driven, losing):
    driven.lock.acquire("other", "o", LEASE)

    losing(scripts.LOCK_ACQUIRE)
    grant = driven.lock.acquire("l", "o", LEASE)
    assert grant.fence == 1
    losing(scripts.LOCK_RENEW)
    assert driven.lock.renew(grant, LEASE)
    losing(scripts.LOCK_RENEW)
    assert driven.lock.release(grant) is False  # the first try has; "no longer held" is true
    assert driven.lock.acquire("l", "p", LEASE).fence == 2


def test_every_script_is_among_these():
    used = {name for name, value in vars(scripts).items() if isinstance(value, scripts.Script)}
    text = "".join([path.read_text() for path in Path(__file__).parent.glob("test_lost_*.py")])

    assert {name for name in used if f"scripts.{name}" not in text} == set()
