"""What a child process tells its supervisor, and is told: lines over a socket. Either may be lost with its sender."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

#: What a supervisor orders, one byte each. The end of the line means DRAIN: there is no supervisor any more.
DRAIN: Final = b"d"
ABORT: Final = b"a"


class Run(msgspec.Struct, array_like=True):
    """One task under a lease.

    Attributes:
        uuid: its id.
        name: of the task.
        left: seconds until its hard limit; None if its run is over.
    """

    uuid: str
    name: str
    left: float | None


class Held(msgspec.Struct, array_like=True, tag="held"):
    """A lease, and what may begin to run under it now.

    Attributes:
        queue: where it is from.
        token: of the lease.
        encoded: what it holds, `Run`s that need not be looked at; a repeated report replaces the one before.
        over: queues and tokens of leases that were reported, and hold nothing any more.
    """

    queue: str
    token: str
    encoded: msgspec.Raw
    over: list[tuple[str, str]] = []

    def runs(self) -> list[Run]:
        """What it holds."""
        return _runs.decode(self.encoded)


class Asks(msgspec.Struct, array_like=True, tag="asks"):
    """The child is about to make a lease call. What it gets is reported, as `Held`, before any of it may begin to run.

    Attributes:
        queue: the queue.
        worker: as which it asks.
        call: the number of the call.
    """

    queue: str
    worker: str
    call: int


class Ended(msgspec.Struct, array_like=True, tag="ended"):
    """Tasks with a `timeout` of their own whose runs are over. The others are not worth a word: see `Alive`."""

    uuids: list[str]


class Alive(msgspec.Struct, array_like=True, tag="alive"):
    """The child is alive, serves, and holds this and nothing else. Comes with every heartbeat."""

    holds: list[Held]


Report = Asks | Held | Ended | Alive

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Report)
_runs: Final = msgspec.json.Decoder(list[Run])

#: A `Run` before it travels.
Row = tuple[str, str, float | None]


def asks(queue: str, worker: str, call: int) -> bytes:
    """An `Asks` as it travels."""
    return _encoder.encode(("asks", queue, worker, call)) + b"\n"


def held(queue: str, token: str, runs: list[Row], over: list[tuple[str, str]]) -> bytes:
    """A `Held` as it travels."""
    return _encoder.encode(("held", queue, token, runs, over)) + b"\n"


def ended(uuids: list[str]) -> bytes:
    """An `Ended` as it travels."""
    return _encoder.encode(("ended", uuids)) + b"\n"


def alive(holds: Iterable[tuple[str, str, list[Row]]]) -> bytes:
    """An `Alive` as it travels."""
    return _encoder.encode(("alive", [("held", *hold) for hold in holds])) + b"\n"


class Reader:
    """Puts together again what comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Any]:
        """The reports that are complete with this piece.

        Raises:
            msgspec.DecodeError: one is none.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield _decoder.decode(line)
