"""What lies under the keys: where, how much, and what is left when all is done."""

import re
from collections import Counter
from pathlib import Path

import pytest

import vecna.adapters.redis
from tests.faults.redis.conftest import LEASE, uuids_of
from tests.faults.redis.servers import eventually
from vecna.adapters.clock import ManualClock
from vecna.adapters.redis import keys
from vecna.domain.ids import new_id
from vecna.domain.message import Message
from vecna.domain.presence import WorkerRecord
from vecna.ports.values import SettleAs, Verdict

LUA = Path(vecna.adapters.redis.__file__).parent / "lua"
ROOT = Path(__file__).parents[3]


@pytest.fixture
def driven(any_redis_url, drive, namespace):
    return drive(any_redis_url, namespace=namespace)


@pytest.fixture
def look(any_redis, namespace):
    """The names of all keys, without the namespace."""

    def look() -> set[str]:
        with any_redis.client() as client:
            return {key.decode().removeprefix(f"{namespace}:") for key in client.keys(f"{namespace}:*")}

    return look


def test_a_message_lies_where_the_documentation_says(driven, any_redis, namespace):
    names = [
        "a",
        "ab",
        "12345678901",
        "123456789012",
        "1234567890123",
        "x" * 200,
        "code@1764000000000",
        new_id(),
    ]
    driven.send(*names)
    with any_redis.client() as client:
        for name in names:
            where = f"{keys.queue(namespace, 'q')}:m:{keys.bucket(name)}"
            record = client.hget(where, name)
            assert re.fullmatch(rb"0 \d{13} - \{\}", record), f"{name} is not in {where}"


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"UUID":"a","Name":"x"}', b',"Name":"x"}'),
        (b'{"UUID":"a", "Name":"x"}', None),
        (b'{"UUID":"a"}', None),
        (b'{"UUID":"b","Name":"x"}', None),
        (b'{"UUID":"a",,', None),
        (b"", None),
        (b",", b",,"),
        (b',"Name":"x"}', b',,"Name":"x"}'),
        (b",,x", b",,,x"),
    ],
)
def test_a_body_is_kept_without_its_id_and_comes_back_as_it_was(driven, any_redis, namespace, body, kept):
    driven.broker.enqueue([Message("a", "q", body)])
    with any_redis.client() as client:
        record = client.hget(f"{keys.queue(namespace, 'q')}:m:{keys.bucket('a')}", "a")
    assert record.split(b" ", 3)[3] == (body if kept is None else kept)

    (place,) = driven.broker.locate(["a"])
    assert place.body == body
    (delivery,) = driven.lease().deliveries
    assert delivery.body == body


@pytest.mark.parametrize(
    "names",
    [
        [new_id() for _ in range(20_000)],
        [f"report@{1_764_000_000_000 + 60_000 * minute}" for minute in range(20_000)],
        [f"report@{1_764_000_000_000 + 86_400_000 * day}" for day in range(2_000)],
        [f"job-{number}" for number in range(20_000)],
        [f"job-{number:08d}" for number in range(20_000)],
    ],
    ids=["uuid", "every minute", "every day", "numbered", "padded"],
)
@pytest.mark.parametrize("bucket", [keys.bucket, keys.record_bucket])
def test_buckets_are_filled_evenly(names, bucket):
    sizes = Counter(map(bucket, names))

    assert max(sizes.values()) < 4 * len(names) / 64
    assert len(sizes) > 48


def test_scripts_use_no_key_that_is_not_listed():
    """keys.QUEUE_KEYS is the list that operators and rights go by."""
    used = set()
    for path in LUA.glob("*.lua"):
        if path.name.startswith(("schedule", "plan")):
            continue  # they have keys of their own
        used |= {(path.name, suffix) for suffix in re.findall(r"Q \.\. ':([a-z]+:?)", path.read_text())}

    assert {found for found in used if found[1] not in keys.QUEUE_KEYS} == set()
    documented = (ROOT / "docs" / "redis-keys.md").read_text()
    assert [suffix for suffix in keys.QUEUE_KEYS if f":{suffix}" not in documented] == []


