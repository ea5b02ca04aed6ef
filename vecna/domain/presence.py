"""What a worker says of itself while it is there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Final

import attrs
import msgspec

from vecna.domain.errors import InvalidSignature

_encode: Final = msgspec.json.Encoder().encode


@attrs.frozen
class RunningTask:
    """A task that a worker runs.

    Attributes:
        uuid: its id.
        name: its registered name.
        queue: where it came from.
        started_at: when this run began.
    """

    uuid: str
    name: str
    queue: str
    started_at: dt.datetime


@attrs.frozen
class WorkerRecord:
    """A worker that is there.

    Attributes:
        uuid: of this start of it; another one after a restart.
        name: how states, logs and listings call it; others may have the same.
        queues: what it serves.
        concurrency: how many tasks it runs at a time; 0 for no limit.
        started_at: since when.
        host, pid: where it runs.
        held: how many tasks it held when it last said so, those included that wait in it.
        running: those of them that ran, the longest running first; at most twenty.
    """

    uuid: str
    name: str
    queues: tuple[str, ...]
    concurrency: int
    started_at: dt.datetime
    host: str = ""
    pid: int = 0
    held: int = 0
    running: tuple[RunningTask, ...] = ()

    def to_json(self) -> bytes:
        """The record as bytes."""
        return _encode(attrs.asdict(self))

    @staticmethod
    def from_json(record: bytes) -> WorkerRecord:
        """The record that `to_json` wrote. Unknown keys are ignored.

        Raises:
            InvalidSignature: the bytes hold no record.
        """
        try:
            return _decode(record).record()
        except msgspec.MsgspecError as exc:
            raise InvalidSignature(f"the record of a worker cannot be read: {exc}") from None


def read_workers(records: Iterable[bytes]) -> list[WorkerRecord]:
    """The records that can be read, by name."""
    found: list[WorkerRecord] = []
    for record in records:
        try:
            found.append(WorkerRecord.from_json(record))
        except InvalidSignature:  # of a newer version: nothing depends on it
            continue
    return sorted(found, key=lambda each: (each.name, each.uuid))


class _Run(msgspec.Struct):
    uuid: str
    name: str
    queue: str
    started_at: dt.datetime


class _Worker(msgspec.Struct):
    uuid: str
    name: str
    queues: tuple[str, ...]
    concurrency: int
    started_at: dt.datetime
    host: str = ""
    pid: int = 0
    held: int = 0
    running: tuple[_Run, ...] = ()

    def record(self) -> WorkerRecord:
        running = tuple([RunningTask(run.uuid, run.name, run.queue, run.started_at) for run in self.running])
        fields = (self.uuid, self.name, self.queues, self.concurrency, self.started_at, self.host, self.pid, self.held)
        return WorkerRecord(*fields, running)


_decode: Final = msgspec.json.Decoder(_Worker).decode
