"""Looking into queues on Redis, in pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from vecna.adapters.redis import keys, scripts, wire
from vecna.adapters.redis.connections import Connections
from vecna.domain.errors import InvalidSignature
from vecna.domain.ids import check_id
from vecna.domain.signature import Signature
from vecna.ports.broker import Inspection
from vecna.ports.values import DeadLetter, Place, QueueCounts, Standing

_PAGE: Final = 500
_PAGE_BYTES: Final = 4 * 1024 * 1024
_STANDINGS: Final = {
    b"p": Standing.PENDING,
    b"w": Standing.DELAYED,
    b"l": Standing.LEASED,
    b"e": Standing.ENDING,
    b"d": Standing.DEAD,
    b"h": Standing.HELD,
}


@attrs.frozen
class _Entry:
    """One place in a list or sorted set: id, score, record, and what a hash says about it."""

    uuid: str
    score: bytes | None
    record: bytes | None
    more: bytes | None


class RedisInspection(Inspection):
    """Looks without changing; pages of 500 are read as they are needed.

    Args:
        connections: to the server or cluster.
        namespace: what the names of all keys begin with.
    """

    def __init__(self, connections: Connections, namespace: str) -> None:
        self._connections = connections
        self._namespace = namespace

    def queues(self) -> list[str]:
        """See `vecna.ports.Inspection`."""
        registry = keys.queues(self._namespace)
        names = self._connections.attempt(lambda client: client.smembers(registry))
        return sorted([name.decode() for name in names])

    def counts(self, queue: str) -> QueueCounts:
        """See `vecna.ports.Inspection`."""
        check_id(queue, "queue name")
        return QueueCounts(*self._connections.run(scripts.COUNTS, (keys.queue(self._namespace, queue),), ()))

    def get_pending_tasks(self, queue: str, *, limit: int | None = None, offset: int = 0) -> list[Signature]:
        """See `vecna.ports.Inspection`."""
        check_id(queue, "queue name")
        found = [
            _read(entry)
            for entry in _page(self._pending(queue, None if limit is None else limit + offset), limit, offset)
        ]
        return [signature for signature in found if signature is not None]

    def _pending(self, queue: str, want: int | None) -> Iterator[_Entry]:
        """All that is pending, in the order of leasing. Entries of cancelled messages are the first of their ids."""
        for priority in range(9, -1, -1):
            skipped: dict[str, int] = {}
            for entry in self._entries(queue, f"p:{priority}", want=want, more="stale", prefix=str(priority)):
                if entry.more is not None and skipped.get(entry.uuid, 0) < int(entry.more):
                    skipped[entry.uuid] = skipped.get(entry.uuid, 0) + 1
                elif entry.record is not None:
                    yield entry

    def get_delayed_tasks(self, queue: str, *, limit: int | None = None, offset: int = 0) -> list[Signature]:
        """See `vecna.ports.Inspection`."""
        check_id(queue, "queue name")
        found = []
        for entry in _page(self._entries(queue, "delayed", start=offset, want=limit), limit, 0):
            signature = _read(entry)
            if signature is not None and entry.score is not None:
                found.append(signature.replace(eta=wire.instant(float(entry.score))))
        return found

    def get_dead_tasks(self, queue: str, *, limit: int | None = None, offset: int = 0) -> list[DeadLetter]:
        """See `vecna.ports.Inspection`."""
        check_id(queue, "queue name")
        found = []
        for entry in _page(self._entries(queue, "dead", start=offset, want=limit, more="reasons"), limit, 0):
            died_at, _, reason = (entry.more or b"0 ").partition(b" ")
            body = wire.record(entry.record or b"", entry.uuid.encode())[2]
            letter = DeadLetter(entry.uuid, queue, reason.decode(errors="replace"), wire.instant(died_at), body)
            found.append(letter)
        return found

    def _entries(
        self, queue: str, suffix: str, *, start: int = 0, want: int | None = None, more: str = "", prefix: str = ""
    ) -> Iterator[_Entry]:
        key = keys.queue(self._namespace, queue)
        size = _PAGE if want is None else max(1, min(want, _PAGE))
        while True:
            args = (start, start + size - 1, more, prefix, _PAGE_BYTES)
            found: list[Any] = self._connections.run(scripts.PAGE, (key, f"{key}:{suffix}"), args)
            if not found:
                return
            for at in range(0, len(found), 4):
                yield _Entry(found[at].decode(), found[at + 1], found[at + 2], found[at + 3])
            start += len(found) // 4

    def locate(self, uuids: Sequence[str], queues: Sequence[str] | None = None) -> list[Place | None]:
        """See `vecna.ports.Inspection`."""
        for uuid in uuids:
            check_id(uuid, "task id")
        for name in queues or ():
            check_id(name, "queue name")
        places: dict[str, Place] = {}
        missing = list(dict.fromkeys(uuids))
        for queue in self.queues() if queues is None else queues:
            for start in range(0, len(missing), _PAGE):
                places.update(self._locate(queue, missing[start : start + _PAGE]))
            missing = [uuid for uuid in missing if uuid not in places]
            if not missing:
                break
        return [places.get(uuid) for uuid in uuids]

    def _locate(self, queue: str, uuids: Sequence[str]) -> dict[str, Place]:
        reply = self._connections.run(scripts.LOCATE, (keys.queue(self._namespace, queue),), uuids)
        places = {}
        for uuid, found in zip(uuids, reply, strict=True):
            if found is not None:
                standing, record, due, counts = found
                enqueued, _, body = wire.record(record, uuid.encode())
                due_at = None if due is None else wire.instant(float(due))
                places[uuid] = Place(queue, _STANDINGS[standing], body, wire.attempts(counts), enqueued, due_at)
        return places


def _page(entries: Iterator[_Entry], limit: int | None, offset: int) -> Iterator[_Entry]:
    for position, entry in enumerate(entries):
        if limit is not None and position >= offset + limit:
            return
        if position >= offset:
            yield entry


def _read(entry: _Entry) -> Signature | None:
    if entry.record is None:
        return None
    try:
        return Signature.from_json(wire.record(entry.record, entry.uuid.encode())[2])
    except InvalidSignature:
        return None
