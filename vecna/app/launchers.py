"""Launchers: messages that every worker deals with itself, whatever is registered.

A message holds one task, and a settlement some hundreds of follow-ups. What is larger than that, or has to be made of
what a schedule keeps, travels as one launcher, which a worker unfolds:

- `vecna.launch`, an occurrence of a periodic workflow; its id is the workflow's own;
- `vecna.step`, a step of a chain that begins with many tasks.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import uuid
import zlib
from collections.abc import Iterable
from typing import Any, Final

from vecna.domain.arg import Arg
from vecna.domain.codec import MAX_MESSAGE, decode_object
from vecna.domain.errors import InvalidArgument, InvalidSignature
from vecna.domain.plan import Step
from vecna.domain.position import Position
from vecna.domain.schedule import ScheduleRecord, occurrence_id
from vecna.domain.signature import Signature

LAUNCH: Final = "vecna.launch"
STEP: Final = "vecna.step"
#: Names that no function and no caller may use.
RESERVED: Final = frozenset({LAUNCH, STEP})
#: Of the arguments of a step's launcher, so many say which step; the others are passed on.
WHICH: Final = 2
#: So many first tasks go with one settlement; more are held back until all are there.
MOST_AT_ONCE: Final = 200
#: Content beyond so many bytes travels compressed: tasks of one group look alike.
_PLAIN: Final = 32 * 1024
_MOST_UNPACKED: Final = 64 * 1024 * 1024
_PACKED: Final = "zlib:"
#: Launching costs next to nothing and lets others begin.
_PRIORITY: Final = 9
_MILLISECOND: Final = dt.timedelta(milliseconds=1)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def occurrence_launcher(record: ScheduleRecord, due: dt.datetime) -> Signature[Any]:
    """The launcher of one occurrence of a schedule."""
    return _occurrence_launcher(record.code, due, record.spec, record.content)


def _occurrence_launcher(code: str, due: dt.datetime, spec: str, content: bytes) -> Signature[Any]:
    own = occurrence_id(code, due)
    return Signature(
        LAUNCH,
        [code, (due - _EPOCH) // _MILLISECOND, spec, _pack(content)],
        uuid=own,
        code=code,
        spec=spec,
        position=Position(own),
        priority=_PRIORITY,
        **_to(_first_queue(content)),
    )


def occurrence_of(launcher: Signature[Any]) -> tuple[bytes, str, dt.datetime, str]:
    """What the launcher of an occurrence holds: content, code, due time and spec.

    Raises:
        InvalidSignature: it cannot be read.
    """
    try:
        code, due, spec, packed = [arg.value for arg in launcher.args]
        return _unpack(packed), code, _EPOCH + due * _MILLISECOND, spec
    except (TypeError, ValueError, AttributeError, OverflowError) as exc:
        if isinstance(exc, InvalidSignature):
            raise
        raise InvalidSignature(f"what a schedule sends cannot be read: {exc!r}") from None


def check_launcher(code: str, content: bytes, spec: str) -> None:
    """Refuse content that no launcher can hold.

    Raises:
        InvalidArgument: it is too large.
    """
    size = len(_occurrence_launcher(code, _EPOCH, spec, content).to_json())
    if size > MAX_MESSAGE or len(content) > _MOST_UNPACKED:
        raise InvalidArgument(
            f"what schedule {code} sends has {len(content)} bytes, and {size} compressed; at most {MAX_MESSAGE} can be "
            "sent as one: store large data elsewhere and pass where it is, or make several schedules of it"
        )


def step_launcher(step: Step, passed: Iterable[Arg]) -> Signature[Any]:
    """The launcher of a step of a chain, with what its first tasks are passed by value."""
    first = step.first[0]
    return Signature(
        STEP,
        [step.node, step.index, *passed],
        uuid=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{step.node}/{step.index}")),
        code=first.code,
        spec=first.spec,
        position=Position(step.node, step.index),
        priority=_PRIORITY,
        **_to(first.queue or ""),
    )


def step_of(launcher: Signature[Any]) -> tuple[str, int, tuple[Arg, ...]]:
    """What the launcher of a step holds: the chain, which step, and what is passed.

    Raises:
        InvalidSignature: it cannot be read.
    """
    node, index, *passed = launcher.args
    if not isinstance(node.value, str) or type(index.value) is not int:
        raise InvalidSignature("the launcher of a step does not say of which")
    return node.value, index.value, tuple(passed)


def dated(signature: Signature[Any], due: dt.datetime) -> Signature[Any]:
    """The call of an occurrence, with the time that it was due at as its ETA; `delay` counts from when it is sent."""
    changes: dict[str, Any] = {}
    if "delay" not in signature.set_options:
        changes["set_options"] = {**signature.set_options, "eta": due}
    for name in ("on_success", "on_error"):
        if callbacks := getattr(signature, name):
            changes[name] = tuple([dated(callback, due) for callback in callbacks])
    return signature.evolve(**changes)


def _to(queue: str) -> dict[str, Any]:
    return {"queue": queue} if queue else {}


def _first_queue(content: bytes) -> str:
    """Where the first task of the content goes; "" for the default queue, or if it cannot be told."""
    try:
        plain: Any = decode_object(content, limit=None)
        while "task" not in plain:
            plain = next(iter(plain.values()))[0]
        return str(plain["task"].get("RoutingKey") or "")
    except (InvalidSignature, AttributeError, KeyError, IndexError, StopIteration, TypeError):
        return ""


def _pack(content: bytes) -> str:
    if len(content) <= _PLAIN:
        return content.decode(errors="replace")
    return _PACKED + base64.b64encode(zlib.compress(content)).decode()


def _unpack(packed: str) -> bytes:
    if not packed.startswith(_PACKED):
        return packed.encode()
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(base64.b64decode(packed[len(_PACKED) :]), _MOST_UNPACKED)
    except (zlib.error, binascii.Error) as exc:
        raise InvalidSignature(f"what a schedule sends cannot be read: {exc}") from None
    if not unpacker.eof:
        raise InvalidSignature("what a schedule sends is cut short, or larger than it may be")
    return content
