"""The server is put under the harness, and gets back what it had."""

import gc
import weakref
from typing import Any

import pytest

from tests.unit.testing.app import Shop
from vecna import Config, InvalidArgument, Registry, Server, UnknownTask
from vecna.testing import Harness


def test_the_ports_are_swapped_and_put_back() -> None:
    server = Server("memory://")
    broker, clock = server.broker, server.clock
    chance = server.random.getstate()
    with Harness(server) as harness:
        assert server.broker is not broker
        assert server.clock is harness.clock
        assert server.config.broker == "memory://"
    assert (server.broker, server.clock) == (broker, clock)
    assert server.random.getstate() == chance


def test_what_was_not_opened_yet_is_opened_on_its_own_ports_later() -> None:
    server = Server("memory://")
    with Harness(server):
        assert server.clock.virtual
    assert not server.clock.virtual


def test_they_are_put_back_when_the_test_fails() -> None:
    server = Server("memory://")
    broker = server.broker
    with pytest.raises(ZeroDivisionError), Harness(server):
        raise ZeroDivisionError
    assert server.broker is broker


def test_what_was_sent_before_and_after_is_untouched() -> None:
    server = Server("memory://")
    task = server.register_task("double", lambda a: 2 * a)
    before: Any = task.send(1)
    with Harness(server) as harness:
        inside: Any = task.send(2)
        assert harness.run() == 1
        with pytest.raises(UnknownTask):
            before.get_state()
    assert [signature.uuid for signature in server.get_pending_tasks()] == [before.uuid]
    with pytest.raises(UnknownTask):
        inside.get_state()


def test_nothing_of_redis_is_opened(shop: Shop) -> None:
    """Its server does not exist: a connection would fail."""
    with Harness(shop.server) as harness:
        shop.note.send("a")
        assert harness.run() == 1
    assert shop.server._opened is None


def test_each_harness_begins_with_nothing(shop: Shop) -> None:
    for _ in range(2):
        with Harness(shop.server) as harness:
            assert harness.sent() == []
            shop.note.send("a")
            shop.note.every("@hourly").send("a")
            assert [counts.pending for counts in shop.server.queue_counts().values()] == [1]
            assert len(shop.server.schedules()) == 1


def test_tasks_of_included_registries_follow(shop: Shop) -> None:
    tasks = Registry()

    @tasks.task
    def remote() -> int:
        return 7

    shop.server.include(tasks)
    with Harness(shop.server) as harness:
        result = remote.send()
        harness.run()
        assert result.get() == 7


def test_the_server_may_be_closed_meanwhile(shop: Shop, harness: Harness) -> None:
    """Programs do that at their end; what they have sent is still to be looked at."""
    with shop.server:
        result = shop.note.send("a")
    harness.run()
    assert result.get() == "noted a"
    harness.assert_sent("note")


def test_one_server_has_one_harness_at_a_time(shop: Shop) -> None:
    with Harness(shop.server), pytest.raises(InvalidArgument, match="is under a harness already: close that one first"):
        Harness(shop.server)
    Harness(shop.server).close()


def test_two_servers_may_have_one_each(shop: Shop) -> None:
    other = Shop()
    with Harness(shop.server) as harness, Harness(other.server) as second:
        shop.note.send("a")
        assert (second.run(), harness.run()) == (0, 1)


def test_after_its_close_it_says_so(shop: Shop) -> None:
    harness = Harness(shop.server)
    harness.close()
    harness.close()
    with pytest.raises(RuntimeError, match=r"advance\(\) was called on a harness that is closed"):
        harness.advance(days=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("memory://",), "takes a vecna.Server, not str"),
        ((Server("memory://"), None, 1.5), "seed takes an int, not float"),
    ],
)
def test_what_is_no_server_and_no_seed_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Harness(*arguments)


def test_the_server_keeps_its_harness_alive_and_not_for_ever() -> None:
    server = Server(Config(broker="memory://"))
    task = server.register_task("double", lambda a: 2 * a)
    Harness(server)
    gc.collect()
    result: Any = task.send(1)
    assert server.clock.virtual
    assert result.is_new
    seen = weakref.ref(server)
    del server, task, result
    gc.collect()
    assert seen() is None
