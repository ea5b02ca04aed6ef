"""Durations and instants as users write them: timedelta or seconds; aware datetimes only."""

from __future__ import annotations

import datetime as dt

from vecna.domain.errors import InvalidArgument, VecnaError
from vecna.domain.shown import shown

#: About 270 years: anything longer is a mistake. Below 2**33 seconds a double still tells microseconds apart, and
#: seconds in a double is how durations travel.
LONGEST = dt.timedelta(days=99_000)
_NONE = dt.timedelta(0)


def to_duration(value: object, what: str, error: type[VecnaError] = InvalidArgument) -> dt.timedelta:
    """Turn a timedelta or a number of seconds into a timedelta that is not negative.

    Raises:
        error: another type, negative, not finite, or longer than about 270 years.
    """
    if isinstance(value, dt.timedelta):
        # Subclasses of others (pandas.Timedelta) know finer parts, which do not travel.
        duration = dt.timedelta(value.days, value.seconds, value.microseconds)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise error(f"{what} takes a timedelta or seconds (int or float), not {type(value).__name__}")
    else:
        try:
            duration = dt.timedelta(seconds=value)
        except (OverflowError, ValueError):  # too large, infinite, NaN
            raise error(f"{what} of {shown(value)} seconds is out of range: at most {LONGEST.days} days") from None
    if not _NONE <= duration <= LONGEST:
        raise error(f"{what} is {duration}: it must lie between 0 and {LONGEST.days} days")
    return duration


def to_instant(value: object, what: str, error: type[VecnaError] = InvalidArgument) -> dt.datetime:
    """Return an aware datetime in UTC.

    Raises:
        error: not a datetime, or a naive one.
    """
    if not isinstance(value, dt.datetime):
        raise error(f"{what} takes an aware datetime, not {type(value).__name__}")
    try:
        if value.utcoffset() is not None:
            instant = value.astimezone(dt.UTC)
            if type(instant) is not dt.datetime:  # its own class keeps no say in how it is written or compared
                instant = dt.datetime(*instant.timetuple()[:6], instant.microsecond, tzinfo=dt.UTC)
            return instant
    except (OverflowError, TypeError, ValueError):
        raise error(f"{what} does not exist in UTC, or its time zone fails") from None
    raise error(f"{what} {value.isoformat()} has no time zone: pass an aware datetime, e.g. datetime.now(timezone.utc)")
