"""Schedules on real servers: how they lie there, what they cost, and what changes between a look and a write."""

import datetime as dt
import re
from pathlib import Path

import pytest

import vecna.adapters.redis
from vecna.adapters.clock import START, ManualClock, SystemClock
from vecna.adapters.redis import keys, scripts
from vecna.domain.errors import BrokerUnavailable
from vecna.ports.schedules import Fired
from vecna.testing.contracts.driven_schedules import DrivenSchedules, content

LUA = Path(vecna.adapters.redis.__file__).parent / "lua"
PAGE = (Path(__file__).parents[3] / "docs" / "redis-keys.md").read_text()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def schedules(any_redis_url, drive, namespace, clock):
    return DrivenSchedules(drive(any_redis_url, clock, namespace=namespace).broker, clock)


@pytest.fixture
def prefix(namespace):
    return keys.schedules(namespace)


# -- layout ----------------------------------------------------------------------------------------------------------


def test_scripts_use_no_key_that_is_not_listed():
    """keys.SCHEDULE_KEYS is the list that operators and rights go by."""
    used = set()
    for path in [*LUA.glob("schedule*.lua"), *LUA.glob("outbox*.lua")]:
        used |= {(path.name, suffix) for suffix in re.findall(r"':([a-z]+:?)'", path.read_text())}

    assert {found for found in used if found[1] not in keys.SCHEDULE_KEYS} == set()
    assert {suffix for _, suffix in used} == set(keys.SCHEDULE_KEYS)
    documented = PAGE.partition("## Schedules")[2]
    assert [suffix for suffix in keys.SCHEDULE_KEYS if f":{suffix}" not in documented] == []


def test_only_the_memory_of_it_is_left_of_a_schedule(schedules, any_redis, namespace, prefix):
    schedules.fire(schedules.call(schedules.put("a")))
    schedules.fire(schedules.call(schedules.put("b"), following=None))
    schedules.broker.pause_schedule("a", paused=True)
    schedules.arrived()
    schedules.broker.remove_schedule("a")

    with any_redis.client() as client:
        left = {key.decode() for key in client.keys(f"{namespace}:s:*")}
    assert left == {f"{prefix}:{name}" for name in ("removed", "versions", "meta", "sent")}


def test_removals_are_forgotten_after_a_day(schedules, clock, any_redis, prefix):
    for number in range(150):
        schedules.put(f"old{number}")
        schedules.broker.remove_schedule(f"old{number}")
    clock.advance(dt.timedelta(days=1, seconds=1))
    schedules.broker.remove_schedule("new1")
    with any_redis.client() as client:
        assert (client.zcard(f"{prefix}:removed"), client.hlen(f"{prefix}:versions")) == (51, 50)
        schedules.broker.remove_schedule("new2")
        assert set(client.zrange(f"{prefix}:removed", 0, -1)) == {b"new1", b"new2"}
        assert client.hlen(f"{prefix}:versions") == 0


def test_no_more_than_a_hundred_thousand_removals_are_kept(schedules, any_redis, prefix):
    with any_redis.client() as client:
        client.zadd(f"{prefix}:removed", {f"r{number}": 1_767_225_600_000_000 + number for number in range(100_050)})
        schedules.broker.remove_schedule("s")
        assert client.zcard(f"{prefix}:removed") == 100_000
        assert client.zscore(f"{prefix}:removed", "r50") is None
        assert client.zscore(f"{prefix}:removed", "r51") is not None
    began_at = schedules.now()
    assert schedules.broker.put_schedule(schedules.record(), began_at) is not None


# -- what it costs ---------------------------------------------------------------------------------------------------


@pytest.fixture
def commands(any_redis):
    """How often each command was called meanwhile."""

    def commands(act):
        with any_redis.client() as client:
            client.config_resetstat()
            act()
            stats = client.info("commandstats")
        counts = {name.removeprefix("cmdstat_"): value["calls"] for name, value in stats.items()}
        return {name: count for name, count in counts.items() if not name.startswith(("config", "info", "client"))}

    return commands


