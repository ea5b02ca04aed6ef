"""The five fields of a cron spec: what they may hold, their canonical text, and the wall-clock times that they name.

croniter walks the calendar. What may stand in a field is read here, because croniter takes more than a spec may say
(seconds, years, `L W # H R`) and some things otherwise than cron does (`9-9` as the whole day, `22-2`).
"""

from __future__ import annotations

import copy
import datetime as dt
import re
from typing import TYPE_CHECKING, Final

import attrs

from vecna.domain.errors import InvalidSpec

if TYPE_CHECKING:
    from croniter import croniter

MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_VALUE: Final = r"[0-9]{1,9}|[a-z]+"
_ITEM: Final = re.compile(rf"(?:[*?]|({_VALUE})(?:-({_VALUE}))?)(?:/([0-9]{{1,9}}))?")
_FIVE: Final = "minute, hour, day of month, month, day of week"


@attrs.frozen
class _Kind:
    """What one of the five fields may hold."""

    name: str
    low: int
    high: int  #: where `*` ends
    limit: int  #: the greatest that may be written: Sunday is 0 and 7
    names: dict[str, int] = attrs.Factory(dict)


_KINDS: Final = (
    _Kind("minute", 0, 59, 59),
    _Kind("hour", 0, 23, 23),
    _Kind("day of month", 1, 31, 31),
    _Kind("month", 1, 12, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    _Kind("day of week", 0, 6, 7, {name: number for number, name in enumerate(_DAYS)}),
)


@attrs.frozen
class Fields:
    """The wall-clock times that five fields name; no time zone in here.

    Attributes:
        text: the canonical text: lower case, numbers for names, `*` for `?`, lists in order.
        real_time: the hour field is `*` or a step, so that the spec follows real time when the clocks change.
    """

    text: str
    real_time: bool
    _dates: croniter = attrs.field(eq=False, repr=False)

    def next_wall(self, wall: dt.datetime) -> dt.datetime:
        """The first time that the fields name after `wall`, both naive wall-clock times."""
        # A copy: croniter carries its position, and threads share this value. Whole minutes: it counts in floats.
        dates = copy.copy(self._dates)
        return dates.get_next(dt.datetime, start_time=wall.replace(second=0, microsecond=0))


def read_fields(spec: str) -> Fields:
    """Read five fields, or one of the macros such as `@daily`.

    Raises:
        InvalidSpec: naming the field and the token in it that cannot be read, or that the date never comes.
    """
    from croniter import croniter  # takes a tenth of the time to import vecna, and few programs need it

    words = MACROS.get(spec.lower(), spec).split()
    if len(words) != 5:
        raise InvalidSpec(f"spec {spec!r} has {_count(words)}; it takes exactly five: {_FIVE}.{_hint(words)}")
    try:
        items = [_read_field(kind, word) for kind, word in zip(_KINDS, words, strict=True)]
    except InvalidSpec as error:
        raise InvalidSpec(f"spec {spec!r}: {error}") from None
    texts = [",".join(item.text for item in field) for field in items]
    values = [sorted({value for item in field for value in item.values}) for field in items]
    # croniter gets plain lists: it has rules of its own for `*/n` in one day field beside the other. And `*` for a
    # field without restriction, which with two day fields is not the same as all its values.
    plain = ["*" if text == "*" else ",".join(map(str, field)) for text, field in zip(texts, values, strict=True)]
    if min(values[2]) > max(_LONGEST[month - 1] for month in values[3]):
        if texts[4] == "*":
            raise InvalidSpec(
                f"spec {spec!r} never comes: day of month {words[2]!r} is in no month of {words[3]!r}; change either"
            )
        plain[2] = "*"  # the weekday is enough; croniter would look fifty years ahead for the other each time
    hour = texts[1]
    return Fields(
        text=" ".join(texts),
        real_time=hour == "*" or ("/" in hour and "," not in hour),
        dates=croniter(" ".join(plain), dt.datetime(2000, 1, 1, tzinfo=dt.UTC)),
    )


@attrs.frozen
class _Item:
    """One item of a field's list."""

    text: str
    values: tuple[int, ...]


def _read_field(kind: _Kind, word: str) -> list[_Item]:
    items = [_read_item(kind, token, word) for token in word.split(",")]
    everything = [item for item in items if item.text == "*"]
    return everything[:1] or sorted(items, key=lambda item: (item.values, item.text))


def _read_item(kind: _Kind, token: str, word: str) -> _Item:
    if not token:
        raise InvalidSpec(f"{kind.name} {word!r} has an empty item between its commas; remove the spare comma")
    match = _ITEM.fullmatch(token.lower())
    if match is None:
        raise InvalidSpec(_unreadable(kind, token))
    first, last, step = match.groups()
    by = 1 if step is None else _read_step(kind, int(step), token)
    suffix = "" if step is None else f"/{by}"
    if first is None:
        return _Item(f"*{suffix}", tuple(range(kind.low, kind.high + 1, by)))
    low = _read_value(kind, first, token)
    if last is not None:
        high = _read_value(kind, last, token)
    else:
        high = low if step is None else max(low, kind.high)  # `5/10` begins at 5 and goes on to the end
    sunday_is_seven = kind.limit == 7
    if sunday_is_seven and low > high:  # `fri-sun` and `7-2` run forwards if Sunday is the other of its two numbers
        low, high = low % 7, high or 7
    if low > high:
        raise InvalidSpec(
            f"{kind.name} range {token!r} runs backwards; write it as two: {low}-{kind.high},{kind.low}-{high}"
        )
    values = tuple(value % 7 if sunday_is_seven else value for value in range(low, high + 1, by))
    if low == high and step is None:
        return _Item(str(values[0]), values)
    return _Item(f"{low}-{high}{suffix}", values)


def _read_value(kind: _Kind, value: str, token: str) -> int:
    number = kind.names.get(value) if value.isalpha() else int(value)
    if number is None:
        raise InvalidSpec(_unreadable(kind, token))
    if not kind.low <= number <= kind.limit:
        raise InvalidSpec(f"{kind.name} {token!r} is out of range: {kind.low} to {kind.limit}")
    return number


def _read_step(kind: _Kind, step: int, token: str) -> int:
    size = kind.high - kind.low + 1
    if not 1 <= step <= size:
        raise InvalidSpec(
            f"{kind.name} {token!r} has a step out of range: 1 to {size}; for other intervals use @every, "
            f"e.g. '@every 90m'"
        )
    return step


def _unreadable(kind: _Kind, token: str) -> str:
    names = f", names ({', '.join(kind.names)})" if kind.names else ""
    return (
        f"{kind.name} {token!r} cannot be read: it takes numbers {kind.low} to {kind.limit}{names}, ranges a-b, "
        f"steps */n or a-b/n, lists a,b and *; L, W, #, H and R are not supported"
    )


def _count(words: list[str]) -> str:
    return "one field" if len(words) == 1 else f"{len(words)} fields"


def _hint(words: list[str]) -> str:
    if words and "=" in words[0]:
        return " The time zone is the argument `timezone`"
    if len(words) in {6, 7}:
        return " There is no field for seconds or years: for less than a minute use @every, e.g. '@every 10s'"
    if words and words[0].startswith("@"):
        return f" Of the macros it knows {', '.join(MACROS)} and '@every 1h30m'"
    return " For example '0 6 * * ?' is every day at six"
