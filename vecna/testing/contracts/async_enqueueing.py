"""Laws of accepting messages from event loops: where an adapter offers no way of its own, threads serve them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.errors import InvalidArgument
from vecna.domain.message import Message
from vecna.ports.async_queueing import AsyncQueueing
from vecna.ports.broker import Broker
from vecna.testing.contracts.driven import BrokerCase, DrivenQueue, at_once, names
from vecna.testing.contracts.values import HOSTILE, SECOND


async def accept(broker: Broker, messages: Sequence[Message]) -> list[bool]:
    """Enqueue as a client does on an event loop."""
    if isinstance(broker, AsyncQueueing):
        return await broker.enqueue_async(messages)
    return await asyncio.to_thread(broker.enqueue, messages)


class AsyncEnqueueLaws(BrokerCase):
    """`AsyncQueueing.enqueue_async`, or `Queueing.enqueue` in a thread."""

    def test_a_loop_gets_the_answers_in_order(self, queue: DrivenQueue, broker: Broker) -> None:
        """As from `enqueue`: one a message, also for an id that is there, or twice in one call."""
        queue.send("b")

        found = asyncio.run(accept(broker, [queue.message(uuid) for uuid in ("a", "b", "c", "a")]))

        assert found == [True, False, True, False]
        assert asyncio.run(accept(broker, [])) == []
        assert names(queue.take()) == ["b", "a", "c"]

    def test_a_loop_may_fill_several_queues(self, queue: DrivenQueue, broker: Broker, clock: ManualClock) -> None:
        """Each becomes known, and what has a time or a priority keeps it."""
        other = DrivenQueue(broker, clock, "other")
        late = other.message("late", delay=SECOND)
        messages = [queue.message("low"), late, queue.message("high", priority=9), other.message("soon")]

        assert asyncio.run(accept(broker, messages)) == [True] * 4

        assert broker.queues() == ["other", "q"]
        assert names(queue.take()) == ["high", "low"]
        assert names(other.take()) == ["soon"]
        clock.advance(SECOND)
        assert names(other.take()) == ["late"]

    def test_a_batch_from_a_loop_may_have_any_size(self, queue: DrivenQueue, broker: Broker) -> None:
        """The adapter splits it; the order stays."""
        uuids = [f"t{number}" for number in range(1_234)]

        assert asyncio.run(accept(broker, [queue.message(uuid) for uuid in uuids])) == [True] * 1_234
        assert names(queue.take(2_000)) == uuids

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_a_loop_is_refused_an_id_outside_the_rule(self, queue: DrivenQueue, broker: Broker, hostile: str) -> None:
        """And nothing of its batch is accepted."""
        with pytest.raises(InvalidArgument):
            asyncio.run(accept(broker, [queue.message("good"), queue.message(hostile)]))

        assert broker.queues() == []

    def test_many_coroutines_at_once_are_served(self, queue: DrivenQueue, broker: Broker) -> None:
        """Each gets the answers to its own messages, whatever others do meanwhile."""
        queue.send(*[f"old{number}" for number in range(20)])

        async def send(number: int) -> bool:
            found = await accept(broker, [queue.message(f"new{number}"), queue.message(f"old{number}")])
            return found == [True, False]

        async def main() -> list[bool]:
            return await asyncio.gather(*map(send, range(20)))

        assert asyncio.run(main()) == [True] * 20
        assert queue.counts().pending == 40

    def test_loops_come_and_go(self, queue: DrivenQueue, broker: Broker) -> None:
        """One after the other in one thread, and several at a time in as many, with the same object."""

        def loops(name: str) -> None:
            for number in range(3):
                assert asyncio.run(accept(broker, [queue.message(f"{name}-{number}")])) == [True]

        loops("first")
        at_once(*[partial(loops, f"thread{number}") for number in range(4)])

        assert queue.counts().pending == 15

    def test_what_is_cancelled_harms_nobody(self, queue: DrivenQueue, broker: Broker) -> None:
        """All, some or none of it was accepted; the next answer is that to the next call, not a late one to this."""

        async def main() -> None:
            for steps in range(12):
                leaving = asyncio.ensure_future(accept(broker, [queue.message(f"left{steps}"), queue.message("known")]))
                for _ in range(steps):
                    await asyncio.wait([leaving], timeout=0)  # one turn of the loop: it is cut off somewhere else
                leaving.cancel()
                staying = await accept(broker, [queue.message(f"a{steps}"), queue.message(f"b{steps}")])
                await asyncio.gather(leaving, return_exceptions=True)
                assert staying == [True, True]

        asyncio.run(main())
        taken = names(queue.take(1_000))

        assert {name for name in taken if name[0] in "ab"} == {f"{name}{steps}" for steps in range(12) for name in "ab"}
        assert len(set(taken)) == len(taken)
        assert queue.send("known") == ["known" not in taken]

    def test_a_closed_broker_serves_the_loop_again(self, queue: DrivenQueue, broker: Broker) -> None:
        """`close` gives up what was opened for a loop too: called on it, or by a thread meanwhile."""

        async def main() -> list[list[bool]]:
            found = [await accept(broker, [queue.message("a")])]
            broker.close()
            found.append(await accept(broker, [queue.message("b")]))
            await asyncio.to_thread(broker.close)
            return [*found, await accept(broker, [queue.message("c")])]

        assert asyncio.run(main()) == [[True]] * 3
        broker.close()
