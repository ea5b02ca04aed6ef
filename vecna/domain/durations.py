"""Durations and instants as users write them: timedelta or seconds; aware datetimes only."""

from __future__ import annotations

import datetime as dt
import math

from vecna.domain.errors import InvalidArgument, VecnaError

#: About 1,000 years: anything longer is a mistake, and stays exact in milliseconds in a double.
LONGEST = dt.timedelta(days=366_000)


def to_duration(value: object, what: str, error: type[VecnaError] = InvalidArgument) -> dt.timedelta:
    """Turn a timedelta or a number of seconds into a timedelta that is not negative.

    Raises:
        error: another type, negative, not finite, or longer than about 1,000 years.
    """
    if isinstance(value, dt.timedelta):
        duration = value
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise error(f"{what} takes a timedelta or seconds (int or float), not {type(value).__name__}")
    elif not math.isfinite(value) or abs(value) > LONGEST.total_seconds():
        raise error(f"{what} of {value} seconds is out of range: at most {LONGEST.days} days")
    else:
        duration = dt.timedelta(seconds=value)
    if duration < dt.timedelta(0) or duration > LONGEST:
        raise error(f"{what} is {duration}: it must lie between 0 and {LONGEST.days} days")
    return duration


def to_instant(value: object, what: str, error: type[VecnaError] = InvalidArgument) -> dt.datetime:
    """Return an aware datetime in UTC.

    Raises:
        error: not a datetime, or a naive one.
    """
    if not isinstance(value, dt.datetime):
        raise error(f"{what} takes an aware datetime, not {type(value).__name__}")
    if value.tzinfo is None or value.utcoffset() is None:
        raise error(
            f"{what} {value.isoformat()} has no time zone: pass an aware datetime, e.g. datetime.now(timezone.utc)"
        )
    try:
        return value.astimezone(dt.UTC)
    except OverflowError:
        raise error(f"{what} {value.isoformat()} does not exist in UTC: out of range") from None
