"""Hearing of the ends of tasks: one connection that subscribes to a channel for each awaited id."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from vecna.adapters.redis.connections import Connections, unavailable
from vecna.adapters.redis.errors import REDIS_ERRORS
from vecna.adapters.redis.line import Bell, Line, wait_for
from vecna.domain.errors import VecnaError
from vecna.domain.ids import check_id
from vecna.ports.backend import Listener

_CHUNK: Final = 500
#: The longest that `watch` waits for the server to confirm, seconds.
_CONFIRM: Final = 5.0
#: After so many seconds of silence the server is asked whether it is there, and given as many again to answer.
_SILENCE: Final = 10.0
_LOST: Final[tuple[type[Exception], ...]] = (*REDIS_ERRORS, VecnaError)


class RedisListener(Listener):
    """Subscribes, and reads what comes. Whoever waits for something reads for all; the others wait for that thread.

    Args:
        connections: to the server or cluster.
        prefix: what the names of channels begin with; the id follows.
    """

    def __init__(self, connections: Connections, prefix: str) -> None:
        self._connections = connections
        self._prefix = prefix
        self._bell = Bell()
        self._changed = threading.Condition()
        # All below is changed under `_changed` only, except by the thread that reads.
        self._reading = False
        self._line: Line | None = None
        self._lost: Exception | None = None  # why there is no line, until a poll has told
        self._read_at = 0.0  # when something was last read, by the clock's monotonic reading
        self._asked_at: float | None = None  # when the server was asked since whether it is there
        self._regained: set[str] = set()  # whose end may have been missed: heard of as soon as that is over
        self._watched: dict[str, bool] = {}  # id -> whether the server has confirmed, on this connection
        self._heard: dict[str, None] = {}
        self._closed = False
        self._woken = False

    # -- what is listened for ----------------------------------------------------------------------------------------

    def watch(self, uuids: Sequence[str]) -> None:
        """See `vecna.ports.Listener`.

        When the server cannot be reached, the ids are kept: the next `poll` raises, or subscribes to them.
        """
        for uuid in uuids:
            check_id(uuid, "task id")
        if self._connections.clock.virtual:
            return
        with self._changed:
            new = [uuid for uuid in dict.fromkeys(uuids) if uuid not in self._watched]
            self._watched.update(dict.fromkeys(new, False))
            if self._closed:
                return
            try:
                if self._line is None:
                    self._connect(new)
                else:
                    self._send("SUBSCRIBE", new)
            except _LOST as exc:
                self._lose(exc)
                return
        # Until then an end may be told before the server knows that somebody listens; also if another thread has asked.
        self._read_until(lambda: all(self._watched.get(uuid, True) for uuid in uuids), _CONFIRM)

    def unwatch(self, uuids: Sequence[str]) -> None:
        """See `vecna.ports.Listener`."""
        for uuid in uuids:
            check_id(uuid, "task id")
        with self._changed:
            gone = [uuid for uuid in uuids if self._watched.pop(uuid, None) is not None]
            for uuid in gone:
                self._heard.pop(uuid, None)
            if self._line is not None:
                try:
                    self._send("UNSUBSCRIBE", gone)
                except REDIS_ERRORS as exc:
                    self._lose(exc)

    # -- news --------------------------------------------------------------------------------------------------------

    def poll(self, timeout: float) -> list[str]:
        """See `vecna.ports.Listener`. Under a virtual clock it returns at once."""
        if self._connections.clock.virtual:
            return []
        with self._changed:
            try:
                if self._line is None and self._lost is None and not self._closed:
                    self._connect()
            except REDIS_ERRORS as exc:
                self._lose(exc)
        self._read_until(lambda: self._closed or self._woken or bool(self._heard or self._lost), timeout)
        with self._changed:
            heard = list(self._heard)
            self._heard.clear()
            self._woken = False
            if heard or self._closed or self._lost is None:
                return heard
            lost, self._lost = self._lost, None
        # Also when another thread has found it out: what was told meanwhile has not been heard.
        raise unavailable(lost, self._connections) from lost

    def wake(self) -> None:
        """See `vecna.ports.Listener`. It never waits: event loops call it, and who connects holds the lock for long.

        Whoever reads hears the bell, and has all others look again.
        """
        self._woken = True
        self._bell.ring()

    def close(self) -> None:
        """See `vecna.ports.Listener`; a poll after it returns at once."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
            self._bell.ring()
            self._changed.wait_for(lambda: not self._reading)
            self._hang_up()
            self._bell.close()

    # -- the connection ----------------------------------------------------------------------------------------------

    def _connect(self, new: Sequence[str] = ()) -> None:
        """Connect, and subscribe to all that is awaited; under the lock."""
        self._line = Line(self._connections.dedicated(self._prefix))
        self._regained = set(self._watched).difference(new)
        self._watched = dict.fromkeys(self._watched, False)
        self._read_at, self._asked_at = self._connections.clock.monotonic(), None
        self._send("SUBSCRIBE", list(self._watched))

    def _send(self, command: str, uuids: Sequence[str]) -> None:
        for start in range(0, len(uuids), _CHUNK):
            assert self._line is not None
            self._line.send(command, *[self._prefix + uuid for uuid in uuids[start : start + _CHUNK]])

    def _lose(self, exc: Exception) -> None:
        self._hang_up()
        self._connections.look_again()
        self._lost = exc

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _read_until(self, done: Callable[[], bool], timeout: float) -> None:
        """Read, or let another thread read, until `done` or the line is lost, at most `timeout` seconds."""
        now = self._connections.clock.monotonic
        end = now() + timeout
        while True:
            with self._changed:
                line = self._line
                if line is None or done() or (left := end - now()) < 0:
                    return
                if self._reading:
                    self._changed.wait(left)
                    continue
                self._reading = True
            messages: list[Any] = []
            lost: Exception | None = None
            try:
                self._read(line, min(left, _SILENCE / 2), messages)
            except REDIS_ERRORS as exc:
                lost = exc
            finally:
                with self._changed:
                    # In one step: who reads next would otherwise wait for what has been read already.
                    for message in messages:
                        self._take(message)
                    self._reading = False
                    if self._line is line:
                        self._look_after(line, bool(messages), lost)
                    self._changed.notify_all()

    def _look_after(self, line: Line, has_read: bool, lost: Exception | None) -> None:
        """Give up a line that is broken, or has been silent for too long; under the lock."""
        now = self._connections.clock.monotonic()
        try:
            if lost is not None:
                raise lost
            if has_read:
                self._read_at, self._asked_at = now, None
            elif self._asked_at is not None:
                if now - self._asked_at > _SILENCE:
                    raise ConnectionError("the connection has gone silent")
            elif now - self._read_at > _SILENCE:
                self._asked_at = now
                line.send("PING")
        except REDIS_ERRORS as exc:
            self._lose(exc)

    def _read(self, line: Line, timeout: float, messages: list[Any]) -> None:
        if wait_for([line], self._bell, timeout):
            while line.has_reply():
                messages.append(line.read())
        self._bell.silence()

    def _take(self, message: Any) -> None:
        if not isinstance(message, list):
            return  # the answer to a PING while nothing is subscribed to
        kind, channel = message[0], message[1] or b""
        uuid = channel.decode().removeprefix(self._prefix)
        if uuid in self._watched:
            if kind == b"message":
                self._heard[uuid] = None
            elif kind == b"subscribe":
                self._watched[uuid] = True
                if uuid in self._regained:
                    self._regained.discard(uuid)
                    self._heard[uuid] = None
