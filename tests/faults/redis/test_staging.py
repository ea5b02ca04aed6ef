"""Held messages and shared codes on real servers: what a full server still does, what is read, that nothing stays."""

import datetime as dt

import pytest

from tests.faults.redis.conftest import LEASE, uuids_of
from tests.faults.redis.servers import RedisCluster, eventually
from tests.servers import redis8_binary
from vecna.adapters.redis import keys, scripts
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.message import Message
from vecna.ports.values import Answer, Canceling, SettleAs, Settlement, Standing, Verdict

AT_ONCE = dt.timedelta(0)
#: What is kept of a queue that has nothing in it: who has called, which priorities were used, and the like.
BOOKS = {"calls", "workers", "meta", "inbox", "sent", "wake"}


@pytest.fixture
def driven(any_redis_url, drive, namespace):
    return drive(any_redis_url, namespace=namespace)


@pytest.fixture
def left(any_redis, namespace):
    """What is stored of a queue besides its books."""

    def left(queue="q"):
        prefix = keys.queue(namespace, queue) + ":"
        with any_redis.client() as client:
            found = [key.decode() for key in client.scan_iter(f"{namespace}:*", 1000)]
        return sorted({key.removeprefix(prefix) for key in found if key.startswith(prefix)} - BOOKS)

    return left


def messages(*uuids, queue="q", **fields):
    return [Message(uuid, queue, fields.pop("body", b"{}"), **fields) for uuid in uuids]


def pages(driven, code="c", queue="q"):
    """All pages of a cancel by code."""
    found = [driven.broker.cancel_code(queue, code)]
    while found[-1].cursor:
        found.append(driven.broker.cancel_code(queue, code, found[-1].cursor))
    return found


def end_all(driven, queue="q"):
    while uuids_of(lease := driven.lease(500, queue=queue)):
        driven.settle(lease)


# -- nothing stays ---------------------------------------------------------------------------------------------------


def test_nothing_stays_of_what_was_held_and_shared_a_code(driven, left):
    hour = dt.timedelta(hours=1)
    driven.broker.stage("h", messages(*[f"a{number}" for number in range(700)], code="c"))
    driven.broker.stage("h", messages("late", delay=hour, code="c"))
    driven.broker.stage("gone", messages("b1", "b2", code="d"))
    driven.broker.cancel("q", ["b1", "a3"])
    assert set(left()) >= {"hold:h", "hold:gone", "holds", "staged", "code:c", "code:d"}

    while driven.broker.unstage("q", "h"):
        pass
    driven.broker.unstage("q", "gone", canceled=True)
    assert [page.running for page in pages(driven, "d")] == [()]
    driven.broker.cancel("q", ["late"])
    end_all(driven)

    assert left() == []


@pytest.mark.parametrize("kind", list(SettleAs))
def test_a_code_lasts_as_long_as_its_messages(driven, left, kind):
    driven.send("a", code="c")
    lease = driven.lease()
    driven.settle(lease, kind, reason="r")
    assert ("code:c" in left()) == (kind is not SettleAs.DONE)

    end_all(driven)

    assert ("code:c" in left()) == (kind is SettleAs.DEAD)


def test_a_dead_letter_leaves_its_code_when_it_is_dropped(any_redis_url, drive, namespace, left):
    driven = drive(any_redis_url, namespace=namespace, dead_letter_limit=2)
    driven.send("a", "b", code="c")
    driven.send("d", code="d")
    driven.send("none")
    for count in range(4):
        driven.settle(driven.lease(1), SettleAs.DEAD, reason=f"{count}")

    assert [item.uuid for item in driven.broker.get_dead_tasks("q")] == ["d", "none"]
    assert [key for key in left() if key.startswith("code:")] == ["code:d"]


def test_codes_travel_with_follow_ups_and_are_counted_once(driven, left):
    driven.send("cause")
    here = messages("cause2", "next", code="c")
    there = messages("far", "far", queue="other", code="c")
    assert driven.settle(driven.lease(), follow_ups=(*here, *there)) == [Answer.OK]
    assert driven.broker.relay("q") == 0

    assert [set(page.canceled) for page in pages(driven)] == [{"cause2", "next"}]
    assert [page.canceled for page in pages(driven, queue="other")] == [("far",)]
    for queue in ("q", "other"):
        end_all(driven, queue)
        assert left(queue) == []


def test_a_message_that_causes_itself_again_keeps_its_code(driven, left):
    driven.send("a", code="c")
    driven.settle(driven.lease(), follow_ups=tuple(messages("a", code="c")))

    assert [page.canceled for page in pages(driven)] == [("a",)]
    end_all(driven)
    assert left() == []


def test_a_lease_that_ran_out_or_is_given_again_knows_its_codes(driven, left):
    driven.send("a", "b", code="c")
    first = driven.lease(call=1)
    assert driven.lease(call=1).deliveries == first.deliveries
    assert driven.broker.settle("q", [Settlement("a", first.token + " c")]) == [Answer.LOST]
    driven.settle(first, SettleAs.RETURN)
    again = driven.lease()
    assert [set(page.running) for page in pages(driven)] == [{"a", "b"}]
    assert set(driven.broker.extend("q", [again.token], LEASE)[0].canceled) == {"a", "b"}

    assert driven.settle(again) == [Answer.OK] * 2

    assert left() == []


# -- what it costs ---------------------------------------------------------------------------------------------------


