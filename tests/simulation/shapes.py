"""What producers send: some shapes of work with fixed ids, made once and sent in every history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import cache
from typing import Any

import attrs

from tests.simulation.chance import START
from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chain, Chord, Group, Link

QUEUES = ("a", "b")
#: How often a task is repeated when it fails.
RETRY_COUNT = 1
SECOND = dt.timedelta(seconds=1)


@attrs.frozen
class Shape:
    """One thing that is sent.

    Attributes:
        name: what it is called.
        link: what is sent; None: something that no sender makes.
        code: what it can be cancelled by, if it shares one.
        batch: further signatures that are sent in the same call.
        raw: a message that cannot be read.
        ids: of all tasks in it, callbacks included.
        flags: what the laws have to know: "expires", "unknown", "raw".
    """

    name: str
    link: Any = None
    code: str = ""
    batch: tuple[Signature[Any], ...] = ()
    raw: Message | None = None
    ids: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()

    @property
    def links(self) -> tuple[Link, ...]:
        return () if self.link is None else (self.link, *self.batch)


class _Maker:
    def __init__(self, prefix: str, retry_count: int = RETRY_COUNT) -> None:
        self.retry_count = retry_count
        self.prefix = prefix
        self.count = 0

    def id(self) -> str:
        self.count += 1
        return f"{self.prefix}{self.count}"

    def task(self, queue: str = "a", name: str = "t", **options: Any) -> Signature[Any]:
        return Signature(name, uuid=self.id(), queue=queue, retry_count=self.retry_count, **options)

    def group(self, *links: Link, code: str = "") -> Group:
        return Group(*links, group_uuid=self.id(), code=code)

    def chain(self, *links: Link, code: str = "") -> Chain:
        return Chain(*links, chain_uuid=self.id(), code=code)

    def chord(self, group: Group, callback: Signature[Any], code: str = "") -> Chord:
        return Chord(group, callback, chain_uuid=self.id(), code=code)


def _single(m: _Maker) -> Any:
    return m.task()


def _eta(m: _Maker) -> Any:
    return m.task(eta=START + 7 * SECOND)


def _delay(m: _Maker) -> Any:
    return m.task("b", delay=6)


def _urgent(m: _Maker) -> Any:
    return m.task(priority=5)


def _callbacks(m: _Maker) -> Any:
    return m.task(on_success=m.task("b"), on_error=m.task())


def _chain(m: _Maker) -> Any:
    return m.chain(m.task(), m.task("b"), m.task())


def _pair(m: _Maker) -> Any:
    return m.chain(m.task(), m.task("b"))


def _led(m: _Maker) -> Any:
    return m.task(on_success=m.task("b"))


def _lone_chord(m: _Maker) -> Any:
    return m.chord(m.group(m.task()), m.task("b"))


def _coded_chain(m: _Maker) -> Any:
    return m.chain(m.task(), m.task("b"), m.task(), code="shared")


def _long_chain(m: _Maker) -> Any:
    return m.chain(*[m.task("ab"[place % 2]) for place in range(12)], code="shared")


def _group(m: _Maker) -> Any:
    return m.group(m.task(), m.task())


def _wide_group(m: _Maker) -> Any:
    return m.group(m.task(), m.task("b"))


def _chord(m: _Maker) -> Any:
    return m.chord(m.group(m.task(), m.task()), m.task())


def _wide_chord(m: _Maker) -> Any:
    return m.chord(m.group(m.task(), m.task("b")), m.task("b"))


def _coded_chord(m: _Maker) -> Any:
    return m.chord(m.group(m.task(), m.task("b")), m.task(), code="shared")


def _chain_of_group(m: _Maker) -> Any:
    return m.chain(m.task(), m.group(m.task(), m.task("b")), m.task())


def _chord_of_chain(m: _Maker) -> Any:
    return m.chord(m.group(m.chain(m.task(), m.task("b")), m.task()), m.task())


def _two_chords(m: _Maker) -> Any:
    """Both callbacks may come with one lease."""
    return m.group(*[m.chord(m.group(m.task()), m.task("b")) for _ in range(2)])


def _called_back_member(m: _Maker) -> Any:
    return m.group(m.task(on_success=m.task("b")), m.task())


_MAKERS: dict[str, Any] = {
    "single": _single,
    "eta": _eta,
    "delay": _delay,
    "urgent": _urgent,
    "callbacks": _callbacks,
    "chain": _chain,
    "coded_long": _long_chain,
    "pair": _pair,
    "led": _led,
    "lone_chord": _lone_chord,
    "coded_chain": _coded_chain,
    "group": _group,
    "wide_group": _wide_group,
    "chord": _chord,
    "wide_chord": _wide_chord,
    "coded_chord": _coded_chord,
    "chain_of_group": _chain_of_group,
    "chord_of_chain": _chord_of_chain,
    "called_back_member": _called_back_member,
    "two_chords": _two_chords,
}
#: Small ones come often.
NAMES = [
    "single",
    "single",
    "single",
    "eta",
    "delay",
    "urgent",
    "callbacks",
    "chain",
    "chain",
    "coded_chain",
    "group",
    "wide_group",
    "chord",
    "chord",
    "wide_chord",
    "coded_chord",
    "chain_of_group",
    "chord_of_chain",
    "called_back_member",
    "batch",
    "expires",
    "unknown",
    "raw",
]


@cache
def shape(name: str, place: int, retry_count: int = RETRY_COUNT) -> Shape:
    """The shape of a name, with ids of this place among what is sent."""
    maker = _Maker("xyzuvw"[place], retry_count)
    if name == "raw":
        return Shape(
            f"{name}.{place}",
            raw=Message(maker.id(), "a", b'{"broken'),
            ids=(f"{maker.prefix}1",),
            flags=frozenset({"raw"}),
        )
    if name == "batch":
        link = maker.task()
        batch = (maker.task("b"), maker.task(code="shared"))
        return Shape(f"{name}.{place}", link, batch=batch, ids=(link.uuid, *[each.uuid for each in batch]))
    flags: frozenset[str] = frozenset()
    if name == "expires":
        link, flags = maker.task(expires=5), frozenset({"expires"})
    elif name == "unknown":
        link, flags = maker.task(name="nobody"), frozenset({"unknown"})
    else:
        link = _MAKERS[name](maker)
    code = "shared" if name.startswith("coded") else ""
    return Shape(f"{name}.{place}", link, code, ids=tuple(every_id(link)), flags=flags)


def every_id(link: Link) -> Iterator[str]:
    """Ids of all tasks, callbacks included."""
    for leaf in (link,) if isinstance(link, Signature) else link.signatures():
        yield leaf.uuid
        for callback in (*leaf.on_success, *leaf.on_error):
            yield from every_id(callback)


def periodic(kind: str) -> Any:
    """What a schedule sends: a task, or a chain over two queues."""
    maker = _Maker("ignored")
    return maker.task() if kind == "task" else maker.chain(maker.task(), maker.task("b"))
