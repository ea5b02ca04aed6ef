"""Schedules on servers that are damaged, full, restarted, or partly away."""

from typing import Any

import pytest

from tests.faults.redis.servers import RedisCluster, eventually
from tests.servers import redis8_binary
from vecna.adapters.clock import ManualClock
from vecna.adapters.redis import keys, scripts
from vecna.domain.errors import BrokerUnavailable, InvalidSignature
from vecna.domain.message import Message
from vecna.ports.schedules import Fired
from vecna.ports.values import QueueCounts
from vecna.testing.contracts.driven_schedules import DrivenSchedules


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def schedules(any_redis_url, drive, namespace, clock):
    return DrivenSchedules(drive(any_redis_url, clock, namespace=namespace).broker, clock)


@pytest.fixture
def prefix(namespace):
    return keys.schedules(namespace)


def connections_of(schedules) -> Any:
    return schedules.broker._connections


# -- what cannot be read ---------------------------------------------------------------------------------------------

GARBAGE = {
    "no JSON": ("records", b"\xff\x00{"),
    "no object": ("records", b"[]"),
    "a field is missing": ("records", b'{"code":"bad"}'),
    "another code": ("records", None),
    "a word": ("heads", b"hello"),
    "a number": ("heads", b"1 x 0 0 - "),
    "bytes": ("heads", b"1 1 0 0 - \xff"),
}


@pytest.fixture(params=list(GARBAGE))
def damage(request, schedules, any_redis, prefix):
    """Makes the schedule `bad` unreadable."""

    def damage():
        suffix, value = GARBAGE[request.param]
        with any_redis.client() as client:
            client.hset(f"{prefix}:{suffix}", "bad", schedules.record("other").to_json() if value is None else value)

    return damage


def test_what_cannot_be_read_keeps_nobody_back(schedules, clock, damage, caplog):
    good = [schedules.put(code, due) for code, due in (("a", 3), ("b", 9))]
    schedules.put("bad", 1)
    schedules.put("later", 600)
    damage()
    clock.advance(20)

    for _ in range(3):
        found = schedules.broker.due_schedules()
        assert found.records == tuple(good)
        assert found.next_due == schedules.at(600)
        assert schedules.broker.due_schedules(1).records == (good[0],)
    assert [record.code for record in schedules.broker.list_schedules()] == ["a", "b", "later"]
    assert schedules.fire(*map(schedules.call, good)) == [Fired.STALE] * 2
    calls = [schedules.call(record, following=schedules.at(30)) for record in good]
    assert schedules.fire(*calls) == [Fired.FIRED] * 2
    assert len([record for record in caplog.records if "schedule bad" in record.message]) == 1, "it is said once"
    with pytest.raises(InvalidSignature, match=r"schedule bad.*send it again, or cancel it"):
        schedules.get("bad")


def test_what_cannot_be_read_is_healed_by_sending_it_again(schedules, damage):
    schedules.put("bad", 1)
    damage()

    after = schedules.put("bad", 5)

    assert schedules.get("bad") == after
    assert after.next_fire_at == schedules.at(5)
    assert schedules.every() == ["bad"]


def test_what_cannot_be_read_can_be_removed(schedules, damage, any_redis, namespace):
    schedules.put("bad", 1)
    damage()

    assert schedules.broker.remove_schedule("bad")

    assert schedules.get("bad") is None
    assert schedules.broker.due_schedules().next_due is None
    assert not schedules.broker.remove_schedule("bad")


def test_the_readable_part_is_kept(schedules, any_redis, prefix):
    schedules.put("bad")
    schedules.fire(schedules.skip(schedules.stands("bad")))
    schedules.broker.pause_schedule("bad", paused=True)
    with any_redis.client() as client:
        client.hset(f"{prefix}:records", "bad", "garbage")

    after = schedules.put("bad", 50)

    assert (after.version, after.paused, after.skipped, after.next_fire_at) == (2, True, 1, schedules.at(50))


# -- when memory is full ---------------------------------------------------------------------------------------------


@pytest.fixture
def full(own_server, drive, clock):
    def fill():
        with own_server.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)

    return DrivenSchedules(drive(own_server.url, clock).broker, clock), fill


