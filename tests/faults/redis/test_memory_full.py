"""A server that has reached its maxmemory: nothing more comes in, and all that ends work goes on."""

import datetime as dt

import pytest

from tests.faults.redis.conftest import LEASE, uuids_of
from vecna.adapters.clock import ManualClock
from vecna.domain.decide import Attempts
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.message import Message
from vecna.domain.state import State, TaskState
from vecna.ports.values import Answer, Canceling, SettleAs, Settlement, Standing, Verdict


@pytest.fixture
def full(own_server, drive):
    """Fills the server with what a test has prepared."""
    driven = drive(own_server.url)

    def fill():
        with own_server.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)

    return driven, fill


def test_an_enqueue_is_refused_and_leaves_nothing_behind(full):
    driven, fill = full
    driven.send("a")
    fill()

    with pytest.raises(BrokerUnavailable, match=r"out of memory.*maxmemory"):
        driven.send("b", "c")
    with pytest.raises(BrokerUnavailable):
        driven.send("d", queue="new")

    assert driven.broker.locate(["b", "c", "d"], ["q", "new"]) == [None] * 3
    assert driven.broker.queues() == ["q"]
    assert driven.broker.counts("q").pending == 1


@pytest.mark.parametrize("kind", list(SettleAs))
def test_every_settlement_works(full, kind):
    driven, fill = full
    driven.send("a", "b")
    lease = driven.lease()
    fill()

    assert driven.settle(lease, kind, delay=LEASE, attempts=Attempts(1, 1), reason="r" * 1000) == [Answer.OK] * 2
    again = [Answer.GONE if kind is SettleAs.DONE else Answer.ALREADY] * 2
    assert driven.settle(lease, kind, delay=LEASE, attempts=Attempts(1, 1), reason="r" * 1000) == again


def test_follow_ups_arrive_here_and_elsewhere(full):
    driven, fill = full
    driven.send("a")
    lease = driven.lease()
    fill()

    follow_ups = (Message("b", "q", b"{}"), Message("c", "other", b"{}"), Message("d", "other", b"{}", delay=LEASE))
    assert driven.settle(lease, follow_ups=follow_ups) == [Answer.OK]
    assert driven.broker.relay("q") == 0

    assert [place.standing for place in driven.broker.locate(["b", "c", "d"])] == [
        Standing.PENDING,
        Standing.PENDING,
        Standing.DELAYED,
    ]


def test_a_lease_is_extended_and_runs_out(full, own_server, drive):
    _, fill = full
    clock = ManualClock()
    driven = drive(own_server.url, clock)
    driven.send("a", "b")
    kept, lost = driven.lease(1), driven.lease(1)
    fill()

    for _ in range(3):  # the queue is never silent for as long as an outage
        clock.advance(10)
        assert [item.alive for item in driven.broker.extend("q", [kept.token], LEASE)] == [True]
    again = driven.lease()
    assert uuids_of(again) == uuids_of(lost)
    assert again.deliveries[0].crashes == 1
    assert driven.settle(again) == [Answer.OK]


def test_cancelled_ones_are_leased_out_and_ended(full):
    driven, fill = full
    driven.send("running")
    held = driven.lease()
    driven.send("pending")
    driven.send("delayed", delay=LEASE)
    fill()

    assert driven.broker.cancel("q", ["running", "pending", "delayed", "unknown"]) == [
        Canceling.RUNNING,
        Canceling.CANCELED,
        Canceling.CANCELED,
        Canceling.UNKNOWN,
    ]
    assert driven.broker.extend("q", [held.token], LEASE)[0].canceled == ("running",)
    ending = driven.lease(verdicts_only=True)
    assert [(item.uuid, item.verdict) for item in ending.deliveries] == [
        ("pending", Verdict.CANCELED),
        ("delayed", Verdict.CANCELED),
    ]
    assert driven.settle(ending) == [Answer.OK] * 2


def test_ends_are_recorded_and_released(full):
    driven, fill = full
    driven.backend.put_states([TaskState(task_uuid="a", state=State.STARTED)])
    fill()

    ended = TaskState(task_uuid="a", state=State.SUCCESS, error="x" * 100)
    assert driven.backend.put_states([ended]) == [ended]
    driven.backend.release(["a"], LEASE)
    assert driven.backend.unreleased(dt.timedelta(0), 10) == []
    assert driven.backend.get_state("a") == ended
    driven.backend.forget(["a"])
    assert driven.backend.get_state("a") is None


def test_a_lock_is_renewed_and_released_but_not_taken(full):
    driven, fill = full
    grant = driven.lock.acquire("l", "o", LEASE)
    fill()

    assert driven.lock.renew(grant, LEASE)
    assert driven.lock.release(grant)
    with pytest.raises(BrokerUnavailable, match="out of memory"):
        driven.lock.acquire("l", "o", LEASE)


def test_work_is_drained_and_then_accepted_again(full, own_server):
    driven, fill = full
    driven.send(*[f"t{number}" for number in range(1200)], body=b"x" * 1000)
    fill()

    done = 0
    while lease := driven.lease(500):
        if not lease.deliveries:
            break
        done += driven.settle(lease).count(Answer.OK)
    with own_server.client() as client:
        client.config_set("maxmemory", 0)

    assert done == 1200
    assert driven.send("later") == [True]
    assert driven.broker.settle("q", [Settlement("t1", "1:w:1")]) == [Answer.GONE]