def test_nothing_is_left_of_what_is_done(driven, look):
    driven.send("a", "b", "c", "d", priority=5)
    driven.send("later", delay=LEASE)
    held = driven.lease(2)
    driven.broker.cancel("q", ["a", "c", "later"])
    driven.settle(held, SettleAs.RETRY)
    driven.settle(driven.lease(), SettleAs.RETURN)
    while deliveries := driven.lease().deliveries:
        driven.settle(driven.lease(call=driven.calls))
        assert deliveries
    driven.end("a")
    driven.backend.release(["a"], -LEASE)
    grant = driven.lock.acquire("l", "o", LEASE)
    driven.lock.release(grant)

    assert look() == {
        "queues",
        "q:{q}:meta",
        "q:{q}:calls",
        "q:{q}:workers",
        "l:{l}:fence",
    }


def test_what_has_expired_is_collected_by_the_server(driven, any_redis, namespace):
    driven.end("a", "b")
    driven.backend.release(["a"], LEASE)
    driven.backend.release(["b"], LEASE / 1000)
    driven.lock.acquire("long", "o", LEASE)
    driven.lock.acquire("short", "o", LEASE / 1000)

    with any_redis.client() as client:
        assert 0 < client.pttl(keys.record(namespace, "a")) <= 30_000
        assert 0 < client.pttl(keys.lock(namespace, "long")[0]) <= 30_000
        eventually(lambda: not client.exists(keys.lock(namespace, "short")[0]), "the end of a lock")
    eventually(lambda: driven.backend.get_state("b") is None, "the end of a record")
    assert driven.backend.get_state("a") is not None


def test_a_virtual_clock_leaves_no_expiry_to_the_server(any_redis_url, drive, namespace, any_redis):
    clock = ManualClock()
    driven = drive(any_redis_url, clock, namespace=namespace)
    driven.end("a")
    driven.backend.release(["a"], LEASE / 1000)
    driven.lock.acquire("l", "o", LEASE / 1000)

    with any_redis.client() as client:
        assert client.pttl(keys.record(namespace, "a")) == -1
        assert client.pttl(keys.lock(namespace, "l")[0]) == -1
    assert driven.backend.get_state("a") is not None
    clock.advance(LEASE / 1000)
    assert driven.backend.get_state("a") is None
    assert driven.lock.acquire("l", "p", LEASE) is not None


def test_workers_that_are_gone_are_forgotten(any_redis_url, drive, namespace, any_redis):
    clock = ManualClock()
    driven = drive(any_redis_url, clock, namespace=namespace)
    for number in range(150):
        driven.lease(worker=f"gone-{number}")
    clock.advance(86_401)
    for _ in range(20):
        driven.lease(worker="here")
    with any_redis.client() as client:
        assert client.hkeys(f"{namespace}:q:{{q}}:calls") == [b"here"]
        assert client.zrange(f"{namespace}:q:{{q}}:workers", 0, -1) == [b"here"]


def test_a_lease_tells_the_time_in_microseconds(drive, any_redis_url, namespace):
    """In whole milliseconds what is due would be looked for half a millisecond late."""
    driven = drive(any_redis_url, namespace=namespace)
    assert any(driven.lease().now.microsecond % 1000 for _ in range(20))


def test_what_workers_that_are_gone_have_said_goes_when_the_next_one_speaks(drive, namespace, any_redis):
    clock = ManualClock()
    driven = drive(any_redis.url, clock, namespace=namespace)
    for name in ("gone", "here"):
        driven.broker.note_worker(WorkerRecord(name, name, ("q",), 1, clock.now()), LEASE)
        clock.advance(LEASE)
    with any_redis.client() as client:
        assert client.hkeys(keys.workers(namespace)[0]) == [b"here"]
        assert client.zrange(keys.workers(namespace)[1], 0, -1) == [b"here"]


def test_dead_letters_go_with_their_bodies(any_redis_url, drive, namespace, any_redis):
    driven = drive(any_redis_url, namespace=namespace, dead_letter_limit=3)
    driven.send(*[f"t{number}" for number in range(10)])
    driven.settle(driven.lease(), SettleAs.DEAD, reason="because")

    assert [letter.uuid for letter in driven.broker.get_dead_tasks("q")] == ["t7", "t8", "t9"]
    assert driven.broker.counts("q").dead == 3
    with any_redis.client() as client:
        prefix = keys.queue(namespace, "q")
        assert sum(client.hlen(f"{prefix}:m:{number}") for number in range(64)) == 3
        assert client.hlen(f"{prefix}:reasons") == client.hlen(f"{prefix}:counts") == 3


