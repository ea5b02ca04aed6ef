"""Schedules: what is stored of a periodic task or workflow, and what is to be fired when. Pure."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any, Final, Literal, get_args

import attrs
import msgspec

from vecna.domain.codec import decode_object, format_instant, parse_instant
from vecna.domain.errors import InvalidSignature, InvalidSpec
from vecna.domain.ids import ALLOWED
from vecna.domain.signature import Signature
from vecna.domain.signing import SEAL
from vecna.domain.spec import Spec
from vecna.domain.workflow import Chain, Chord, Group, Link

Kind = Literal["task", "group", "chain", "chord"]
Missed = Literal["once", "all", "skip"]
KINDS: Final = get_args(Kind)
MISSED: Final = get_args(Missed)
#: Occurrences of one schedule that are looked at in one step, when many were missed.
CATCH_UP: Final = 1000
_encode = msgspec.json.Encoder().encode


@attrs.frozen(kw_only=True)
class ScheduleRecord:
    """A schedule as it is stored.

    Attributes:
        code: what it is called, and cancelled by.
        kind: task, group, chain or chord.
        spec: canonical text of the spec.
        timezone: whose wall clock the spec means.
        missed: what to do about occurrences when no worker was there: one run for all, one for each, none.
        overlap: whether an occurrence may begin while an earlier one is not over.
        start, end: first and last instant that an occurrence may have; None for no bound.
        content: what is sent: `template(...)` of a signature or workflow.
        anchor: the first sending, from which `@every` counts.
        version: grows with every change of what is sent and when.
        next_fire_at: when the next occurrence is due.
        last_fire_at: when the last one was due; None before the first.
        last_uuid: the id under which the last one can be followed: a task's, a group's, a chain's or chord's own.
        paused: whether nothing is fired.
        skipped: occurrences left out because an earlier one was not over.
    """

    code: str
    kind: Kind
    spec: str
    timezone: str
    missed: Missed
    overlap: bool
    start: dt.datetime | None
    end: dt.datetime | None
    content: bytes
    anchor: dt.datetime
    next_fire_at: dt.datetime
    version: int = 1
    last_fire_at: dt.datetime | None = None
    last_uuid: str = ""
    paused: bool = False
    skipped: int = 0

    @property
    def rhythm(self) -> Spec:
        """When it is due."""
        return Spec(self.spec, self.timezone, self.start, self.end)

    def has_same_rhythm(self, other: ScheduleRecord) -> bool:
        """Whether both are due at the same times."""
        return self.rhythm == other.rhythm

    def is_same(self, other: ScheduleRecord) -> bool:
        """Whether both send the same at the same times."""
        mine = (self.kind, self.missed, self.overlap, self.content)
        return self.has_same_rhythm(other) and mine == (other.kind, other.missed, other.overlap, other.content)

    def replaced_by(self, new: ScheduleRecord) -> ScheduleRecord:
        """What stands after `new` was sent under the same code: pause, count and history stay, and so does the rhythm
        where the times are the same; nothing changes if nothing has.
        """  # noqa: D205  # one sentence
        if self.is_same(new):
            return self
        kept = attrs.evolve(
            new,
            version=self.version + 1,
            paused=self.paused,
            skipped=self.skipped,
            last_fire_at=self.last_fire_at,
            last_uuid=self.last_uuid,
        )
        if self.has_same_rhythm(new):
            return attrs.evolve(kept, anchor=self.anchor, next_fire_at=self.next_fire_at)
        if self.last_fire_at is not None and kept.next_fire_at <= self.last_fire_at:
            # It was reckoned before this occurrence was fired, which is not to be fired again.
            following = kept.rhythm.next_after(self.last_fire_at, kept.anchor)
            return kept if following is None else attrs.evolve(kept, next_fire_at=following)
        return kept

    def to_json(self) -> bytes:
        """The record as bytes."""
        plain: dict[str, object] = {}
        for field in attrs.fields(ScheduleRecord):
            value = getattr(self, field.name)
            if isinstance(value, dt.datetime):
                value = format_instant(value)
            elif isinstance(value, bytes):
                value = value.decode()
            if value is not None:
                plain[field.name] = value
        return _encode(plain)

    @staticmethod
    def from_json(record: bytes | str) -> ScheduleRecord:
        """The record that `to_json` wrote. Unknown keys are ignored.

        Raises:
            InvalidSignature: the bytes hold no schedule.
        """
        plain = decode_object(record, limit=None)
        fields: dict[str, Any] = {}
        try:
            for field in attrs.fields(ScheduleRecord):
                if field.name in plain:
                    fields[field.name] = plain[field.name]
            for name in ("start", "end", "anchor", "next_fire_at", "last_fire_at"):
                fields[name] = parse_instant(fields[name]) if fields.get(name) is not None else None
            fields["content"] = fields["content"].encode()
            read = ScheduleRecord(**fields)
        except (KeyError, TypeError, AttributeError, UnicodeError) as exc:
            raise InvalidSignature(f"the record of a schedule cannot be read: {exc!r}") from None
        if read.kind not in KINDS or read.missed not in MISSED or None in (read.anchor, read.next_fire_at):
            raise InvalidSignature("the record of a schedule cannot be read: its kind, missed or times")
        return read


# -- what to fire ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Firing:
    """What is to be done about a schedule that is due.

    Attributes:
        due: the occurrence to send; None if none is (missed, and not to be made up for).
        following: when the next one is due; None: this was the last.
    """

    due: dt.datetime | None
    following: dt.datetime | None


def firing(record: ScheduleRecord, now: dt.datetime, grace: dt.timedelta) -> Firing:
    """What is due of a schedule.

    Args:
        record: with `next_fire_at` not after `now`.
        now: the store's time.
        grace: an occurrence this late was not missed: a worker was only slow.

    Raises:
        InvalidSpec: the spec cannot be read any more, e.g. a zone that this machine does not know.
    """
    due, rhythm = record.next_fire_at, record.rhythm
    following = rhythm.next_after(due, record.anchor)
    if record.missed == "all":
        return Firing(due, following)
    while following is not None and following <= now:
        # Several were missed: the latest stands for all.
        missed = rhythm.between(following, now, record.anchor, limit=CATCH_UP)
        due = missed[-1] if missed else following
        following = rhythm.next_after(due, record.anchor)
    if record.missed == "skip" and now - due > grace:
        return Firing(None, following)
    return Firing(due, following)


# -- what is sent ----------------------------------------------------------------------------------------------------


def template(link: Link) -> bytes:
    """What is stored of a signature or workflow to be sent again and again; ids play no part in it."""
    return _encode(_plain(link))


def _plain(link: Link) -> dict[str, object]:
    if isinstance(link, Signature):
        bare = link.evolve(
            uuid="x", code="x", group_uuid="", group_task_count=0, position=None, on_success=(), on_error=()
        )
        plain: dict[str, object] = {"task": msgspec.Raw(bare.to_json())}
        for name in ("on_success", "on_error"):
            if callbacks := getattr(link, name):
                plain[name] = [_plain(callback) for callback in callbacks]
        return plain
    kind = {Group: "group", Chain: "chain", Chord: "chord"}[type(link)]
    return {kind: [_plain(part) for part in link.tasks]}


def occurrence_id(code: str, due: dt.datetime, part: str = "") -> str:
    """The id of an occurrence, or of a part of it: the same whoever makes it, so that firing twice adds nothing."""
    made = f"{code}@{int(due.timestamp() * 1000)}{part}"
    return made if ALLOWED.fullmatch(made) else str(uuid.uuid5(uuid.NAMESPACE_OID, made))


def occurrence(content: bytes, code: str, due: dt.datetime, spec: str) -> Link:
    """One occurrence of what a schedule sends, with ids made of code and due time.

    Raises:
        InvalidSignature: the content cannot be read.
    """
    plain = decode_object(content, limit=None)
    plain.pop(SEAL, None)
    return _Occurrence(code, due, spec).link(plain)


@attrs.define
class _Occurrence:
    code: str
    due: dt.datetime
    spec: str
    count: int = 0

    def _id(self, mark: str) -> str:
        self.count += 1
        return occurrence_id(self.code, self.due, "" if self.count == 1 else f"/{mark}{self.count}")

    def link(self, plain: Any) -> Link:
        try:
            if "task" in plain:
                return self._signature(plain)
            ((kind, parts),) = plain.items()
            uuid = self._id("n")
            links = [self.link(part) for part in parts]
            match kind:
                case "group":
                    return Group(links, code=self.code, group_uuid=uuid)
                case "chain":
                    return Chain(links, code=self.code, chain_uuid=uuid)
                case "chord":
                    group, callback = links
                    return Chord(group, callback, code=self.code, chain_uuid=uuid)  # type: ignore[arg-type]  # a group
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            if isinstance(exc, InvalidSignature):
                raise
            raise InvalidSignature(f"what a schedule sends cannot be read: {exc!r}") from None
        raise InvalidSignature(f"a schedule sends tasks, groups, chains and chords, not {str(kind)[:80]!r}")

    def _signature(self, plain: dict[str, Any]) -> Signature[Any]:
        uuid = self._id("t")
        bare = Signature.from_json(_encode(plain["task"]))
        callbacks = {
            name: tuple(self._callbacks(plain.get(name, ()))) for name in ("on_success", "on_error") if plain.get(name)
        }
        return bare.evolve(uuid=uuid, code=self.code, spec=self.spec, **callbacks)

    def _callbacks(self, parts: Any) -> Iterator[Signature[Any]]:
        for part in parts:
            yield self._signature(part)


def followed_id(link: Link) -> str:
    """The id under which an occurrence is followed: a task's, a group's, a chain's or chord's own."""
    if isinstance(link, Signature):
        return link.uuid
    return link.group_uuid if isinstance(link, Group) else link.chain_uuid


def check_kind(value: str, allowed: tuple[str, ...], what: str) -> None:
    """Refuse a word that is none of those allowed.

    Raises:
        InvalidSpec: it is another one.
    """
    if value not in allowed:
        raise InvalidSpec(f"{what} is one of {', '.join(map(repr, allowed))}, not {str(value)[:80]!r}")