def test_only_who_shares_a_code_pays_for_it(driven, any_redis):
    def cost(name, **fields):
        """How often each command was called in the life of ten messages."""
        with any_redis.client() as client:
            client.config_resetstat()
            driven.send(*[f"{name}{number}" for number in range(10)], **fields)
            driven.settle(driven.lease())
            stats = client.info("commandstats")
        return {key.removeprefix("cmdstat_"): value["calls"] for key, value in stats.items() if "config" not in key}

    cost("warm")
    plain, shared = cost("plain"), cost("shared", code="c")
    assert {name: shared[name] - plain.get(name, 0) for name in shared if shared[name] != plain.get(name, 0)} == {
        "sadd": 10,
        "srem": 10,
    }


def test_a_large_code_is_cancelled_in_small_pages(driven):
    driven.send(*[f"t{number}" for number in range(3_000)], delay=LEASE, code="c")

    found = pages(driven)

    assert max(len(page.canceled) for page in found) <= 300
    assert {uuid for page in found for uuid in page.canceled} == {f"t{number}" for number in range(3_000)}
    assert driven.broker.counts("q").ending == 3_000


@pytest.mark.parametrize("way", ["ids", "code"])
def test_large_bodies_are_read_a_few_at_a_time(driven, way):
    uuids = [f"t{number}" for number in range(60)]
    driven.send(*uuids, body=b"x" * 200_000, code="c")
    calls = []
    run = driven.broker._connections.run

    def counted(script, *args, **kwargs):
        calls.append(script)
        return run(script, *args, **kwargs)

    driven.broker._connections.run = counted
    if way == "ids":
        assert driven.broker.cancel("q", [*uuids, "unknown"]) == [Canceling.CANCELED] * 60 + [Canceling.UNKNOWN]
        assert calls.count(scripts.CANCEL) >= 10
    else:
        found = pages(driven)
        assert sorted(uuid for page in found for uuid in page.canceled) == sorted(uuids)
        assert max(len(page.canceled) for page in found) <= 6


def test_who_left_between_two_pages_is_not_cancelled_under_another_code(driven):
    """What a page had no time for is asked about again: it may be over, and its id used again."""
    uuids = [f"t{number}" for number in range(12)]
    driven.send(*uuids, body=b"x" * 400_000, code="c")
    first = driven.broker.cancel_code("q", "c")
    assert first.cursor
    end_all(driven)
    driven.send(*uuids, code="another")

    second = driven.broker.cancel_code("q", "c", first.cursor)

    assert (second.canceled, second.running, second.cursor) == ((), (), "")
    assert driven.broker.counts("q").pending == 12


def test_letting_go_reads_no_bodies(driven, any_redis):
    driven.broker.stage("h", messages(*[f"t{number}" for number in range(50)], body=b"x" * 50_000))
    driven.broker.unstage("q", "h", limit=1)
    with any_redis.client() as client:
        client.config_resetstat()
        assert driven.broker.unstage("q", "h") == 0
        stats = client.info("commandstats")

    assert stats["cmdstat_hget"]["calls"] == 1  # which priorities were used


# -- when memory is full ---------------------------------------------------------------------------------------------


@pytest.fixture
def full(own_server, drive):
    def fill():
        with own_server.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)

    return drive(own_server.url), fill


def test_a_full_server_holds_nothing_new(full):
    driven, fill = full
    driven.send("a")
    fill()

    with pytest.raises(BrokerUnavailable, match="out of memory"):
        driven.broker.stage("h", messages("b", "c"))

    assert driven.broker.counts("q").held == 0
    assert driven.broker.staged("q", AT_ONCE) == []


@pytest.mark.parametrize("canceled", [False, True])
def test_a_full_server_lets_go(full, canceled):
    driven, fill = full
    driven.broker.stage("h", messages("a", "b", code="c") + messages("late", delay=LEASE))
    fill()

    assert driven.broker.unstage("q", "h", canceled=canceled) == 0

    verdict = Verdict.CANCELED if canceled else None
    lease = driven.lease()
    late = {"late"} if canceled else set()
    assert {(item.uuid, item.verdict) for item in lease.deliveries} == {(uuid, verdict) for uuid in {"a", "b"} | late}
    assert set(driven.settle(lease)) == {Answer.OK}


def test_a_full_server_cancels_a_code(full):
    driven, fill = full
    driven.broker.stage("h", messages("held", code="c"))
    driven.send("pending", code="c")
    driven.send("delayed", delay=LEASE, code="c")
    fill()

    assert [set(page.canceled) for page in pages(driven)] == [{"held", "pending", "delayed"}]

    assert driven.settle(driven.lease(verdicts_only=True)) == [Answer.OK] * 3


def test_what_is_held_outlives_the_server(own_server, drive):
    driven = drive(own_server.url)
    driven.broker.stage("h", messages("a", "b", code="c"))
    own_server.kill()
    own_server.start()

    eventually(lambda: driven.broker.locate(["a"]), "the server's return")
    assert driven.broker.locate(["a"])[0].standing is Standing.HELD
    assert driven.broker.stage("h", messages("a", "b", code="c")) == [False, False]
    assert driven.broker.unstage("q", "h") == 0
    assert uuids_of(driven.lease()) == ["a", "b"]


def test_queues_of_a_cluster_hold_each_their_part(drive):
    with RedisCluster(redis8_binary()) as cluster:
        driven = drive(cluster.url)
        queues = [f"q{number}" for number in range(8)]
        assert len({cluster.node_of(keys.queue("vecna", queue)).port for queue in queues}) == 2
        parts = [message for queue in queues for message in messages(f"in-{queue}", queue=queue, code="c")]

        assert driven.broker.stage("h", parts) == [True] * 8
        assert driven.broker.queues() == queues
        assert [driven.broker.staged(queue, AT_ONCE) for queue in queues] == [["h"]] * 8
        assert [driven.broker.unstage(queue, "h") for queue in queues] == [0] * 8
        assert [pages(driven, queue=queue)[0].canceled for queue in queues] == [(f"in-{queue}",) for queue in queues]
