"""The way into the broker for event loops: those who send at the same time share their round trips.

What comes while a call is under way goes with the next. Each queue has a lane of its own on each loop, so that none
waits for another. A sender that is cancelled leaves the call alone, which others share.
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from vecna.app.twins import Pool
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.ports.async_queueing import AsyncQueueing
from vecna.ports.broker import Broker

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
AnySignature = Signature[Any]
Prepare = Callable[[Sequence[AnySignature]], tuple[Sequence[AnySignature], Sequence[Message]]]
Enqueue = Callable[[Sequence[Message]], Awaitable[list[bool]]]
#: The queue or queues that a lane leads to.
Queues = str | frozenset[str]
#: Messages that go in one call, and bytes of their bodies: what every broker accepts in one step.
_MOST: Final = 500
_MOST_BYTES: Final = 1024 * 1024


class Lanes:
    """All lanes of a server in this process.

    Args:
        broker: where to; on the loop itself if it offers that (`vecna.ports.AsyncQueueing`), else in threads.
        pool: these threads.
    """

    def __init__(self, broker: Broker, pool: Pool) -> None:
        self._broker = broker
        self._pool = pool
        self._enqueue: Enqueue = (
            broker.enqueue_async if isinstance(broker, AsyncQueueing) else self._enqueue_in_a_thread
        )
        self._lanes: dict[tuple[asyncio.AbstractEventLoop, Queues], _Lane] = {}
        self._turns: dict[asyncio.AbstractEventLoop, list[Joined]] = {}  # who has joined in this turn of a loop

    def enqueue(self, messages: Sequence[Message]) -> Awaitable[list[bool]]:
        """As `vecna.ports.Queueing.enqueue`; when it is cancelled, what has not left yet is not sent.

        Raises:
            BrokerUnavailable: all, some or none was accepted.
        """
        import asyncio

        if not messages or len(messages) > _MOST:  # so many fill calls of their own
            return self._enqueue_in_a_thread(messages)
        loop = asyncio.get_running_loop()
        parcel = Parcel(messages, loop.create_future())
        self._put(loop, parcel)
        return parcel.answers

    def join(self, signature: AnySignature, prepare: Prepare) -> Joined:
        """Prepare a call together with all that join in this turn of the loop, and enqueue its message.

        Put together, a hundred cost a third of what they cost one by one.

        Args:
            signature: the call.
            prepare: makes of several calls what is sent, and the messages. What it raises for one, only that one's
                sender raises.

        Returns:
            What has the answer some time, and until then, as soon as this turn is over, the call as it is sent.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        parcel = Joined((), loop.create_future(), signature)
        turn = self._turns.get(loop)
        if turn is None:
            self._forget_closed_loops()
            turn = self._turns[loop] = []
            loop.call_soon(self._end_turn, loop, prepare, context=contextvars.Context())
        turn.append(parcel)
        return parcel

    def _end_turn(self, loop: asyncio.AbstractEventLoop, prepare: Prepare) -> None:
        parcels = [parcel for parcel in self._turns.pop(loop) if not parcel.answers.done()]
        now, later = parcels[:_MOST], parcels[_MOST:]
        if later:  # so that thousands do not hold up the loop; in front of who joins meanwhile
            self._turns[loop] = later
            loop.call_soon(self._end_turn, loop, prepare, context=contextvars.Context())
        self._prepare(loop, now, prepare)

    def _prepare(self, loop: asyncio.AbstractEventLoop, parcels: Sequence[Joined], prepare: Prepare) -> None:
        try:
            signatures, messages = prepare([parcel.signature for parcel in parcels])
        except Exception as exc:  # noqa: BLE001  # raised by whose call has caused it, and by nobody else
            if len(parcels) == 1:
                parcels[0].fail(exc)
                return
            for parcel in parcels:
                self._prepare(loop, [parcel], prepare)
            return
        for parcel, parcel.signature, message in zip(parcels, signatures, messages, strict=True):
            parcel.messages = [message]
            self._put(loop, parcel)

    def _put(self, loop: asyncio.AbstractEventLoop, parcel: Parcel) -> None:
        """Put it into its lane. One that is new is served in a context of its own, not in this sender's."""
        messages = parcel.messages
        queues: Queues = messages[0].queue
        if len(messages) > 1 and len(several := frozenset([message.queue for message in messages])) > 1:
            queues = several
        lane = self._lanes.get((loop, queues))
        if lane is not None:
            lane.waiting.append(parcel)
            return
        self._forget_closed_loops()
        lane = self._lanes[loop, queues] = _Lane(self._enqueue, lambda: self._lanes.pop((loop, queues), None))
        lane.waiting.append(parcel)
        lane.task = contextvars.Context().run(loop.create_task, lane.serve())
        lane.task.add_done_callback(lane.ended)

    def _forget_closed_loops(self) -> None:
        """What was under way on a loop that was closed too early will never end."""
        for key in list(self._lanes):
            if key[0].is_closed():
                self._lanes.pop(key, None)
        for loop in list(self._turns):
            if loop.is_closed():
                self._turns.pop(loop, None)

    async def aside(self, call: Callable[[], T]) -> T:
        """Make a call that may block in a thread."""
        return await self._pool.run(call)

    async def _enqueue_in_a_thread(self, messages: Sequence[Message]) -> list[bool]:
        return await self._pool.run(lambda: self._broker.enqueue(messages))


