"""Those who send at the same time on an event loop share calls, and nothing else."""

import asyncio
import gc
import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest

from vecna.app.lanes import Lanes
from vecna.app.twins import Pool
from vecna.domain.errors import BrokerUnavailable, InvalidArgument
from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.ports.async_queueing import AsyncQueueing
from vecna.ports.broker import Broker


class Slow(AsyncQueueing):
    """Answers calls when it is told to; a message with the id "bad" is refused."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.go = asyncio.Semaphore(0)
        self.closed: set[str] = set()

    async def enqueue_async(self, messages: Sequence[Message]) -> list[bool]:
        uuids = [message.uuid for message in messages]
        self.calls.append(uuids)
        if messages[0].queue in self.closed:
            await asyncio.get_running_loop().create_future()
        await self.go.acquire()
        if "bad" in uuids:
            raise InvalidArgument("bad")
        if any(uuid.startswith("away") for uuid in uuids):
            raise BrokerUnavailable("no route to host")
        return [not uuid.startswith("old") for uuid in uuids]


class InThreads:
    """A broker that offers nothing to event loops."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.threads: set[threading.Thread] = set()
        self.go = threading.Event()

    def enqueue(self, messages: Sequence[Message]) -> list[bool]:
        self.calls.append([message.uuid for message in messages])
        self.threads.add(threading.current_thread())
        self.go.wait(30)
        return [True] * len(messages)


def lanes_of(broker: object) -> Lanes:
    return Lanes(cast(Broker, broker), Pool())


def sending(lanes: Lanes, *uuids: str, queue: str = "q", body: bytes = b"{}") -> asyncio.Future[list[bool]]:
    return asyncio.ensure_future(lanes.enqueue([Message(uuid, queue, body) for uuid in uuids]))


async def turns(count: int = 5) -> None:
    """Let everybody do what they can do now."""
    for _ in range(count):
        await asyncio.sleep(0)  # noqa: TID251  # takes no time


async def test_who_comes_in_one_turn_shares_a_call_and_who_comes_later_the_next() -> None:
    broker = Slow()
    lanes = lanes_of(broker)
    first = [sending(lanes, f"a{number}", f"old{number}") for number in range(3)]
    await turns()
    second = [sending(lanes, f"b{number}") for number in range(3)]
    await turns()
    assert broker.calls == [["a0", "old0", "a1", "old1", "a2", "old2"]]

    broker.go.release()
    broker.go.release()

    assert await asyncio.gather(*first) == [[True, False]] * 3
    assert await asyncio.gather(*second) == [[True]] * 3
    assert broker.calls[1:] == [["b0", "b1", "b2"]]
    assert lanes._lanes == {}


async def test_a_call_takes_what_one_step_of_a_broker_takes() -> None:
    broker = Slow()
    lanes = lanes_of(broker)
    many = [sending(lanes, *[f"{number}-{n}" for n in range(200)]) for number in range(3)]
    large = [sending(lanes, f"large{number}", body=b"x" * 700_000) for number in range(2)]
    for _ in range(4):
        broker.go.release()

    await asyncio.gather(*many, *large)

    assert [len(call) for call in broker.calls] == [400, 201, 1]


async def test_only_who_has_caused_it_hears_of_a_fault() -> None:
    broker = Slow()
    lanes = lanes_of(broker)
    good, bad, other = sending(lanes, "good"), sending(lanes, "bad"), sending(lanes, "other")
    for _ in range(4):
        broker.go.release()

    assert await good == [True]
    with pytest.raises(InvalidArgument):
        await bad
    assert await other == [True]


async def test_all_hear_of_an_outage_each_by_an_error_of_its_own() -> None:
    broker = Slow()
    lanes = lanes_of(broker)
    senders = [sending(lanes, f"away{number}") for number in range(3)]
    broker.go.release()

    errors = await asyncio.gather(*senders, return_exceptions=True)

    assert [str(error) for error in errors] == ["no route to host"] * 3
    assert all(isinstance(error, BrokerUnavailable) for error in errors)
    assert len(set(map(id, errors))) == 3
    assert len(broker.calls) == 1


async def test_who_leaves_before_the_call_is_not_sent_and_who_leaves_during_it_hinders_nobody() -> None:
    broker = Slow()
    lanes = lanes_of(broker)
    during, stays = sending(lanes, "during"), sending(lanes, "stays")
    await turns()
    before, after = sending(lanes, "before"), sending(lanes, "after")
    await turns()
    during.cancel()
    before.cancel()
    await turns()
    broker.go.release()
    broker.go.release()

    assert await stays == [True]
    assert await after == [True]
    assert broker.calls == [["during", "stays"], ["after"]]
    assert during.cancelled()
    assert before.cancelled()


async def test_a_lane_that_is_cancelled_before_its_first_step_holds_nobody_up() -> None:
    """Programs tidy up by cancelling all tasks that there are."""
    broker = Slow()
    lanes = lanes_of(broker)
    cut_off = sending(lanes, "a")
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await turns()

    assert isinstance(cut_off.exception(), BrokerUnavailable)
    later = sending(lanes, "b")
    broker.go.release()
    await turns()
    assert later.result() == [True]
    assert lanes._lanes == {}


async def test_no_queue_waits_for_another() -> None:
    broker = Slow()
    broker.closed.add("stuck")
    lanes = lanes_of(broker)
    stuck = sending(lanes, "a", queue="stuck")
    await turns()
    broker.go.release()

    assert await sending(lanes, "b", queue="other") == [True]
    assert not stuck.done()
    stuck.cancel()