def test_cancelled_ones_leave_their_place_in_line(driven, any_redis, namespace):
    """A cancel is O(1) however long the queue is; the entry is dropped when its turn comes."""
    driven.send(*[f"t{number}" for number in range(6)])
    driven.broker.cancel("q", ["t0", "t2", "t5"])
    line = f"{keys.queue(namespace, 'q')}:p:0"
    with any_redis.client() as client:
        assert client.llen(line) == 6
        assert driven.broker.counts("q").pending == 3
        ended = driven.lease(verdicts_only=True)
        assert [item.verdict for item in ended.deliveries] == [Verdict.CANCELED] * 3
        driven.settle(ended)
        driven.send("t2")  # the same id again, behind the others
        assert driven.broker.counts("q").pending == 4

        lease = driven.lease()

        assert uuids_of(lease) == ["t1", "t3", "t4", "t2"]
        assert not lease.more
        assert client.llen(line) == 0
        assert not client.exists(f"{keys.queue(namespace, 'q')}:stale")


def test_only_stale_entries_left_are_not_more_work(driven):
    driven.send("a", "b")
    driven.broker.cancel("q", ["b"])
    driven.settle(driven.lease(verdicts_only=True))

    assert not driven.lease(1).more


def test_more_stale_entries_than_one_call_looks_at(driven):
    names = [f"t{number}" for number in range(2500)]
    driven.send(*names, "last")
    driven.broker.cancel("q", names)
    while driven.settle(driven.lease(500, verdicts_only=True)):
        pass
    taken = []
    for _ in range(5):
        taken += uuids_of(driven.lease(1))
    assert taken == ["last"]


def test_equal_times_come_in_order_of_arrival(driven):
    for number in range(30):
        driven.send(f"t{number}", due=ManualClock().now())
    clock_past = [f"t{number}" for number in range(30)]
    assert uuids_of(driven.lease()) == clock_past


def test_delayed_to_the_same_instant_come_in_order_of_arrival(any_redis_url, drive, namespace):
    clock = ManualClock()
    driven = drive(any_redis_url, clock, namespace=namespace)
    due = clock.advance(0) + LEASE
    order = [f"t{number}" for number in (5, 3, 9, 1, 7)]
    for name in order:
        driven.send(name, due=due)
    driven.send(*[f"u{number}" for number in (5, 3, 9, 1, 7)], due=due)
    assert driven.lease().next_due == due
    clock.advance(LEASE)
    assert uuids_of(driven.lease()) == [*order, *[name.replace("t", "u") for name in order]]


def test_leases_that_run_out_together_come_back_in_the_order_in_which_they_were_made(any_redis_url, drive, namespace):
    clock = ManualClock()
    driven = drive(any_redis_url, clock, namespace=namespace)
    names = [f"t{number}" for number in range(12)]
    driven.send(*names)
    for _ in names:
        driven.lease(1)
    for _ in range(3):  # others are about: no outage
        clock.advance(LEASE / 3)
        driven.broker.extend("q", ["0:nobody:1"], LEASE)

    assert uuids_of(driven.lease()) == names


def test_bodies_over_the_room_of_one_lease_come_with_the_next(driven, monkeypatch):
    monkeypatch.setattr("vecna.adapters.redis.broker.REPLY_BYTES", 2500)
    names = [f"t{number}" for number in range(7)]
    driven.send(*names, body=b"x" * 1000)

    batches = []
    while batch := uuids_of(driven.lease()):
        batches.append(batch)

    assert [name for batch in batches for name in batch] == names
    assert max(map(len, batches)) == 3


def test_a_large_message_travels(driven):
    body = bytes(range(256)) * 4096  # 1 MiB, the largest there is
    driven.send("a", "b", "c", body=body)

    assert [item.body == body for item in driven.lease().deliveries] == [True] * 3
    assert driven.broker.locate(["a"], ["q"])[0].body == body


def test_many_follow_ups_in_one_step(driven):
    driven.send("a")
    lease = driven.lease()
    follow_ups = tuple([Message(f"f{number}", "q" if number % 2 else "other", b"{}") for number in range(10_000)])

    driven.settle(lease, follow_ups=follow_ups)
    while driven.broker.relay("q"):
        pass

    assert driven.broker.counts("q").pending == driven.broker.counts("other").pending == 5_000
