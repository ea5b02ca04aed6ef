"""Accepting messages on Redis, at once or as a whole, and cancelling all that share a code."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from vecna.adapters.redis import keys, scripts, wire
from vecna.adapters.redis.connections import IMPATIENT, Connections
from vecna.adapters.redis.inspection import RedisInspection
from vecna.adapters.redis.loops import Loops
from vecna.adapters.redis.scripts import Script
from vecna.domain.ids import check_id
from vecna.domain.message import Message
from vecna.kit.rules import check_messages
from vecna.ports.staging import CodeCancel, CodeCancelling, Staging

T = TypeVar("T")
#: Most items, and bytes of bodies, of one call of a script: the server does nothing else meanwhile.
CHUNK: Final = 500
CHUNK_BYTES: Final = 1024 * 1024
#: How long a process takes for granted that a queue is in the registry, seconds: its node may lose what it has.
_REGISTERED: Final = 60.0
#: Messages in one page of a cancel by code, about: some two milliseconds of the server's time.
_PAGE: Final = 100


class RedisStaging(RedisInspection, Staging, CodeCancelling):
    """The part of `RedisBroker` that accepts messages, and deals with many as one.

    Args:
        connections: to the server or cluster.
        namespace: what the names of all keys begin with.
    """

    def __init__(self, connections: Connections, namespace: str) -> None:
        super().__init__(connections, namespace)
        self._loops = Loops(connections)
        self._registered: dict[str, float] = {}  # in a cluster: when a queue was last written to the registry

    def stage(self, hold: str, messages: Sequence[Message]) -> list[bool]:
        """See `vecna.ports.Staging`."""
        check_id(hold, "hold")
        return self._accept(scripts.STAGE, messages, hold)

    def unstage(self, queue: str, hold: str, *, canceled: bool = False, limit: int = 500) -> int:
        """See `vecna.ports.Staging`."""
        check_id(queue, "queue name")
        check_id(hold, "hold")
        now = wire.now_argument(self._connections.clock)
        while True:
            most = max(0, min(limit, CHUNK))
            left: int = self._run(scripts.UNSTAGE, queue, now, hold, most, "1" if canceled else "0")
            limit -= CHUNK
            if not left or limit <= 0:
                return left

    def staged(self, queue: str, age: dt.timedelta, limit: int = 100) -> list[str]:
        """See `vecna.ports.Staging`."""
        check_id(queue, "queue name")
        args = (wire.now_argument(self._connections.clock), wire.milliseconds(age), max(0, limit))
        return [name.decode() for name in self._run(scripts.STAGED, queue, *args, patience=IMPATIENT)]

    def cancel_code(self, queue: str, code: str, cursor: str = "") -> CodeCancel:
        """See `vecna.ports.CodeCancelling`.

        The cursor is that of SSCAN, and behind it ids that the page before had no time for.
        """
        check_id(queue, "queue name")
        check_id(code, "code")
        scan, *rest = cursor.split(" ")
        now = wire.now_argument(self._connections.clock)
        reply = self._run(scripts.CANCEL_CODE, queue, now, code, scan or "0", _PAGE, CHUNK_BYTES, *rest)
        following = reply[0].decode()
        canceled, running, left = [tuple([uuid.decode() for uuid in uuids]) for uuids in reply[1:]]
        is_last = following == "0" and not left
        return CodeCancel(canceled, running, "" if is_last else " ".join([following, *left]))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _run(self, script: Script, queue: str, *args: Any, patience: float | None = None) -> Any:
        return self._connections.run(script, (keys.queue(self._namespace, queue),), args, patience=patience)

    def _accept(self, script: Script, messages: Sequence[Message], *more: str) -> list[bool]:
        """Hand messages to a script that takes them in; whether each is new."""
        new = [True] * len(messages)
        for queue, positions, args in self._portions(messages, more):
            for known in self._connections.run(script, self._with_registry(queue), args):
                new[positions[known]] = False
        return new

    async def _accept_async(self, script: Script, messages: Sequence[Message]) -> list[bool]:
        """As `_accept`, on an event loop."""
        new = [True] * len(messages)
        for queue, positions, args in self._portions(messages, ()):
            key, registry = keys.queue(self._namespace, queue), keys.queues(self._namespace)
            names = [key, registry]
            if await self._loops.is_cluster():
                names = [key]
                if self._is_unregistered(queue):
                    await self._loops.call("SADD", registry, queue)
                    self._registered[queue] = self._connections.clock.monotonic()
            for known in await self._loops.run(script, names, args):
                new[positions[known]] = False
        return new

    def _portions(self, messages: Sequence[Message], more: Sequence[str]) -> Iterator[tuple[str, list[int], list[Any]]]:
        """What goes in one call each: the queue, the messages' positions, the script's arguments."""
        check_messages(messages)
        now = wire.now_argument(self._connections.clock)
        if len(messages) == 1:  # nearly always: one task is sent
            (only,) = messages
            yield only.queue, [0], [now, only.queue, *more, only.uuid, wire.mark(only), only.body]
            return
        by_queue: dict[str, list[int]] = {}
        for position, message in enumerate(messages):
            by_queue.setdefault(message.queue, []).append(position)
        for queue, positions in by_queue.items():
            for chunk in chunks(positions, lambda position: len(messages[position].body)):
                args: list[Any] = [now, queue, *more]
                for position in chunk:
                    message = messages[position]
                    args += (message.uuid, wire.mark(message), message.body)
                yield queue, chunk, args

    def _with_registry(self, queue: str) -> tuple[str, ...]:
        """Keys for a script that makes a queue known; in a cluster the registry is elsewhere, and is written first."""
        key, registry = keys.queue(self._namespace, queue), keys.queues(self._namespace)
        if not self._connections.is_cluster:
            return key, registry
        if self._is_unregistered(queue):
            self._connections.attempt(lambda client: client.sadd(registry, queue))
            self._registered[queue] = self._connections.clock.monotonic()
        return (key,)

    def _is_unregistered(self, queue: str) -> bool:
        return self._connections.clock.monotonic() - self._registered.get(queue, -math.inf) > _REGISTERED


def chunks(items: Sequence[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Cut into pieces that one script call takes; a single item may be larger."""
    if len(items) <= CHUNK and sum(map(size, items)) <= CHUNK_BYTES:
        if items:
            yield list(items)  # nearly always
        return
    chunk: list[T] = []
    total = 0
    for item in items:
        bytes_of_it = size(item)
        if chunk and (len(chunk) >= CHUNK or total + bytes_of_it > CHUNK_BYTES):
            yield chunk
            chunk, total = [], 0
        chunk.append(item)
        total += bytes_of_it
    if chunk:
        yield chunk