async def test_a_broker_that_offers_nothing_is_served_by_threads_and_shared_as_well() -> None:
    broker = InThreads()
    lanes = lanes_of(broker)
    first = sending(lanes, "a")
    while not broker.calls:
        await turns(1)
    others = [sending(lanes, f"b{number}") for number in range(10)]
    await turns()
    broker.go.set()

    assert await first == [True]
    assert await asyncio.gather(*others) == [[True]] * 10
    assert broker.calls == [["a"], [f"b{number}" for number in range(10)]]
    assert threading.current_thread() not in broker.threads
    lanes._pool.close()


async def test_what_fills_calls_of_its_own_is_sent_by_a_thread() -> None:
    """To put it together would hold up the loop, and nobody would gain."""
    broker: Any = InThreads()
    broker.go.set()
    lanes = lanes_of(broker)

    assert await sending(lanes, *[f"a{number}" for number in range(501)]) == [True] * 501
    assert await sending(lanes) == []
    lanes._pool.close()


def test_what_a_loop_leaves_under_way_is_forgotten() -> None:
    """One is run to its end, by which what is under way is cancelled; another is closed without."""
    ended: list[asyncio.Future[list[bool]]] = []

    async def leave(lanes: Lanes) -> None:
        ended.append(sending(lanes, "a"))
        await turns()

    async def main() -> Lanes:
        lanes = lanes_of(Slow())
        await leave(lanes)
        return lanes

    assert asyncio.run(main())._lanes == {}
    assert ended[0].done()

    lanes = lanes_of(Slow())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave(lanes))
    left = asyncio.all_tasks(loop)
    loop.close()
    assert len(lanes._lanes) == 1
    asyncio.run(leave(lanes))
    assert lanes._lanes == {}
    while left:  # else asyncio complains of them, rightly
        left.pop()._log_destroy_pending = False  # type: ignore[attr-defined]  # has no public name
    gc.collect()  # what is left of them ends here, and not in the midst of something else


# -- calls that are prepared together ----------------------------------------------------------------------------------


def prepared(made: list[list[str]]) -> Any:
    """Makes messages of calls, and notes which it is given together; a call that is named bad cannot be sent."""

    def prepare(signatures: Sequence[Signature[Any]]) -> tuple[Sequence[Signature[Any]], list[Message]]:
        made.append([signature.name for signature in signatures])
        if "bad" in made[-1]:
            raise InvalidArgument("bad")
        return signatures, [Message(each.uuid, each.queue or "q", b"{}") for each in signatures]

    return prepare


async def test_who_joins_in_one_turn_is_prepared_together_and_goes_to_its_own_queue() -> None:
    made: list[list[str]] = []
    prepare = prepared(made)
    broker = Slow()
    lanes = lanes_of(broker)
    joined = [lanes.join(Signature(name, queue=queue), prepare) for name, queue in [("a", "x"), ("b", "y"), ("c", "x")]]
    await turns()
    later = lanes.join(Signature("d", queue="x"), prepare)
    for _ in range(3):
        broker.go.release()

    assert await asyncio.gather(*[each.answers for each in (*joined, later)]) == [[True]] * 4
    assert made == [["a", "b", "c"], ["d"]]
    assert [len(call) for call in broker.calls] == [2, 1, 1]
    assert [each.messages[0].queue for each in joined] == ["x", "y", "x"]
    assert lanes._turns == {}


async def test_thousands_are_prepared_a_part_in_each_turn() -> None:
    made: list[list[str]] = []
    broker = Slow()
    lanes = lanes_of(broker)
    joined = [lanes.join(Signature("a"), prepared(made)) for _ in range(1_200)]
    await turns(1)
    joined.append(lanes.join(Signature("last"), prepared(made)))
    for _ in range(4):
        broker.go.release()

    assert await asyncio.gather(*[each.answers for each in joined]) == [[True]] * 1_201
    assert [len(names) for names in made] == [500, 500, 201]
    assert [uuid for call in broker.calls for uuid in call] == [each.signature.uuid for each in joined]


async def test_a_call_that_cannot_be_prepared_is_its_own_senders_matter() -> None:
    made: list[list[str]] = []
    broker = Slow()
    lanes = lanes_of(broker)
    good, bad, other = [lanes.join(Signature(name), prepared(made)) for name in ("a", "bad", "c")]
    broker.go.release()

    assert await asyncio.gather(*[good.answers, other.answers]) == [[True], [True]]
    with pytest.raises(InvalidArgument):
        await bad.answers
    assert made == [["a", "bad", "c"], ["a"], ["bad"], ["c"]]
    assert broker.calls == [[good.signature.uuid, other.signature.uuid]]


async def test_who_leaves_before_the_turn_is_over_is_not_even_prepared() -> None:
    made: list[list[str]] = []
    broker = Slow()
    lanes = lanes_of(broker)
    leaving, staying = [lanes.join(Signature(name), prepared(made)) for name in ("a", "b")]
    leaving.answers.cancel()
    broker.go.release()

    assert await staying.answers == [True]
    assert made == [["b"]]


def test_a_turn_that_never_ends_is_forgotten() -> None:
    lanes = lanes_of(Slow())

    async def leave() -> None:
        lanes.join(Signature("a"), prepared([]))

    loop = asyncio.new_event_loop()
    task = loop.create_task(leave())
    loop.call_soon(loop.stop)
    loop.run_forever()  # one turn only
    loop.close()
    assert task.done()
    assert len(lanes._turns) == 1

    async def main() -> None:
        lanes.join(Signature("b"), prepared([])).answers.cancel()
        await turns()

    asyncio.run(main())
    assert lanes._turns == {}
