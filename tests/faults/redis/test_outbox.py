"""Follow-ups for other queues: whoever relays, crashes or comes late, each arrives once and in order."""

import datetime as dt
import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.redis.conftest import uuids_of
from tests.faults.redis.servers import eventually
from vecna.adapters.redis import keys, scripts
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.message import Message
from vecna.ports.values import Answer


@pytest.fixture
def driven(any_redis_url, drive, namespace):
    return drive(any_redis_url, namespace=namespace)


@pytest.fixture
def cause(driven):
    """Settles tasks whose ends cause follow-ups for `target`."""
    numbers = itertools.count()

    def cause(*uuids: str, target: str = "other", source: str = "q", **fields) -> None:
        driven.send(f"cause-{next(numbers)}", queue=source)
        lease = driven.lease(queue=source)
        follow_ups = tuple([Message(uuid, target, uuid.encode(), **fields) for uuid in uuids])
        assert driven.settle(lease, follow_ups=follow_ups) == [Answer.OK]

    return cause


class Steps:
    """The steps of a relay, one by one."""

    def __init__(self, driven, namespace):
        self.run = driven.broker._connections.run
        self.namespace = namespace

    def read(self, source="q", limit=500):
        return self.run(scripts.OUTBOX_READ, [keys.queue(self.namespace, source)], [limit, 1 << 20])

    def accept(self, epoch, entries, target="other", source="q"):
        names = [keys.queue(self.namespace, target), keys.queues(self.namespace)]
        return self.run(scripts.ACCEPT, names, [0, target, source, epoch, *entries])

    def drop(self, epoch, cursor, target="other", source="q"):
        return self.run(scripts.OUTBOX_DROP, [keys.queue(self.namespace, source)], [epoch, target, cursor])


@pytest.fixture
def steps(driven, namespace):
    return Steps(driven, namespace)


def number(entry):
    """Of an entry in an outbox."""
    return int(entry.partition(b"<")[0])


def arrived(driven, queue="other"):
    lease = driven.lease(queue=queue)
    driven.settle(lease)
    return uuids_of(lease)


def test_a_relay_that_died_after_any_step_is_repeated_without_harm(driven, cause, steps):
    cause("a", "b")
    epoch, _, entries = steps.read()  # died after reading
    assert driven.broker.counts("other").pending == 0
    epoch, _, entries = steps.read()
    last = number(entries[-1])
    assert steps.accept(epoch, entries) == last  # died after handing over
    assert arrived(driven) == ["a", "b"]  # and they are gone already when the next one relays

    assert driven.broker.relay("q") == 0

    assert arrived(driven) == []
    assert steps.drop(epoch, last) == 0  # a late repetition of the last step
    cause("c")
    assert driven.broker.relay("q") == 0
    assert arrived(driven) == ["c"]


def test_a_late_relayer_brings_nothing_twice(driven, cause, steps):
    cause("a", "b")
    epoch, _, old = steps.read()
    driven.broker.relay("q")
    assert arrived(driven) == ["a", "b"]
    cause("c", "d")

    assert steps.accept(epoch, old) == number(old[-1])
    assert steps.drop(epoch, number(old[-1])) == 2
    assert arrived(driven) == []
    assert driven.broker.relay("q") == 0
    assert arrived(driven) == ["c", "d"]


def test_a_gap_is_waited_for(driven, cause, steps):
    cause("a", "b", "c")
    epoch, _, entries = steps.read()

    assert steps.accept(epoch, [entries[0], entries[2]]) == number(entries[0])

    assert arrived(driven) == ["a"]
    driven.broker.relay("q")
    assert arrived(driven) == ["b", "c"]


def test_many_relay_at_once(driven, cause):
    for number in range(40):
        cause(f"t{number}", target=f"target{number % 3}")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: driven.broker.relay("q", 7), range(60)))

    assert driven.broker.relay("q") == 0
    found = [arrived(driven, f"target{number}") for number in range(3)]
    assert found == [[f"t{number}" for number in range(first, 40, 3)] for first in range(3)]


def test_queues_send_to_each_other(driven, cause):
    cause("a", source="one", target="two")
    cause("b", source="two", target="one")
    driven.broker.relay("one")
    driven.broker.relay("two")

    assert arrived(driven, "two") == ["a"]
    assert arrived(driven, "one") == ["b"]
    assert driven.broker.queues() == ["one", "two"]


def test_a_target_that_cannot_take_does_not_keep_others_back(driven, cause, any_redis, namespace):
    cause(*[f"a{number}" for number in range(20)], target="broken")
    cause("b", target="fine")
    with any_redis.client() as client:
        client.set(f"{namespace}:q:{{broken}}:inbox", "something else")

        with pytest.raises(BrokerUnavailable, match="something else under one of vecna's keys"):
            driven.broker.relay("q", 10)

        assert arrived(driven, "fine") == ["b"]
        client.delete(f"{namespace}:q:{{broken}}:inbox")
    while driven.broker.relay("q"):
        pass
    assert arrived(driven, "broken") == [f"a{number}" for number in range(20)]


