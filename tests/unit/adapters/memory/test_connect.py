"""`memory://` and `memory://name`: who shares what."""

import datetime as dt
import os
import threading

import attrs
import pytest

from vecna.adapters.clock import ManualClock
from vecna.adapters.memory import connect
from vecna.domain.errors import ConfigError
from vecna.domain.message import Message
from vecna.domain.state import State, TaskState
from vecna.ports.values import QueueCounts, SettleAs, Settlement


@attrs.frozen
class Settings:
    namespace: str = "vecna"
    dead_letter_limit: int = 10


@pytest.fixture
def name(namespace):
    return f"memory://{namespace}"


def fill(adapters):
    adapters.broker.enqueue([Message("a", "q", b"")])
    adapters.backend.put_states([TaskState(task_uuid="a", state=State.SUCCESS)])
    adapters.lock.acquire("a", "me", dt.timedelta(seconds=1))


def holdings(adapters):
    return (
        adapters.broker.queues(),
        adapters.backend.get_state("a") is not None,
        adapters.lock.acquire("a", "you", dt.timedelta(seconds=1)) is None,
    )


def test_an_unnamed_store_is_private():
    clock = ManualClock()
    one, other = (connect("memory://", Settings(), clock) for _ in range(2))
    fill(one)

    assert holdings(one) == (["q"], True, True)
    assert holdings(other) == ([], False, False)
    assert one.clock is clock


def test_a_named_store_is_shared_by_all_that_name_it(name):
    clock = ManualClock()
    fill(connect(name, Settings(), clock))

    assert holdings(connect(name, Settings(), clock)) == (["q"], True, True)
    assert holdings(connect(f"{name}-other", Settings(), clock)) == ([], False, False)


def test_a_namespace_keeps_apart_what_shares_a_name(name):
    clock = ManualClock()
    fill(connect(name, Settings("one"), clock))

    assert holdings(connect(name, Settings("two"), clock)) == ([], False, False)


def test_a_forked_child_begins_with_nothing(name):
    """It would run what its parent runs, else; and a lock that another thread held would never be free."""
    clock = ManualClock()
    fill(connect(name, Settings(), clock))
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, repr(holdings(connect(name, Settings(), clock))).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)

    assert os.read(reader, 100) == b"([], False, False)"
    os.close(reader)


def test_threads_that_connect_at_once_share(name):
    clock = ManualClock()
    start = threading.Barrier(8)
    found = []

    def act():
        start.wait(20)
        adapters = connect(name, Settings(), clock)
        adapters.broker.enqueue([Message(f"t{threading.get_ident()}", "q", b"")])
        found.append(adapters)

    threads = [threading.Thread(target=act) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [adapters.broker.counts("q").pending for adapters in found] == [8] * 8


@pytest.mark.parametrize(
    "url", ["memory:", "redis://x", "memory://a b", "memory:///", "memory://{a}", "memory://a?b=1"]
)
def test_a_url_that_cannot_be_used_is_refused(url):
    with pytest.raises(ConfigError, match="memory"):
        connect(url, Settings(), ManualClock())


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_the_oldest_dead_letters_go_first(limit):
    broker = connect("memory://", Settings(dead_letter_limit=limit), ManualClock()).broker
    broker.enqueue([Message(f"t{number}", "q", b"") for number in range(5)])
    lease = broker.lease("q", 5, worker="w", call=1, duration=dt.timedelta(seconds=1), max_deliveries=1)

    broker.settle("q", [Settlement(item.uuid, item.token, SettleAs.DEAD) for item in lease.deliveries])

    kept = [f"t{number}" for number in range(5)][5 - limit :]
    assert [letter.uuid for letter in broker.get_dead_tasks("q")] == kept
    assert broker.counts("q") == QueueCounts(dead=limit)
    assert broker.enqueue([Message("t0", "q", b"")]) == [True]
