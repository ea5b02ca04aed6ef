"""From a periodic call to what is stored of it: everything is checked before anything leaves the process."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from typing import Any, Final

import attrs
import msgspec

from vecna.app.launchers import check_launcher
from vecna.app.sending import Sending, check
from vecna.app.when import When
from vecna.domain.errors import InvalidSignature, InvalidSpec
from vecna.domain.ids import ALLOWED
from vecna.domain.parts import EMPTY
from vecna.domain.schedule import Kind, ScheduleRecord, template
from vecna.domain.signature import Signature
from vecna.domain.signing import seal
from vecna.domain.workflow import Chain, Chord, Group, Link

_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_TYPES: Final[dict[Kind, type]] = {"task": Signature, "group": Group, "chain": Chain, "chord": Chord}


@attrs.frozen
class Draft:
    """A schedule of which only the times are open.

    Attributes:
        code: what it is called.
        kind: task, group, chain or chord.
        when: when it is due.
        content: what is sent.
    """

    code: str
    kind: Kind
    when: When
    content: bytes

    def record(self, now: dt.datetime) -> ScheduleRecord:
        """The schedule as it begins now, by the store's clock.

        Raises:
            InvalidSpec: nothing comes any more.
        """
        spec = self.when.spec
        first = spec.next_after(now, now)
        if first is None:
            raise InvalidSpec(f"spec {spec.text!r} of schedule {self.code} never comes any more: its end is {spec.end}")
        return ScheduleRecord(
            code=self.code,
            kind=self.kind,
            spec=spec.text,
            timezone=spec.timezone,
            missed=self.when.missed,
            overlap=self.when.overlap,
            start=spec.start,
            end=spec.end,
            content=self.content,
            anchor=now,
            next_fire_at=first,
        )


def drafted(kind: Kind, when: When, link: Link, sending: Sending) -> Draft:
    """Check what a schedule is to send, and complete it as for an ordinary sending.

    Args:
        kind: what the caller says it is.
        when: when it is due.
        link: what is sent.
        sending: fills in the options of the registration and the pre-publish handler's changes.

    Raises:
        InvalidSignature: it is something else, or carries what only workflows and schedules set, or an `eta`.
        InvalidArgument: a message is too large.
    """
    if not isinstance(link, _TYPES[kind]):
        name = _TYPES[kind].__name__
        raise InvalidSignature(f"send_periodic_{kind} takes a {name}, not a {type(link).__name__}")
    signatures = [link] if isinstance(link, Signature) else list(link.signatures())
    for signature in signatures:
        check(signature, member_of="" if kind == "task" else signature.group_uuid)
    # Without trace context: it is not this program's run that causes the occurrences, and the content has to stay the
    # same from one start of the program to the next.
    final = {each.uuid: each for each in sending.prepared(signatures, traced=False)}
    for signature in final.values():
        _check_eta(signature)
        sending.message(signature)
    code = when.code or _explicit_code(link) or derived_code(kind, when, link)
    content = seal(template(_completed(link, final)), code, sending.signing_keys)
    if kind != "task":
        check_launcher(code, content, when.spec.text)
    return Draft(code, kind, when, content)


def derived_code(kind: Kind, when: When, link: Link) -> str:
    """A code that follows from kind, spec, time zone, task names and arguments: the same call is the same schedule."""
    said = _encode([kind, when.spec.text, when.spec.timezone, list(_shape(link))])
    digest = hashlib.sha256(said).hexdigest()[:16]
    first = link if isinstance(link, Signature) else next(link.signatures())
    readable = f"{first.name}:{digest}"
    return readable if ALLOWED.fullmatch(readable) else f"{kind}:{digest}"


def _shape(link: Link) -> Iterator[object]:
    if not isinstance(link, Signature):
        yield type(link).__name__
        for part in link.tasks:
            yield list(_shape(part))
        return
    bare = link.evolve(
        uuid="x", code="x", headers=EMPTY, set_options=EMPTY, on_success=(), on_error=(), group_uuid="",
        group_task_count=0,
    )  # fmt: skip
    yield bare.to_json().decode()
    for callbacks in (link.on_success, link.on_error):
        yield [list(_shape(callback)) for callback in callbacks]


def _explicit_code(link: Link) -> str:
    if isinstance(link, Signature):
        return "" if link.code == link.uuid else link.code
    return link.explicit_code


def _completed(link: Link, final: dict[str, Signature[Any]]) -> Link:
    """The same with its signatures as they were prepared."""
    if isinstance(link, Signature):
        return final[link.uuid]
    parts = [_completed(part, final) for part in link.tasks]
    if isinstance(link, Group):
        return Group(parts, code=link.code, group_uuid=link.group_uuid)
    if isinstance(link, Chord):
        group, callback = parts
        return Chord(group, callback, code=link.code, chain_uuid=link.chain_uuid)  # type: ignore[arg-type]  # a group
    return Chain(parts, code=link.code, chain_uuid=link.chain_uuid)


def _check_eta(signature: Signature[Any]) -> None:
    if "eta" in signature.set_options:
        raise InvalidSignature(
            f"task {signature.name} of a schedule has an eta: its spec says when it is due, delay how long after"
        )
    for callback in (*signature.on_success, *signature.on_error):
        _check_eta(callback)