def test_a_full_server_stores_and_fires_nothing(full):
    schedules, fill = full
    before = schedules.put()
    fill()

    with pytest.raises(BrokerUnavailable, match="out of memory"):
        schedules.put("new")
    with pytest.raises(BrokerUnavailable, match="out of memory"):
        schedules.fire(schedules.call(before))

    assert schedules.broker.list_schedules() == [before]
    assert schedules.broker.relay_schedules() == 0


def test_a_full_server_pauses_removes_and_carries_over(full, own_server):
    schedules, fill = full
    began_at = schedules.now()
    call = schedules.call(schedules.put("fired"))
    schedules.fire(call)
    schedules.put()
    fill()

    assert schedules.arrived() == [call.uuid]
    assert schedules.broker.pause_schedule("s", paused=True).paused
    assert not schedules.broker.pause_schedule("s", paused=False).paused
    assert schedules.broker.remove_schedule("s")
    assert schedules.get() is None
    with own_server.client() as client:
        client.config_set("maxmemory", 0)
    assert schedules.broker.put_schedule(schedules.record(), began_at) is None


# -- crashes ---------------------------------------------------------------------------------------------------------


def test_a_schedule_outlives_its_server(own_server, drive, clock):
    schedules = DrivenSchedules(drive(own_server.url, clock).broker, clock)
    schedules.put("paused", paused=True)
    call = schedules.call(schedules.put())
    schedules.fire(call)
    schedules.broker.remove_schedule("gone")
    before = schedules.broker.list_schedules()
    own_server.kill()
    own_server.start()

    eventually(lambda: schedules.broker.list_schedules() == before, "the server's return")
    assert schedules.fire(call) == [Fired.LOST]
    assert schedules.arrived() == [call.uuid]
    assert schedules.broker.put_schedule(schedules.record("gone"), schedules.start) is None
    assert schedules.fire(schedules.call(schedules.stands())) == [Fired.FIRED]


def test_the_server_dies_between_the_arrival_and_the_note_of_it(own_server, drive, clock, monkeypatch):
    schedules = DrivenSchedules(drive(own_server.url, clock).broker, clock)
    call = schedules.call(schedules.put())
    schedules.fire(call)
    connections = connections_of(schedules)
    run = connections.run

    def dying(script, *args, **kwargs):
        if script is scripts.OUTBOX_DROP:
            raise BrokerUnavailable("it dies here")
        return run(script, *args, **kwargs)

    monkeypatch.setattr(connections, "run", dying)
    with pytest.raises(BrokerUnavailable):
        schedules.broker.relay_schedules()
    monkeypatch.setattr(connections, "run", run)
    own_server.kill()
    own_server.start()

    eventually(lambda: schedules.broker.counts("q") == QueueCounts(pending=1), "the server's return")
    assert schedules.arrived() == [call.uuid]
    assert schedules.arrived() == []


def test_schedules_of_a_cluster_send_to_all_its_nodes(drive, clock, monkeypatch):
    """One of them away keeps nobody else's messages back."""
    with RedisCluster(redis8_binary()) as cluster:
        schedules = DrivenSchedules(drive(cluster.url, clock).broker, clock)
        queues = [f"q{number}" for number in range(8)]
        home = cluster.node_of(keys.schedules("vecna"))
        there = [queue for queue in queues if cluster.node_of(keys.queue("vecna", queue)) is not home]
        assert 0 < len(there) < 8
        messages = tuple([Message(f"for-{queue}", queue, b"{}") for queue in queues])
        schedules.fire(schedules.call(schedules.put(), messages=messages))
        connections = connections_of(schedules)
        run = connections.run

        def without_the_other(script, names, *args, **kwargs):
            if cluster.node_of(names[0]) is not home:
                raise BrokerUnavailable("this node is away")
            return run(script, names, *args, **kwargs)

        monkeypatch.setattr(connections, "run", without_the_other)
        with pytest.raises(BrokerUnavailable, match="away"):
            schedules.broker.relay_schedules()
        monkeypatch.setattr(connections, "run", run)

        assert [schedules.broker.counts(queue).pending for queue in queues] == [
            int(queue not in there) for queue in queues
        ]
        for queue in queues:
            assert schedules.arrived(queue) == [f"for-{queue}"]
