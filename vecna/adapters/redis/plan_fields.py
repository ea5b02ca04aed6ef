"""How plans of workflows are written: each node is one hash, with long lists cut into fields.

Fields of a node: `is` says what it is, '<g or c> <size> <index> <root> <outer> <code>'; `at` when it was stored. A
root has ids of all other nodes in `n0`, `n1`, ... and of all tasks in `e0`, ...; a group has ids of the tasks whose
results it gives in `r0`, .... Step 3 of a chain has its first tasks in `s3:f0`, ..., ids and names of all its tasks in
`s3:l0`, ..., and in `s3` how many fields these are, and what it takes. The scripts add `status`, `by`, `done`, `sent`,
`canceled`, `reason` and `expires`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

from vecna.adapters.redis import wire
from vecna.domain.plan import Node, Plan, Step
from vecna.domain.signature import Signature
from vecna.ports.plans import NodeState, NodeStatus

#: Ids in one field. A list is cut by number, never by size: so are both halves of one that was stored by two calls.
IDS: Final = 500
#: First tasks of a step in one field: each may have as many bytes as a message.
_CALLS: Final = 10
#: Most fields, and bytes, of one entry.
_ENTRY: Final = 50
_ENTRY_BYTES: Final = 256 * 1024
#: What `state` reads.
STATE: Final = ("is", "at", "status", "done", "sent", "canceled", "reason", "expires")

Field = tuple[str, bytes]


@attrs.frozen
class Entry:
    """A node and some of its fields.

    Attributes:
        node: the group or chain.
        fields: names and values.
        size: bytes.
    """

    node: Node
    fields: tuple[Field, ...]
    size: int


def entries(plan: Plan) -> Iterator[Entry]:
    """All that is written for a plan, the root first: whoever finds it finds the rest, and can remove it."""
    others = [node.uuid for node in plan.nodes if node.uuid != plan.root]
    every = [*[signature.uuid for signature in plan.first], *[uuid for uuid, _ in plan.later]]
    fields: dict[str, list[Iterable[Field]]] = {
        plan.root: [_ids("n", others), _ids("e", every)],
    }
    for group, results in plan.results:
        fields.setdefault(group, []).append(_ids("r", results))
    for step in plan.steps:
        fields.setdefault(step.node, []).append(_step(step))
    for node in sorted(plan.nodes, key=lambda node: node.uuid != plan.root):
        yield from _entries(node, [field for part in fields.get(node.uuid, ()) for field in part])


def _entries(node: Node, fields: Sequence[Field]) -> Iterator[Entry]:
    part: list[Field] = []
    size = 0
    for field in fields:
        if part and (len(part) >= _ENTRY or size + len(field[1]) > _ENTRY_BYTES):
            yield Entry(node, tuple(part), size)
            part, size = [], 0
        part.append(field)
        size += len(field[1])
    yield Entry(node, tuple(part), size)


def _ids(name: str, uuids: Sequence[str]) -> Iterator[Field]:
    for number, start in enumerate(range(0, len(uuids), IDS)):
        yield f"{name}{number}", " ".join(uuids[start : start + IDS]).encode()


def _step(step: Step) -> Iterator[Field]:
    first, leaves = (range(0, len(part), size) for part, size in ((step.first, _CALLS), (step.leaves, IDS)))
    for number, start in enumerate(first):
        bodies = [signature.to_json() for signature in step.first[start : start + _CALLS]]
        yield f"s{step.index}:f{number}", b"".join([b"%d:%b" % (len(body), body) for body in bodies])
    for number, start in enumerate(leaves):
        yield f"s{step.index}:l{number}", json.dumps(step.leaves[start : start + IDS]).encode()
    # The last one, so that a step is there as a whole or not at all.
    yield f"s{step.index}", f"{len(first)} {len(leaves)} {step.takes}".encode()


def step_parts(index: int, head: bytes) -> tuple[list[str], list[str], str]:
    """Fields of a step's first tasks, those of all its tasks, and what it takes, from its field `s<index>`."""
    first, leaves, takes = head.decode().split(" ")
    names = [
        [f"s{index}:{kind}{number}" for number in range(int(count))] for kind, count in (("f", first), ("l", leaves))
    ]
    return names[0], names[1], takes


def calls(field: bytes) -> Iterator[Signature]:
    """The first tasks of a step in one of its fields."""
    start = 0
    while start < len(field):
        colon = field.index(b":", start)
        stop = colon + 1 + int(field[start:colon])
        yield Signature.from_json(field[colon + 1 : stop])
        start = stop


def leaves(field: bytes) -> Iterator[tuple[str, str]]:
    """Ids and names of tasks of a step in one of its fields."""
    yield from map(tuple, json.loads(field))


def describe(node: Node) -> str:
    """What a node is, as it stands in its field `is`."""
    kind = "c" if node.is_chain else "g"
    return f"{kind} {node.size} {node.index} {node.root} {node.outer} {node.code}"


@functools.lru_cache(maxsize=256)
def described(uuid: str, text: bytes) -> Node:
    """The node that `describe` has written: the same for each member of a group that reports."""
    kind, size, index, root, outer, code = text.decode().split(" ", 5)
    return Node(uuid, int(size), kind == "c", root, outer, int(index), code)


def state(uuid: str, values: Sequence[bytes | None]) -> NodeState | None:
    """What is known of a node, from its fields `STATE`."""
    about, at, status, done, sent, canceled, reason, _ = values
    if about is None:
        return None
    return NodeState(
        described(uuid, about),
        NodeStatus(status.decode()) if status else NodeStatus.OPEN,
        int(done or 0),
        sent is not None,
        wire.instant(at or 0),
        canceled == b"1",
        (reason or b"").decode(errors="replace"),
    )