@attrs.define(eq=False)
class Parcel:
    """What one sender sends.

    Attributes:
        messages: at least one, as soon as they are made.
        answers: whether each is new.
    """

    messages: Sequence[Message]
    answers: asyncio.Future[list[bool]]

    def arrive(self, answers: list[bool]) -> None:
        """Wake the sender, if it still waits."""
        if not self.answers.done():
            self.answers.set_result(answers)

    def fail(self, error: Exception) -> None:
        """Have the sender raise this, if it still waits, and its loop has not been closed under it."""
        if not (self.answers.done() or self.answers.get_loop().is_closed()):
            self.answers.set_exception(error)


@attrs.define(eq=False)
class Joined(Parcel):
    """What is prepared together with what others send.

    Attributes:
        signature: the call; as soon as it is prepared, as it is sent.
    """

    signature: AnySignature


@attrs.define(eq=False)
class _Lane:
    """Who sends to the same queues on the same loop right now.

    Attributes:
        enqueue: hands messages to the broker.
        leave: called when nobody is left.
        waiting: who goes with the next calls.
        task: makes the calls.
        is_open: whether somebody may still join.
    """

    enqueue: Enqueue
    leave: Callable[[], object]
    waiting: deque[Parcel] = attrs.field(factory=deque)
    task: asyncio.Task[None] | None = None
    is_open: bool = True

    async def serve(self) -> None:
        """Make calls until nobody waits."""
        under_way: list[Parcel] = []
        try:
            while under_way := self._next():
                await self._carry(under_way)
        finally:
            self._end(under_way)

    def ended(self, _: object) -> None:
        """The task is over. If it was cancelled before its first step, `serve` does not know."""
        if self.is_open:
            self._end(())

    def _end(self, under_way: Sequence[Parcel]) -> None:
        self.is_open = False
        self.leave()
        for parcel in (*under_way, *self.waiting):
            # The loop is ending, or all its tasks were cancelled. Whoever goes on nevertheless tries again.
            parcel.fail(BrokerUnavailable("the sending was cut off"))

    def _next(self) -> list[Parcel]:
        """What goes with the next call."""
        parcels: list[Parcel] = []
        count = size = 0
        while self.waiting:
            parcel = self.waiting[0]
            count += len(parcel.messages)
            for message in parcel.messages:
                size += len(message.body)
            if parcels and (count > _MOST or size > _MOST_BYTES):
                break
            self.waiting.popleft()
            if not parcel.answers.done():  # not cancelled meanwhile
                parcels.append(parcel)
        return parcels

    async def _carry(self, parcels: Sequence[Parcel]) -> None:
        try:
            answers = await self.enqueue([message for parcel in parcels for message in parcel.messages])
        except BrokerUnavailable as exc:
            for parcel in parcels:  # an error for each: tracebacks grow on errors that are shared
                parcel.fail(BrokerUnavailable(str(exc)))
        except Exception as exc:  # noqa: BLE001  # raised by whose messages have caused it, and by nobody else
            if len(parcels) == 1:
                parcels[0].fail(exc)
                return
            for parcel in parcels:
                await self._carry([parcel])
        else:
            at = 0
            for parcel in parcels:
                parcel.arrive(answers[at : (at := at + len(parcel.messages))])
