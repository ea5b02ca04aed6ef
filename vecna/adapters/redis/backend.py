"""A backend on Redis: a string for each record, changed by scripts that look at its head only."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, Final

from vecna.adapters.redis import keys, scripts, wire
from vecna.adapters.redis.buckets import CHUNK, bucket_chunks
from vecna.adapters.redis.connections import IMPATIENT, Connections
from vecna.adapters.redis.listener import RedisListener
from vecna.adapters.redis.plans import RedisPlans
from vecna.domain.state import State, TaskState, token_number
from vecna.kit.rules import check_ids, read_state
from vecna.ports.backend import Backend, Listener

#: Length of a record's head: '<final> <lease, 14 digits> <rank> <expires at ms, 14 digits> '.
HEAD: Final = 34
_MOST: Final = 10**14 - 1


class RedisBackend(RedisPlans, Backend):
    """Keeps states in Redis.

    Args:
        connections: to the server or cluster.
        namespace: what the names of all keys begin with.
    """

    def __init__(self, connections: Connections, namespace: str = "vecna") -> None:
        super().__init__(connections, namespace)

    # -- States ------------------------------------------------------------------------------------------------------

    def put_states(self, states: Sequence[TaskState]) -> list[TaskState]:
        """See `vecna.ports.States`."""
        check_ids([state.task_uuid for state in states], "task id")
        payloads = [state.to_json() for state in states]
        clock = self._connections.clock
        channel = "" if clock.virtual else keys.ends(self._namespace)
        recorded = list(states)
        heads: dict[tuple[str, State, bool], bytes] = {}
        for chunk in self._chunks([state.task_uuid for state in states], [len(payload) for payload in payloads]):
            args: list[Any] = [wire.now_argument(clock), channel]
            args += [_head(states[at], heads) + payloads[at] for at in chunk]
            names = [keys.record(self._namespace, states[at].task_uuid) for at in chunk]
            answers = self._connections.run(scripts.PUT_STATES, names, args, patience=IMPATIENT)
            for at, answer in zip(chunk, answers, strict=True):
                if answer != 0:
                    # What stands against an end is an end.
                    recorded[at] = read_state(states[at].task_uuid, answer, final=states[at].is_completed) or states[at]
        return recorded

    def get_state(self, uuid: str) -> TaskState | None:
        """See `vecna.ports.States`."""
        return self.get_states([uuid])[0]

    def get_states(self, uuids: Sequence[str]) -> list[TaskState | None]:
        """See `vecna.ports.States`."""
        check_ids(uuids, "task id")
        found: list[TaskState | None] = []
        for start in range(0, len(uuids), CHUNK):
            names = [keys.record(self._namespace, uuid) for uuid in uuids[start : start + CHUNK]]
            records = self._get(names)
            found += map(self._read, uuids[start : start + CHUNK], records)
        return found

    def _get(self, names: Sequence[str]) -> list[bytes | None]:
        if not self._connections.is_cluster:
            found: list[bytes | None] = self._connections.call("MGET", *names)
            return found

        def get(client: Any) -> list[bytes | None]:
            pipeline = client.pipeline()
            for name in names:
                pipeline.get(name)
            answers: list[bytes | None] = pipeline.execute()
            return answers

        return self._connections.attempt(get)

    def _read(self, uuid: str, record: bytes | None) -> TaskState | None:
        if record is None:
            return None
        clock = self._connections.clock
        # The server drops what has expired by its own clock; a virtual one it does not know.
        expires = record[19:33]
        if clock.virtual and expires.isdigit() and int(expires) and wire.instant(expires) <= clock.now():
            return None
        return read_state(uuid, record[HEAD:], final=record[:1] == b"1")

    def release(self, uuids: Sequence[str], keep: dt.timedelta) -> None:
        """See `vecna.ports.States`."""
        clock = self._connections.clock
        lasting = max(0, wire.milliseconds(keep))
        self._each(scripts.RELEASE, uuids, wire.now_argument(clock), lasting, "0" if clock.virtual else "1")

    def forget(self, uuids: Sequence[str]) -> None:
        """See `vecna.ports.States`."""
        self._each(scripts.FORGET_STATES, uuids)

    def _each(self, script: scripts.Script, uuids: Sequence[str], *args: Any) -> None:
        check_ids(uuids, "task id")
        for chunk in self._chunks(uuids):
            names = [keys.record(self._namespace, uuids[at]) for at in chunk]
            self._connections.run(script, names, args, patience=IMPATIENT)

    def unreleased(self, age: dt.timedelta, limit: int) -> list[str]:
        """See `vecna.ports.States`."""
        return self._old([keys.records(self._namespace, number) for number in range(keys.RECORD_BUCKETS)], age, limit)

    def waiting_callbacks(self, age: dt.timedelta, limit: int) -> list[str]:
        """See `vecna.ports.States`."""
        return self._old([keys.waiting(self._namespace, number) for number in range(keys.RECORD_BUCKETS)], age, limit)

    def _old(self, indexes: Sequence[str], age: dt.timedelta, limit: int) -> list[str]:
        """Ids in indexes of all buckets that stand there for at least an age, the oldest first."""
        groups = [[index] for index in indexes] if self._connections.is_cluster else [indexes]
        args = (wire.now_argument(self._connections.clock), wire.milliseconds(age), limit)
        found: list[tuple[float, str]] = []
        for group in groups:
            reply = self._connections.run(scripts.UNRELEASED, group, args, patience=IMPATIENT)
            found += [(float(reply[at + 1]), reply[at].decode()) for at in range(0, len(reply), 2)]
        return [uuid for _, uuid in sorted(found)[:limit]]

    def _chunks(self, uuids: Sequence[str], sizes: Sequence[int] | None = None) -> Iterator[Sequence[int]]:
        return bucket_chunks(uuids, sizes, is_cluster=self._connections.is_cluster)

    # -- Waiting -----------------------------------------------------------------------------------------------------

    def listen(self) -> Listener:
        """See `vecna.ports.Waiting`."""
        return RedisListener(self._connections, keys.ends(self._namespace))

    def close(self) -> None:
        """See `vecna.ports.Backend`. Listeners are closed by who has made them."""
        self._connections.close()


def _head(state: TaskState, known: dict[tuple[str, State, bool], bytes]) -> bytes:
    """What a record is compared by, and when it expires: never yet. The same for most of one call."""
    key = (state.token, state.state, bool(state.parent) and state.is_waiting_callback)
    head = known.get(key)
    if head is None:
        number = min(token_number(state.token), _MOST)
        kind = 2 if state.is_waiting_callback else state.is_completed
        head = known[key] = b"%d %014d %d 00000000000000 " % (kind, number, state.state.rank)
    return head