def test_of_ten_thousand_only_what_is_due_is_touched(schedules, clock, any_redis, prefix, commands):
    with any_redis.client() as client:
        for start in range(0, 10_000, 1_000):
            some = [schedules.record(f"s{number}", 10 + number) for number in range(start, start + 1_000)]
            client.hset(f"{prefix}:records", mapping={each.code: each.to_json() for each in some})
            heads = {each.code: f"1 {_microseconds(each.next_fire_at)} 0 0 - " for each in some}
            client.hset(f"{prefix}:heads", mapping=heads)
            client.zadd(f"{prefix}:due", {each.code: _microseconds(each.next_fire_at) for each in some})
    schedules.due()

    assert commands(schedules.due) == {"evalsha": 1, "zrange": 2, "exists": 1}, "nothing is due: one call, three looks"
    clock.advance(14.5)
    found = schedules.broker.due_schedules()
    assert [record.code for record in found.records] == ["s0", "s1", "s2", "s3", "s4"]
    assert found.next_due == schedules.at(15)
    assert commands(schedules.due) == {"evalsha": 1, "zrange": 2, "hget": 10, "exists": 1}
    cost = commands(
        lambda: schedules.fire(*[schedules.call(record, following=schedules.at(99)) for record in found.records])
    )
    assert cost["evalsha"] == 1
    assert sum(cost.values()) <= 5 * 10, cost
    assert commands(schedules.relay)["evalsha"] == 3
    assert commands(schedules.relay)["evalsha"] == 1, "there is nothing to carry: one call"


def _microseconds(instant: dt.datetime) -> int:
    return int((instant - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(microseconds=1))


def test_the_same_sent_again_costs_one_call(schedules, commands):
    schedules.put()
    assert commands(schedules.put)["evalsha"] == 1


def test_large_schedules_are_read_a_few_at_a_time(schedules, clock, commands):
    large = content("t") + b" " * 600_000
    codes = [f"s{number:02}" for number in range(20)]
    for code in codes:
        schedules.put(code, content=large)
    clock.advance(10)

    def read_all():
        assert [record.code for record in schedules.broker.get_schedules(codes)] == codes
        assert schedules.every() == codes

    assert commands(read_all)["evalsha"] >= 10 + 3
    due = []
    while found := schedules.broker.due_schedules():
        if not found.records:
            break
        assert len(found.records) <= 8
        due += [record.code for record in found.records]
        schedules.fire(*map(schedules.call, found.records))
    assert due == codes


# -- the server's time -----------------------------------------------------------------------------------------------


def test_the_servers_time_decides(any_redis_url, drive, namespace):
    schedules = DrivenSchedules(drive(any_redis_url, namespace=namespace).broker, SystemClock())
    schedules.put("past", -1)
    schedules.put("future", 600)
    before = SystemClock().now()

    found = schedules.broker.due_schedules()

    assert [record.code for record in found.records] == ["past"]
    assert before - dt.timedelta(seconds=1) < found.now < SystemClock().now() + dt.timedelta(seconds=1)
    assert schedules.fire(schedules.call(found.records[0], following=before)) == [Fired.STALE]
    assert schedules.broker.remove_schedule("past")
    assert schedules.broker.put_schedule(schedules.record("past"), found.now) is None
    assert schedules.broker.put_schedule(schedules.record("past"), schedules.now()) is not None


# -- what changes between the look and the write ---------------------------------------------------------------------


@pytest.fixture
def meanwhile(schedules, monkeypatch):
    """Does something right before the next schedule is written, after it was read."""
    connections = schedules.broker._connections
    run = connections.run

    def meanwhile(*acts):
        left = list(acts)

        def counted(script, *args, **kwargs):
            if script is scripts.SCHEDULE_PUT and left:
                monkeypatch.setattr(connections, "run", run)
                left.pop(0)()
                monkeypatch.setattr(connections, "run", counted)
            return run(script, *args, **kwargs)

        monkeypatch.setattr(connections, "run", counted)

    return meanwhile


def test_a_registration_sees_what_came_between(schedules, meanwhile):
    broker = schedules.broker
    schedules.put()
    meanwhile(
        lambda: schedules.fire(schedules.skip(schedules.stands())),
        lambda: broker.pause_schedule("s", paused=True),
        lambda: schedules.put(content=content("other")),
    )

    after = schedules.put(content=content("mine"))

    assert (after.version, after.skipped, after.paused, after.next_fire_at) == (3, 1, True, schedules.at(20))
    assert schedules.get() == after
    assert after.content == content("mine")


def test_a_removal_between_ends_a_registration(schedules, meanwhile):
    for code in ("known", "unknown"):
        if code == "known":
            schedules.put(code)
        began_at = schedules.now()
        meanwhile(lambda code=code: schedules.broker.remove_schedule(code))

        assert schedules.broker.put_schedule(schedules.record(code, content=content("new")), began_at) is None

        assert schedules.get(code) is None


def test_another_life_between_is_no_part_of_it(schedules, meanwhile, any_redis, prefix):
    """Same head, another record: what was read is not what stands."""
    schedules.put(missed="all")

    def swap():
        with any_redis.client() as client:
            client.hset(f"{prefix}:records", "s", schedules.record(spec="@every 7s").to_json())

    meanwhile(swap)

    after = schedules.put(due=70, spec="@every 7s", missed="skip")

    assert after.next_fire_at == schedules.at(10), "the rhythm is that of what stands"


def test_who_is_always_too_late_says_so(schedules, meanwhile):
    schedules.put()
    meanwhile(*[lambda: schedules.fire(schedules.skip(schedules.stands()))] * 100)

    with pytest.raises(BrokerUnavailable, match="schedule s was changed 100 times"):
        schedules.put(content=content("other"))


# -- rights ----------------------------------------------------------------------------------------------------------


def test_the_documented_rights_are_enough(own_server, drive, clock):
    (rights,) = re.findall(r"ACL SETUSER vecna on >a-long-secret (.+)", PAGE)
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "vecna", "on", ">secret", *rights.split())
    url = f"redis://vecna:secret@127.0.0.1:{own_server.port}"
    schedules = DrivenSchedules(drive(url, clock).broker, clock)

    call = schedules.call(schedules.put(due=0))
    assert schedules.due() == ["s"]
    assert schedules.fire(call) == [Fired.FIRED]
    assert schedules.arrived() == [call.uuid]
    schedules.broker.pause_schedule("s", paused=True)
    assert schedules.every() == ["s"]
    assert schedules.broker.remove_schedule("s")
    clock.advance(dt.timedelta(days=2))
    schedules.put()
    assert schedules.broker.remove_schedule("s")


