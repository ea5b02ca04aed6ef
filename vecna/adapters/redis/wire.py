"""What scripts are given and what they answer, as text: instants in milliseconds, marks, records, counts."""

from __future__ import annotations

import datetime as dt
import functools
from typing import Final

from vecna.domain.decide import Attempts
from vecna.domain.message import Message
from vecna.kit.rules import microseconds
from vecna.ports.clock import Clock
from vecna.ports.values import Verdict

EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND: Final = dt.timedelta(milliseconds=1)
_LAST: Final = dt.datetime.max.replace(tzinfo=dt.UTC)
_VERDICTS: Final = {verdict.value.encode(): verdict for verdict in Verdict}
_NO_ATTEMPTS: Final = Attempts()


def milliseconds(duration: dt.timedelta) -> int:
    """Whole milliseconds, rounded up: nothing is early."""
    return -(-duration // _MILLISECOND)


def instant_ms(instant: dt.datetime) -> int:
    """Milliseconds since 1970, rounded up."""
    return -((EPOCH - instant) // _MILLISECOND)


@functools.lru_cache(maxsize=64)
def instant(ms: float | bytes) -> dt.datetime:
    """The instant that so many milliseconds since 1970 are; beyond the last there is, that one.

    Messages that came together are leased together, and name the same one.
    """
    try:
        return EPOCH + dt.timedelta(milliseconds=int(ms))
    except OverflowError:
        return _LAST


def exact(micros: int) -> dt.datetime:
    """The instant that so many microseconds since 1970 are."""
    return EPOCH + dt.timedelta(microseconds=micros)


def now_argument(clock: Clock) -> int:
    """What scripts take for now: 0, the server's own time, or a virtual clock's, in microseconds."""
    return microseconds(clock.now()) if clock.virtual else 0


def mark(message: Message) -> str:
    """Where a message goes: '<priority>[@<due>][+<delay>][;<code>]'."""
    text = str(message.priority)
    if message.due is not None:
        text += f"@{instant_ms(message.due)}"
    if message.delay is not None:
        text += f"+{max(0, milliseconds(message.delay))}"
    return f"{text};{message.code}" if message.code else text


def token(text: str) -> bytes:
    """A token as bytes; what could not have been made here matches none."""
    return text.encode(errors="replace")


def attempts(counts: bytes | None) -> Attempts:
    """What a message has behind it, from '<retries> <repeats> <parks> ...'."""
    if not counts:
        return _NO_ATTEMPTS
    retries, repeats, parks = counts.split(None, 3)[:3]
    return Attempts(int(retries), int(repeats), int(parks))


def behind(more: bytes) -> tuple[int, Verdict | None, Attempts]:
    """Crashes, verdict and attempts, from '' or '<crashes> <verdict or -> <counts>'."""
    if not more:
        return 0, None, _NO_ATTEMPTS
    crashes, verdict, counts = more.split(b" ", 2)
    return int(crashes), _VERDICTS.get(verdict), attempts(counts)


def record(stored: bytes, uuid: bytes) -> tuple[dt.datetime, dt.datetime | None, bytes]:
    """When it was accepted, for when, and the body, from '<priority>[;<code>] <enqueued> <due or -> <body>'.

    What is not of this form was not written by vecna, and is given back whole: who decodes it will find out.

    Args:
        stored: what is kept.
        uuid: the id under which it is kept; a body that begins with it is kept without it, see bucket.lua.
    """
    try:
        _, enqueued, due, body = stored.split(b" ", 3)
        if body.startswith(b","):
            body = _whole(body, uuid)
        return instant(enqueued), None if due == b"-" else instant(due), body
    except ValueError:
        return EPOCH, None, stored


def _whole(kept: bytes, uuid: bytes) -> bytes:
    if kept.startswith(b',"'):
        return b'{"UUID":"' + uuid + b'"' + kept
    return kept[1:] if kept.startswith(b",,") else kept
