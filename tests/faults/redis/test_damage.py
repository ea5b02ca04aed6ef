"""Somebody else has been at the keys: an error in words, or no harm; and never a loop."""

import pytest

from tests.faults.redis.conftest import LEASE, uuids_of
from vecna.adapters.redis import keys
from vecna.domain.errors import BrokerUnavailable, InvalidArgument
from vecna.domain.message import Message
from vecna.domain.state import State, TaskState
from vecna.ports.values import Answer, SettleAs, Settlement

HOSTILE = ["", "a b", "a\n", "{a}", "a\x00b", "a*", "x" * 201, "é", "a\udc80"]


@pytest.fixture
def driven(any_redis_url, drive, namespace):
    return drive(any_redis_url, namespace=namespace)


@pytest.fixture
def client(any_redis):
    with any_redis.client() as client:
        yield client


def lose(client, namespace, uuid):
    assert client.hdel(f"{keys.queue(namespace, 'q')}:m:{keys.bucket(uuid)}", uuid)


def test_a_lost_body_is_skipped(driven, client, namespace):
    driven.send("a", "b", "c")
    driven.send("d", delay=LEASE / 1000)
    for uuid in "bd":
        lose(client, namespace, uuid)

    found = uuids_of(driven.lease())
    while driven.broker.counts("q").delayed:
        found += uuids_of(driven.lease())

    assert found == ["a", "c"]
    assert driven.broker.counts("q").pending == 0


@pytest.mark.parametrize("kind", list(SettleAs))
def test_a_body_lost_while_leased_ends_with_its_lease(driven, client, namespace, kind):
    driven.send("a", "b")
    lease = driven.lease()
    lose(client, namespace, "a")

    assert driven.settle(lease, kind)[1] is Answer.OK

    counts = driven.broker.counts("q")
    assert counts.leased == 0
    assert "a" not in uuids_of(driven.lease())
    assert uuids_of(driven.lease()) == []


@pytest.mark.parametrize("suffix", ["meta", "leased", "leases", "delayed", "calls", "wake", "p:0"])
def test_a_foreign_key_is_named_in_words_and_other_queues_go_on(driven, client, namespace, suffix):
    client.set(f"{keys.queue(namespace, 'q')}:{suffix}", "mine")

    with pytest.raises(BrokerUnavailable, match="something else under one of vecna's keys"):
        driven.send("a") and driven.lease() and driven.send("b", delay=LEASE)

    assert driven.send("a", queue="other") == [True]
    assert uuids_of(driven.lease(queue="other")) == ["a"]


def test_what_was_put_in_by_hand_is_handed_out_as_it_is(driven, client, namespace):
    prefix = keys.queue(namespace, "q")
    driven.send("a")
    client.hset(f"{prefix}:m:{keys.bucket('x')}", "x", "not a record")
    client.rpush(f"{prefix}:p:0", "x")

    lease = driven.lease()

    assert [(item.uuid, item.body) for item in lease.deliveries] == [("a", b"{}"), ("x", b"not a record")]
    assert driven.settle(lease) == [Answer.OK] * 2


@pytest.mark.parametrize("payload", ["{", '{"TaskUUID": "x", "State": "PAUSED"}', "\xff"])
def test_a_record_that_cannot_be_read_holds_up_no_other(driven, client, namespace, payload):
    """It may be from a newer version, or somebody has been at it."""
    driven.end("a")
    client.set(keys.record(namespace, "x"), f"1 00000000000001 4 00000000000000 {payload}")
    client.set(keys.record(namespace, "y"), f"0 00000000000001 1 00000000000000 {payload}")

    a, x, y = driven.backend.get_states(["a", "x", "y"])

    assert a.is_success
    assert (x.task_uuid, x.state) == ("x", State.FAILURE)
    assert "cannot be read" in x.error or "JSON" in x.error
    assert y is None
    ends = [TaskState(task_uuid=uuid, state=State.SUCCESS) for uuid in ("x", "y", "z")]
    assert [state.state for state in driven.backend.put_states(ends)] == [State.FAILURE, State.SUCCESS, State.SUCCESS]
    assert driven.backend.get_state("y").is_success


def test_ids_that_look_like_keys_harm_nothing(driven, client, namespace):
    names = ["meta", "q:meta", "queues", "p:0", "wake", "9", f"{namespace}:queues", "a/../b", "0:w:1"]
    driven.send(*names)
    driven.send(*names, queue="queues")
    driven.end(*names)
    driven.lock.acquire("queues", "o", LEASE)

    assert driven.broker.queues() == ["q", "queues"]
    assert uuids_of(driven.lease()) == names
    assert [state.task_uuid for state in driven.backend.get_states(names)] == names


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_are_refused_before_anything_is_sent(hostile, drive):
    driven = drive("redis://127.0.0.1:1", send_timeout=0)  # nobody is there: whatever is sent fails otherwise
    listener, waiter = driven.backend.listen(), driven.broker.waiter()
    settlement = Settlement(hostile, "t")
    follow_up = Settlement("a", "t", follow_ups=(Message(hostile, "q", b""),))
    for call in (
        lambda: driven.send(hostile),
        lambda: driven.send("a", hostile),
        lambda: driven.send("a", queue=hostile),
        lambda: driven.lease(queue=hostile),
        lambda: driven.lease(worker=hostile),
        lambda: driven.broker.extend(hostile, [], LEASE),
        lambda: driven.broker.settle("q", [settlement]),
        lambda: driven.broker.settle("q", [follow_up]),
        lambda: driven.broker.settle(hostile, []),
        lambda: driven.broker.relay(hostile),
        lambda: driven.broker.cancel("q", [hostile]),
        lambda: driven.broker.cancel(hostile, []),
        lambda: driven.broker.counts(hostile),
        lambda: driven.broker.locate([hostile]),
        lambda: driven.broker.locate([], [hostile]),
        lambda: driven.broker.get_pending_tasks(hostile),
        lambda: driven.broker.get_delayed_tasks(hostile),
        lambda: driven.broker.get_dead_tasks(hostile),
        lambda: driven.backend.put_states([TaskState(task_uuid=hostile, state=State.SUCCESS)]),
        lambda: driven.backend.get_states([hostile]),
        lambda: driven.backend.release([hostile], LEASE),
        lambda: driven.backend.forget([hostile]),
        lambda: driven.lock.acquire(hostile, "o", LEASE),
        lambda: driven.lock.acquire("l", hostile, LEASE),
        lambda: listener.watch([hostile]),
        lambda: waiter.wait([hostile], 0),
    ):
        with pytest.raises(InvalidArgument):
            call()