# -- a clock that was wrong ------------------------------------------------------------------------------------------


def test_a_clock_that_was_set_back_ends_the_memory_of_what_lies_ahead(any_redis_url, drive, namespace):
    """Otherwise nothing that was removed while it was wrong could be stored until it has caught up."""
    wrong, right = ManualClock(START + dt.timedelta(days=365)), ManualClock(START)
    before = DrivenSchedules(drive(any_redis_url, wrong, namespace=namespace).broker, wrong)
    after = DrivenSchedules(drive(any_redis_url, right, namespace=namespace).broker, right)
    before.put("s")
    before.broker.remove_schedule("s")

    began_at = after.now()
    assert began_at == right.now()
    assert after.broker.put_schedule(after.record(), began_at) is not None
    assert after.broker.remove_schedule("s")
    assert after.broker.put_schedule(after.record(), began_at) is None
    assert after.broker.put_schedule(after.record(), after.now()) is not None


def test_a_clock_that_goes_back_a_little_lets_nothing_through(any_redis_url, drive, namespace):
    ahead, behind = ManualClock(START + dt.timedelta(seconds=30)), ManualClock(START)
    before = DrivenSchedules(drive(any_redis_url, ahead, namespace=namespace).broker, ahead)
    after = DrivenSchedules(drive(any_redis_url, behind, namespace=namespace).broker, behind)
    began_at = before.now()
    before.broker.remove_schedule("s")

    assert after.broker.put_schedule(after.record(), began_at) is None
    assert after.now() > began_at
    assert after.broker.put_schedule(after.record(), after.now()) is not None
