"""Specs of periodic schedules: when the next occurrence is due. Pure: nothing here reads a clock."""

from __future__ import annotations

import datetime as dt
import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

import attrs

from vecna.domain.durations import LONGEST, to_instant
from vecna.domain.errors import InvalidArgument, InvalidSpec
from vecna.domain.spec_fields import Fields, read_fields
from vecna.domain.spec_zone import first_after, load_zone

#: Far longer than any list of minutes; longer text is not a spec.
MAX_LENGTH: Final = 1000

_SHORTEST: Final = dt.timedelta(seconds=1)
_TICK: Final = dt.timedelta(microseconds=1)
_MILLISECOND: Final = dt.timedelta(milliseconds=1)
_EVERY: Final = "@every"
_UNITS: Final = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_PART: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})(ms|h|m|s)")
#: The calendar of datetime ends in 9999, and 29 February may be eight years away.
_LAST_YEAR: Final = 9980
#: A bound before it bounds nothing, and cannot be reckoned with: the calendar begins in the year 1.
_EARLIEST: Final = dt.datetime(2, 1, 1, tzinfo=dt.UTC)


@attrs.frozen
class Spec:
    """When a schedule is due. Made by `parse_spec`; two are equal if they mean the same times in the same words.

    Attributes:
        text: canonical text, which `parse_spec` reads again: five fields (`0 6 * * *`) or `@every 1h30m`.
        timezone: IANA name of the zone whose wall clock the fields mean. `@every` does not depend on it.
        start: no occurrence lies before it (UTC); None for no such bound.
        end: no occurrence lies after it (UTC); None for no such bound.
    """

    text: str
    timezone: str = "UTC"
    start: dt.datetime | None = None
    end: dt.datetime | None = None

    @property
    def period(self) -> dt.timedelta | None:
        """The interval of `@every`; None for five fields."""
        rhythm = _rhythm(self.text, self.timezone)
        return rhythm.period if isinstance(rhythm, _Every) else None

    def next_after(self, instant: dt.datetime, anchor: dt.datetime) -> dt.datetime | None:
        """The first occurrence strictly after `instant` that lies within `start` and `end`.

        Args:
            instant: an aware datetime.
            anchor: the first sending, from which `@every` counts (in whole milliseconds, rounded down): the
                occurrences are one interval after it, two intervals, and so on. Five fields do not depend on it.

        Returns:
            An instant in UTC; None if nothing comes any more: `end` has passed, or the calendar ends.

        Raises:
            InvalidArgument: a naive datetime.
            InvalidSpec: this value was not made by `parse_spec` and its text cannot be read.
        """
        instant = to_instant(instant, "instant")
        if self.start is not None and instant < self.start:
            instant = self.start - _TICK
        due = _rhythm(self.text, self.timezone).next_after(instant, anchor)
        return None if due is None or (self.end is not None and due > self.end) else due

    def between(
        self, after: dt.datetime, until: dt.datetime, anchor: dt.datetime, *, limit: int
    ) -> tuple[dt.datetime, ...]:
        """The occurrences strictly after `after` and not later than `until`, the earliest `limit` of them.

        Args:
            after: where to begin, an aware datetime.
            until: where to end, an aware datetime.
            anchor: as in `next_after`.
            limit: at most so many; a schedule that stood still for a year may have missed half a million.

        Returns:
            Instants in UTC, in order. If there are `limit` of them, ask again from the last one.

        Raises:
            InvalidArgument: a naive datetime, or a `limit` below 1.
        """
        if limit < 1:
            raise InvalidArgument(f"limit is {limit}: it must be at least 1")
        until = to_instant(until, "until")
        found: list[dt.datetime] = []
        due = self.next_after(after, anchor)
        while due is not None and due <= until:
            found.append(due)
            if len(found) == limit:
                break
            due = self.next_after(due, anchor)
        return tuple(found)


