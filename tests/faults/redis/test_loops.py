"""Sending and waiting on event loops, with connections that break, senders that leave, loops that come and go."""

import asyncio
import gc
import os
import threading

import pytest

from tests.faults.redis.servers import eventually
from tests.servers import RedisServer, redis8_binary
from vecna import Config, Server, Signature
from vecna.adapters.redis import loops, scripts
from vecna.adapters.redis.loops import Loops
from vecna.domain.arg import TaskResult
from vecna.domain.errors import BrokerUnavailable, ConfigError
from vecna.domain.message import Message
from vecna.domain.state import State, TaskState
from vecna.ports.values import QueueCounts

PATIENCE = 20.0


def messages(*uuids: str) -> list[Message]:
    return [Message(uuid, "q", b"{}") for uuid in uuids]


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)  # noqa: TID251  # takes no time


@pytest.fixture
def driven(proxy, drive, namespace):
    return drive(proxy.url, namespace=namespace)


@pytest.fixture
def server(any_redis_url, namespace):
    with Server(Config(broker=any_redis_url, namespace=namespace)) as server:
        yield server


@pytest.fixture
def own():
    """A server whose connections are only this test's."""
    with RedisServer(redis8_binary()) as running:
        yield running


def connections(own: RedisServer) -> list[dict[str, str]]:
    """What the server knows of its clients, but for the one that asks."""
    with own.client() as client:
        return [each for each in client.client_list() if each["cmd"] != "client|list"]


# -- a connection that breaks ------------------------------------------------------------------------------------------


async def test_a_lost_reply_is_made_up_for_and_nothing_is_sent_twice(driven, losing):
    assert await driven.broker.enqueue_async(messages("warm-up")) == [True]
    losing(scripts.ENQUEUE)

    assert await driven.broker.enqueue_async(messages("a", "b")) == [False, False]
    assert driven.broker.counts("q") == QueueCounts(pending=3)


async def test_connections_that_were_cut_while_idle_are_replaced(driven, proxy):
    await driven.broker.enqueue_async(messages("a"))
    proxy.cut()

    assert await driven.broker.enqueue_async(messages("b")) == [True]


async def test_a_server_that_forgot_the_scripts_is_sent_them_again(driven, any_redis):
    await driven.broker.enqueue_async(messages("a"))
    with any_redis.client() as client:
        client.script_flush()

    assert await driven.broker.enqueue_async(messages("b")) == [True]


async def test_a_server_that_is_silent_is_given_up_in_time_and_taken_back(proxy, drive, namespace):
    driven = drive(proxy.url, namespace=namespace, redis={"read_timeout": 0.2})
    await driven.broker.enqueue_async(messages("a"))
    made = len(proxy._pairs)
    proxy.freeze()
    with pytest.raises(BrokerUnavailable, match="did not answer in time"):
        await driven.broker.enqueue_async(messages("b"))
    assert len(proxy._pairs) == made, "it was tried again, over a connection of its own"
    proxy.thaw()

    assert await driven.broker.enqueue_async(messages("c")) == [True]


async def test_a_wrong_password_is_named(drive):
    with RedisServer(redis8_binary(), password="right") as running:
        wrong = running.url.replace("right", "wrong")
        with pytest.raises(ConfigError, match="refuses the user or password"):
            await drive(wrong).broker.enqueue_async(messages("a"))


async def test_a_server_that_was_away_for_a_while_has_all_in_the_end(own_server, namespace):
    async with Server(Config(broker=own_server.url, namespace=namespace, send_timeout=60)) as server:
        await server.send_task_async(Signature("a"))
        own_server.kill()
        senders = [asyncio.ensure_future(server.send_task_async(Signature("a"))) for _ in range(50)]
        await turns(20)
        await asyncio.to_thread(own_server.restart)

        assert all(handle.is_new for handle in await asyncio.gather(*senders))
        assert (await server.queue_counts_async())["vecna_tasks"].pending == 51


# -- senders that leave ------------------------------------------------------------------------------------------------


async def test_a_storm_of_cancelled_sends_leaves_no_dirty_connection(server):
    signatures = [Signature("a", [number]) for number in range(600)]
    left = []
    for number, signature in enumerate(signatures):
        left.append(asyncio.ensure_future(server.send_task_async(signature)))
        await turns(number % 4)
        left[-1 - number % 7 if number > 7 else -1].cancel()

    # An answer that nobody took would be taken for the answer to one of these, which know each other by it.
    handles = await asyncio.gather(*[server.send_tasks_async([Signature("b"), signature]) for signature in signatures])
    await asyncio.gather(*left, return_exceptions=True)

    assert [pair[0].is_new for pair in handles] == [True] * 600
    accepted = [each.result() for each in left if not each.cancelled()]
    assert 0 < len(accepted) < 600
    assert (await server.queue_counts_async())["vecna_tasks"].pending == 1_200
    assert all(handle.is_new for handle in accepted)


async def test_a_call_that_is_cut_off_gives_its_connection_up(driven, proxy):
    """Not as the server cancels it, which shields it: by whoever cancels the adapter's own."""
    await driven.broker.enqueue_async(messages("a"))
    proxy.freeze()
    calls = [asyncio.ensure_future(driven.broker.enqueue_async(messages(f"b{number}"))) for number in range(6)]
    await turns(20)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    proxy.thaw()

    assert await driven.broker.enqueue_async(messages("a", "c")) == [False, True]


# -- many who wait -----------------------------------------------------------------------------------------------------


