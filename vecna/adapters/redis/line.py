"""One connection of one's own that can be waited on, and a bell that ends the waiting from another thread."""

from __future__ import annotations

import contextlib
import math
import select
import socket
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final

from redis.connection import AbstractConnection

#: How long to wait for the server's end of a connection to be closed, seconds.
_FAREWELL: Final = 0.5
_READABLE: Final = select.POLLIN | select.POLLPRI | select.POLLHUP | select.POLLERR


class Bell:
    """Rung by any thread; ends a wait under way, or else the next one. Opens its sockets when somebody waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: tuple[socket.socket, socket.socket] | None = None
        self._rung = False

    def fileno(self) -> int:
        """For select and poll."""
        with self._lock:
            if self._sockets is None:
                inside, outside = self._sockets = socket.socketpair()
                inside.setblocking(False)
                outside.setblocking(False)
                if self._rung:
                    outside.send(b"!")
            return self._sockets[0].fileno()

    def ring(self) -> None:
        """Ring; harmless when rung already, or after `close`."""
        with self._lock:
            if not self._rung and self._sockets is not None:
                self._sockets[1].send(b"!")
            self._rung = True

    def silence(self) -> bool:
        """Whether it was rung since the last time."""
        with self._lock:
            rung, self._rung = self._rung, False
            if rung and self._sockets is not None:
                self._sockets[0].recv(1)
            return rung

    def close(self) -> None:
        """Give up its sockets."""
        with self._lock:
            for end in self._sockets or ():
                end.close()
            self._sockets = None


class Line:
    """A connection that is written to and read from by hand.

    Args:
        connection: of redis-py, not yet connected, without retries and health checks.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        connection.connect()  # type: ignore[no-untyped-call]  # of redis-py

    @property
    def socket(self) -> socket.socket:
        """What to wait on."""
        found: socket.socket | None = self._connection._sock  # noqa: SLF001  # redis-py has no public name for it
        if found is None:
            raise ConnectionError("the connection is closed")
        return found

    def send(self, *command: Any) -> None:
        """Send a command, and do not wait for its reply."""
        self._connection.send_command(*command, check_health=False)  # type: ignore[no-untyped-call]  # of redis-py

    def has_reply(self) -> bool:
        """Whether a reply, or part of one, is there already."""
        return bool(self._connection.can_read(0))

    def read(self) -> Any:
        """Read the next reply; an error that the server sends is raised."""
        return self._connection.read_response()

    def leave(self) -> bool:
        """Close the connection, and wait a moment until the server knows: it then gives nothing more to it.

        Returns:
            Whether it has given something before that was not read.
        """
        given = False
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            self.socket.settimeout(_FAREWELL)
            while self.socket.recv(4096):
                given = True
        self.close()
        return given

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()  # type: ignore[no-untyped-call]  # of redis-py


def wait_for(lines: Sequence[Line], bell: Bell, timeout: float) -> list[Line]:
    """Wait until one of the lines has something to read, the bell rings, or `timeout` seconds have passed.

    Returns:
        The lines that have something to read.
    """
    ready = [line for line in lines if line.has_reply()]  # what has been read from the socket wakes no poll
    if ready:
        return ready
    by_file = {line.socket.fileno(): line for line in lines}
    found = _poll((*by_file, bell.fileno()), timeout)
    return [by_file[file] for file in found if file in by_file]


def _poll(files: Iterable[int], timeout: float) -> list[int]:
    poll = select.poll()  # not select: it knows no file numbers over 1023
    for file in files:
        poll.register(file, _READABLE)
    # Rounded up: a wait that ends before its time would be followed by another one.
    return [file for file, _ in poll.poll(math.ceil(max(timeout, 0.0) * 1000))]