def parse_spec(
    spec: str | dt.timedelta,
    timezone: str = "UTC",
    *,
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
) -> Spec:
    """Read a spec.

    Args:
        spec: five fields (minute, hour, day of month, month, day of week), `@hourly @daily @midnight @weekly @monthly
            @yearly @annually`, `@every 1h30m` (units h, m, s, ms) or a timedelta, which is the same as `@every`.
            An interval has at least one second and whole milliseconds.
        timezone: IANA name of the zone whose wall clock the fields mean.
        start: no occurrence before this aware datetime.
        end: no occurrence after this aware datetime.

    Raises:
        InvalidSpec: it cannot be read (the message names the field and the token), never comes, the zone is unknown,
            or `start` and `end` leave nothing between them.
    """
    load_zone(timezone)
    if isinstance(spec, dt.timedelta):
        text = _canonical_every(_check_period(spec, f"a spec of timedelta {spec}"))
    elif isinstance(spec, str):
        if len(spec) > MAX_LENGTH:
            raise InvalidSpec(f"spec {spec[:60]!r}... has {len(spec)} characters; {MAX_LENGTH} is the limit")
        text = _read(spec).text
    else:
        raise InvalidSpec(f"spec takes a string such as '0 6 * * *' or a timedelta, not {type(spec).__name__}")
    first = None if start is None else max(to_instant(start, "start", InvalidSpec), _EARLIEST)
    last = None if end is None else to_instant(end, "end", InvalidSpec)
    made = Spec(text=text, timezone=timezone, start=first, end=last)
    if first is not None and last is not None:
        # An interval counts from its first sending, which is not known here.
        empty = last < first or (made.period is None and made.next_after(first - _TICK, first) is None)
        if empty:
            raise InvalidSpec(f"spec {text!r} never comes between start {first} and end {last}; move either")
    return made


@attrs.frozen
class _Every:
    """An interval that counts from an anchor."""

    period: dt.timedelta

    @property
    def text(self) -> str:
        return _canonical_every(self.period)

    def next_after(self, instant: dt.datetime, anchor: dt.datetime) -> dt.datetime | None:
        anchor = to_instant(anchor, "anchor")
        # Due times are kept in milliseconds. An occurrence between two of them would be due again after rounding.
        anchor = anchor.replace(microsecond=anchor.microsecond // 1000 * 1000)
        try:
            return anchor + max(1, (instant - anchor) // self.period + 1) * self.period
        except OverflowError:
            return None


@attrs.frozen
class _Cron:
    """Five fields on the wall clock of a zone."""

    fields: Fields
    timezone: str

    @property
    def text(self) -> str:
        return self.fields.text

    def next_after(self, instant: dt.datetime, anchor: dt.datetime) -> dt.datetime | None:
        if instant.year > _LAST_YEAR:
            return None
        return first_after(self.fields, load_zone(self.timezone), instant)


@lru_cache(maxsize=4096)
def _rhythm(text: str, timezone: str) -> _Every | _Cron:
    """What a canonical text means: parsing it costs more than the next occurrence does."""
    return _read(text, timezone)


def _read(spec: str, timezone: str = "UTC") -> _Every | _Cron:
    words = spec.split(maxsplit=1)
    if words and words[0].lower() == _EVERY:
        duration = words[1].rstrip() if len(words) == 2 else ""
        return _Every(_check_period(_read_duration(duration, spec), f"spec {spec!r}"))
    return _Cron(read_fields(spec.strip()), timezone)


def _read_duration(text: str, spec: str) -> dt.timedelta:
    milliseconds = Fraction(0)
    position = 0
    while position < len(text) or not text:
        part = _PART.match(text, position)
        if part is None:
            raise InvalidSpec(
                f"spec {spec!r}: {text[position:]!r} is not a duration; write numbers with the units h, m, s or ms, "
                f"e.g. '@every 1h30m'"
            )
        number, unit = part.groups()
        milliseconds += Fraction(number.rstrip(".") if number[0] != "." else f"0{number}") * _UNITS[unit]
        position = part.end()
    if milliseconds > LONGEST // _MILLISECOND:
        raise InvalidSpec(f"spec {spec!r} is too long an interval: at most {LONGEST.days} days")
    if milliseconds.denominator != 1:
        raise InvalidSpec(f"spec {spec!r} is not a whole number of milliseconds: round it")
    return int(milliseconds) * _MILLISECOND


def _check_period(period: dt.timedelta, what: str) -> dt.timedelta:
    if period < _SHORTEST:
        raise InvalidSpec(f"{what} is too short an interval: at least one second")
    if period > LONGEST:
        raise InvalidSpec(f"{what} is too long an interval: at most {LONGEST.days} days")
    if period % _MILLISECOND:
        raise InvalidSpec(f"{what} is not a whole number of milliseconds: round it")
    return period


def _canonical_every(period: dt.timedelta) -> str:
    """Hours, minutes and seconds, none of them zero: `1h30m`, `90m` and `5400s` are one text."""
    rest, milliseconds = divmod(period // _MILLISECOND, 1000)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    fraction = f".{milliseconds:03}".rstrip("0") if milliseconds else ""
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if minutes else ""
    text += f"{seconds}{fraction}s" if seconds or fraction else ""
    return f"{_EVERY} {text}"