async def test_ten_thousand_who_wait_cost_one_connection(own, namespace):
    async with Server(Config(broker=own.url, namespace=namespace)) as server:
        handles = await server.send_tasks_async([Signature("a") for _ in range(10_000)])
        await handles[0].get_state_async()
        before = len(connections(own))
        waiters = [asyncio.ensure_future(handle.get_async()) for handle in handles]
        await turns(2)
        listening = await asyncio.to_thread(_until_listened_for, own, 10_000)
        assert len(listening) == before + 1
        assert [each["sub"] for each in listening if each["sub"] != "0"] == ["10000"]

        for first in range(0, 10_000, 500):
            part = list(enumerate(handles))[first : first + 500]
            await asyncio.to_thread(server.backend.put_states, [_ended(handle, number) for number, handle in part])

        assert await asyncio.gather(*waiters) == list(range(10_000))


def _until_listened_for(own: RedisServer, count: int) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []

    def all_are() -> bool:
        found[:] = connections(own)
        return sum(int(each["sub"]) for each in found) == count

    eventually(all_are, "subscriptions to all")
    return found


def _ended(handle, value: int) -> TaskState:
    return TaskState(task_uuid=handle.uuid, state=State.SUCCESS, results=(TaskResult.of(value),))


def test_who_comes_to_wait_does_not_wait_for_who_connects(drive, proxy, namespace):
    """An event loop wakes the listener, which may be connecting to a server that is silent."""
    proxy.freeze()
    listener = drive(proxy.url, namespace=namespace, redis={"read_timeout": 2}).backend.listen()
    with listener._changed:  # as who connects holds it
        waking = threading.Thread(target=listener.wake)
        waking.start()
        waking.join(PATIENCE)
        assert not waking.is_alive()
    proxy.thaw()
    listener.close()


# -- loops that come and go --------------------------------------------------------------------------------------------


def opened() -> int:
    return len(loops._open)


def test_each_loop_has_its_own_and_takes_them_with_it(own, drive, namespace):
    broker = drive(own.url, namespace=namespace).broker
    broker.enqueue(messages("a"))
    before = len(connections(own))

    for number in range(3):
        assert asyncio.run(broker.enqueue_async(messages(f"b{number}"))) == [True]
    gc.collect()  # what was not closed would complain now

    assert opened() == 0
    eventually(lambda: len(connections(own)) == before, "connections that are closed")


@pytest.mark.parametrize("closer", ["its loop", "a thread", "nobody's loop"])
def test_a_close_closes_what_a_loop_has_opened(own, drive, namespace, closer):
    broker = drive(own.url, namespace=namespace).broker
    loop = asyncio.new_event_loop()

    async def main() -> None:
        await broker.enqueue_async(messages("a"))
        if closer == "its loop":
            broker.close()
            await broker.enqueue_async(messages("b"))
            await turns(10)
            assert opened() == 1
            broker.close()
            await turns(10)
        elif closer == "a thread":
            await asyncio.to_thread(broker.close)

    loop.run_until_complete(main())
    broker.close()

    eventually(lambda: connections(own) == [], "connections that are closed")
    loop.close()
    gc.collect()
    assert opened() == 0


def test_a_close_may_be_the_last_thing_on_a_loop(own, drive, namespace):
    """Blocking as it is: what it has begun is ended by the loop's own end."""
    broker = drive(own.url, namespace=namespace).broker

    async def main() -> None:
        await asyncio.gather(*[broker.enqueue_async(messages(f"a{number}")) for number in range(4)])
        broker.close()

    asyncio.run(main())
    gc.collect()

    assert opened() == 0
    eventually(lambda: connections(own) == [], "connections that are closed")


def test_a_loop_that_was_closed_without_its_generators_is_forgotten(server, recwarn):
    """asyncio says that it leaves connections open, which is so; a later loop goes on all the same."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(server.send_task_async(Signature("a")))
    loop.close()

    assert asyncio.run(server.send_task_async(Signature("b"))).is_new
    gc.collect()
    assert opened() == 0
    assert {warning.category for warning in recwarn} <= {ResourceWarning}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_a_child_opens_its_own_and_leaves_its_parents_alone(server):
    await server.send_task_async(Signature("a"))
    (parents,) = loops._open.values()

    child = os.fork()
    if child == 0:
        status = 1
        try:
            handle = asyncio.run(server.send_task_async(Signature("b")))
            status = 0 if handle.is_new and parents in loops._open.values() else 2
        finally:
            os._exit(status)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    sent = await asyncio.gather(*[server.send_task_async(Signature("c")) for _ in range(20)])
    assert all(handle.is_new for handle in sent)
    assert (await server.queue_counts_async())["vecna_tasks"].pending == 22


async def test_a_server_is_closed_with_its_block(own, namespace):
    async with Server(Config(broker=own.url, namespace=namespace)) as server:
        await server.send_task_async(Signature("a"))
        assert opened() == 1
    assert opened() == 0
    eventually(lambda: connections(own) == [], "connections that are closed")


def test_what_threads_do_not_share_are_loops(server):
    """Several loops in as many threads send at the same time."""
    counts: list[int] = []

    async def send() -> None:
        handles = await asyncio.gather(*[server.send_task_async(Signature("a")) for _ in range(100)])
        counts.append(sum([handle.is_new for handle in handles]))

    threads = [threading.Thread(target=asyncio.run, args=(send(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert counts == [100] * 4
    assert opened() == 0
    assert isinstance(server.broker._loops, Loops)
