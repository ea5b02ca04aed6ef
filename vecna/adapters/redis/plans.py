"""Plans of running workflows on Redis: a hash for each group and chain, and a bitmap of a group's members."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from vecna.adapters.redis import keys, plan_fields, scripts, wire
from vecna.adapters.redis.buckets import CHUNK, CHUNK_BYTES, bucket_chunks
from vecna.adapters.redis.connections import IMPATIENT, Connections
from vecna.domain.plan import Plan, Step
from vecna.kit.rules import check_ids
from vecna.ports.plans import Following, NodeState, Plans, Report, Reported

#: Fields that one call reads at most; one call answers with some `CHUNK_BYTES`.
_FIELDS: Final = 100
#: Bytes that a field or node counts for besides what is in it.
_WEIGHT: Final = 100
_FOLLOWINGS: Final = {
    "n": Following.NOTHING,
    "a": Following.ADVANCE,
    "d": Following.COMPLETE,
    "f": Following.FAIL,
    "c": Following.CLOSED,
}


class RedisPlans(Plans):
    """The part of `RedisBackend` that keeps plans.

    Each node lies in the bucket of its own id, as the record of a task with this id would: who reports to it knows no
    more than that. The root has the ids of the others.

    Args:
        connections: to the server or cluster.
        namespace: what the names of all keys begin with.
    """

    def __init__(self, connections: Connections, namespace: str) -> None:
        self._connections = connections
        self._namespace = namespace

    def store_plan(self, plan: Plan) -> None:
        """See `vecna.ports.Plans`."""
        check_ids([node.uuid for node in plan.nodes], "group or chain id")
        written = list(plan_fields.entries(plan))
        ahead = next((at for at, entry in enumerate(written) if entry.node.uuid != plan.root), len(written))
        if self._connections.is_cluster:
            calls = itertools.chain(self._store(written[:ahead]), self._store(written[ahead:]))
        else:
            calls = itertools.chain(self._store(written))
        number, is_open = 0, True
        for number, are_open in enumerate(calls, 1):
            is_open = bool(are_open[0]) if number == 1 else is_open
            if not is_open:
                break
        if number > 1:
            is_open = self._is_open(plan.root)
        if not is_open:
            # It is over, or its sender was so slow that it was given up: what came after that nobody would remove.
            self._release([node.uuid for node in plan.nodes], 0)

    def _store(self, written: Sequence[plan_fields.Entry]) -> Iterator[list[int]]:
        """Store some entries a call; for each call, whether its nodes are not yet released."""
        sizes = [entry.size + _WEIGHT * (len(entry.fields) + 1) for entry in written]
        for chunk in self._chunks_of([entry.node.uuid for entry in written], sizes):
            args: list[Any] = [wire.now_argument(self._connections.clock)]
            for at in chunk:
                node, fields = written[at].node, written[at].fields
                is_root = "1" if node.uuid == node.root else "0"
                args += (node.uuid, plan_fields.describe(node), is_root, len(fields))
                args += itertools.chain.from_iterable(fields)
            names = [keys.node(self._namespace, written[at].node.uuid) for at in chunk]
            are_open: list[int] = self._connections.run(scripts.PLAN_STORE, names, args, patience=IMPATIENT)
            yield are_open

    def commit_plan(self, root: str) -> bool:
        """See `vecna.ports.Plans`."""
        check_ids([root], "group or chain id")
        args = (wire.now_argument(self._connections.clock), root)
        key = keys.node(self._namespace, root)
        return bool(self._connections.run(scripts.PLAN_COMMIT, (key,), args, patience=IMPATIENT))

    def uncommitted(self, age: dt.timedelta, limit: int) -> list[str]:
        """See `vecna.ports.Plans`."""
        indexes = [keys.uncommitted(self._namespace, number) for number in range(keys.RECORD_BUCKETS)]
        groups = [[index] for index in indexes] if self._connections.is_cluster else [indexes]
        args = (wire.now_argument(self._connections.clock), wire.milliseconds(age), max(0, limit))
        found: list[tuple[float, str]] = []
        for group in groups:
            reply = self._connections.run(scripts.UNRELEASED, group, args, patience=IMPATIENT)
            found += [(float(reply[at + 1]), reply[at].decode()) for at in range(0, len(reply), 2)]
        return [uuid for _, uuid in sorted(found)[: max(0, limit)]]

    def get_nodes(self, uuids: Sequence[str]) -> list[NodeState | None]:
        """See `vecna.ports.Plans`."""
        check_ids(uuids, "group or chain id")
        found: list[NodeState | None] = []
        for start in range(0, len(uuids), CHUNK):
            chunk = uuids[start : start + CHUNK]
            for uuid, values in zip(chunk, self._states(chunk), strict=True):
                found.append(None if self._is_over(values[-1]) else plan_fields.state(uuid, values))
        return found

    def _states(self, uuids: Sequence[str]) -> list[list[bytes | None]]:
        names = [keys.node(self._namespace, uuid) for uuid in uuids]

        def read(client: Any) -> list[list[bytes | None]]:
            pipeline = client.pipeline(transaction=False)
            for name in names:
                pipeline.hmget(name, plan_fields.STATE)
            values: list[list[bytes | None]] = pipeline.execute()
            return values

        return self._connections.attempt(read)

    def _is_over(self, expires: bytes | None) -> bool:
        # The server drops what has expired by its own clock; a virtual one it does not know.
        clock = self._connections.clock
        return clock.virtual and expires is not None and wire.instant(expires) <= clock.now()

    def _is_open(self, root: str) -> bool:
        (values,) = self._states([root])
        return values[0] is not None and values[-1] is None

    def report(self, reports: Sequence[Report]) -> list[Reported]:
        """See `vecna.ports.Plans`."""
        check_ids([report.node for report in reports], "group or chain id")
        reasons = [report.reason.encode(errors="replace") for report in reports]
        clock = self._connections.clock
        channel = "" if clock.virtual else keys.ends(self._namespace)
        answers: list[Reported | None] = [None] * len(reports)
        for chunk in self._chunks_of([report.node for report in reports], [len(reason) for reason in reasons]):
            args: list[Any] = [wire.now_argument(clock), channel]
            for at in chunk:
                report = reports[at]
                outcome = "s" if report.succeeded else "c" if report.canceled else "f"
                args += (report.node, report.index, outcome, reasons[at])
            names = [keys.node(self._namespace, reports[at].node) for at in chunk]
            replies = self._connections.run(scripts.PLAN_REPORT, names, args, patience=IMPATIENT)
            for at, reply in zip(chunk, replies, strict=True):
                answers[at] = _reported(reports[at].node, reply)
        return [answer for answer in answers if answer is not None]

    def get_step(self, node: str, index: int) -> Step | None:
        """See `vecna.ports.Plans`."""
        check_ids([node], "group or chain id")
        (head,) = self._values(node, [f"s{index}"])
        if head is None:
            return None
        first, leaves, takes = plan_fields.step_parts(index, head)
        values = [value for value in self._values(node, [*first, *leaves]) if value is not None]
        if len(values) < len(first) + len(leaves):
            return None  # it has expired meanwhile
        return Step(
            node,
            index,
            tuple([call for value in values[: len(first)] for call in plan_fields.calls(value)]),
            tuple([leaf for value in values[len(first) :] for leaf in plan_fields.leaves(value)]),
            takes,
        )

    def get_tasks(self, node: str, *, every: bool, offset: int, limit: int) -> list[str]:
        """See `vecna.ports.Plans`."""
        check_ids([node], "group or chain id")
        offset, stop = max(0, offset), max(0, offset) + max(0, limit)
        numbers = range(offset // plan_fields.IDS, -(-stop // plan_fields.IDS))
        found = self._ids(node, "e" if every else "r", numbers)
        skipped = numbers.start * plan_fields.IDS
        return list(itertools.islice(found, offset - skipped, stop - skipped))

    def _ids(self, node: str, name: str, numbers: Iterable[int]) -> Iterator[str]:
        """Ids from the fields of this name, up to the first that is not there."""
        numbers = iter(numbers)
        while chunk := list(itertools.islice(numbers, _FIELDS)):
            for value in self._values(node, [f"{name}{number}" for number in chunk]):
                if value is None:
                    return
                yield from value.decode().split(" ")

    def _values(self, node: str, fields: Sequence[str]) -> Iterator[bytes | None]:
        """The values of some fields, read as far as they are asked for."""
        key, at = (keys.node(self._namespace, node),), 0
        while at < len(fields):
            args = (CHUNK_BYTES, *fields[at : at + _FIELDS])
            expires, *values = self._connections.run(scripts.PLAN_READ, key, args, patience=IMPATIENT)
            is_over = self._is_over(expires)
            for value in values:
                yield None if is_over else value
            at += len(values)

    def release_plan(self, root: str, keep: dt.timedelta) -> None:
        """See `vecna.ports.Plans`."""
        check_ids([root], "group or chain id")
        if not self._is_open(root):
            return
        lasting = max(0, wire.milliseconds(keep))
        others = self._ids(root, "n", itertools.count())
        while chunk := list(itertools.islice(others, CHUNK)):
            self._release(chunk, lasting)
        # The last: a crash before leaves one that is to be released still.
        self._release([root], lasting)

    def _release(self, uuids: Sequence[str], keep: int) -> None:
        clock = self._connections.clock
        for chunk in self._chunks_of(uuids):
            ids = [uuids[at] for at in chunk]
            names = [keys.node(self._namespace, uuid) for uuid in ids]
            args = (wire.now_argument(clock), keep, "0" if clock.virtual else "1", *ids)
            self._connections.run(scripts.PLAN_RELEASE, names, args, patience=IMPATIENT)

    def _chunks_of(self, uuids: Sequence[str], sizes: Sequence[int] | None = None) -> Iterator[Sequence[int]]:
        return bucket_chunks(uuids, sizes, is_cluster=self._connections.is_cluster)


def _reported(node: str, reply: bytes | None) -> Reported:
    if reply is None:
        return Reported(Following.CLOSED, None)
    return Reported(_FOLLOWINGS[chr(reply[0])], plan_fields.described(node, reply[1:]))