def test_a_target_that_has_lost_everything_goes_on(driven, cause, any_redis, namespace):
    cause("a", "b")
    driven.broker.relay("q")
    with any_redis.client() as client:
        client.delete(*client.keys(f"{namespace}:q:{{other}}:*"))
    cause("c")

    assert driven.broker.relay("q") == 0

    assert arrived(driven) == ["c"]


def test_a_target_that_has_lost_its_latest_steps_goes_on(driven, cause, any_redis, namespace, steps):
    """A failover to a replica that was behind: what had been confirmed is gone, and nothing waits for it for ever."""
    cause("a", "b", "c")
    epoch, _, entries = steps.read()
    driven.broker.relay("q")
    assert arrived(driven) == ["a", "b", "c"]
    with any_redis.client() as client:
        client.hset(f"{namespace}:q:{{other}}:inbox", "q", f"{epoch.decode()} {number(entries[0])}")
    cause("d")

    assert driven.broker.relay("q") == 0

    assert arrived(driven) == ["d"]


@pytest.mark.parametrize("old", [b"%d 0 1795508673003 - %b %b", b"%d 0;code 1795508673003 - %b %b"])
def test_entries_of_an_earlier_version_arrive_before_those_of_this_one(driven, cause, any_redis, namespace, steps, old):
    cause("c")
    _epoch, _, (entry,) = steps.read()
    with any_redis.client() as client:
        client.delete(outbox := f"{namespace}:q:{{q}}:outbox:other")
        client.rpush(outbox, old % (7, b"a", b"a"), old % (8, b"b", b"b"), entry.replace(b"<0", b"<8"))

    assert driven.broker.relay("q") == 0

    assert arrived(driven) == ["a", "b", "c"]


def test_a_source_that_has_lost_its_latest_steps_goes_on(driven, cause, any_redis, namespace):
    """A failover to a replica that was behind: a number that has arrived already is not given to something new."""
    cause("a")
    driven.broker.relay("q")
    with any_redis.client() as client:
        kept = {key: client.dump(key) for key in client.keys(f"{namespace}:q:{{q}}:*")}
        cause("b", "c")  # of this the replica has heard nothing
        driven.broker.relay("q")
        assert arrived(driven) == ["a", "b", "c"]
        client.delete(*client.keys(f"{namespace}:q:{{q}}:*"))
        for key, value in kept.items():
            client.restore(key, 0, value)
    cause("d")
    cause("c")  # what was lost is done again

    assert driven.broker.relay("q") == 0

    assert arrived(driven) == ["d", "c"]


def test_a_confirmation_of_an_epoch_that_is_over_drops_nothing(driven, cause, any_redis, namespace, steps):
    cause("a", "b")
    old_epoch, _, old_entries = steps.read()
    with any_redis.client() as client:
        client.delete(*client.keys(f"{namespace}:q:{{q}}:*"))
    _until_later(steps, old_epoch)
    cause("c")

    assert steps.drop(old_epoch, number(old_entries[-1])) == 1

    assert driven.broker.relay("q") == 0
    assert arrived(driven) == ["c"]


def test_a_source_that_has_lost_everything_begins_anew(driven, cause, any_redis, namespace, steps):
    cause("a", "b")
    old_epoch, _, old_entries = steps.read()
    driven.broker.relay("q")
    arrived(driven)
    with any_redis.client() as client:
        client.delete(*client.keys(f"{namespace}:q:{{q}}:*"))
    _until_later(steps, old_epoch)
    cause("c")

    assert driven.broker.relay("q") == 0

    assert arrived(driven) == ["c"]
    assert steps.accept(old_epoch, old_entries) == -1  # of the history that is over
    assert arrived(driven) == []


def test_an_entry_keeps_its_time_and_priority(driven, cause):
    cause("low", priority=1)
    cause("high", priority=9)
    cause("later", delay=dt.timedelta(hours=1))
    before = driven.broker.counts("q")
    driven.broker.relay("q")

    lease = driven.lease(queue="other")
    assert uuids_of(lease) == ["high", "low"]
    assert [item.body for item in lease.deliveries] == [b"high", b"low"]
    assert driven.broker.counts("other").delayed == 1
    assert before == driven.broker.counts("q")


def _until_later(steps, epoch) -> None:
    client = steps.run.__self__._opened().client
    eventually(lambda: client.time()[0] * 1000 + client.time()[1] // 1000 > int(epoch), "a later millisecond")
