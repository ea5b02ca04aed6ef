"""What becomes of a cron spec on the two days of the year on which the clocks change.

A spec names wall-clock times, a schedule needs instants. Where the hour field is `*` or a step the spec means a rhythm
and follows real time: every instant at which the clock shows a matching time. Any other hour field means a date with
the clock: each time comes once. One that comes twice is its first coming; those that do not exist are one run at the
end of the gap.
"""

from __future__ import annotations

import datetime as dt
from typing import Final
from zoneinfo import ZoneInfo

from vecna.domain.errors import InvalidSpec
from vecna.domain.spec_fields import Fields

_TICK: Final = dt.timedelta(microseconds=1)
_SECOND: Final = dt.timedelta(seconds=1)


def load_zone(name: object) -> ZoneInfo:
    """The time zone of this IANA name, from the system or from tzdata.

    Raises:
        InvalidSpec: no such zone.
    """
    if not isinstance(name, str):
        raise InvalidSpec(f"timezone takes the name of a zone, e.g. 'Europe/Berlin', not {type(name).__name__}")
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # unknown; no possible name; the name of a directory
        shown = name if len(name) <= 80 else name[:77] + "..."
        raise InvalidSpec(f"unknown time zone {shown!r}: use an IANA name such as 'Europe/Berlin' or 'UTC'") from None


def first_after(fields: Fields, zone: ZoneInfo, instant: dt.datetime) -> dt.datetime:
    """The first instant strictly after `instant` at which `fields` are due in `zone`, both in UTC."""
    if fields.real_time:
        return _first_in_real_time(fields, zone, instant)
    return _first_by_the_clock(fields, zone, instant)


def _first_in_real_time(fields: Fields, zone: ZoneInfo, instant: dt.datetime) -> dt.datetime:
    local = instant.astimezone(zone)
    wall = local.replace(tzinfo=None)
    due = fields.next_wall(wall)
    before, after = _offsets(zone, wall)
    if before > after and not local.fold:  # the first of two passes: the hour will begin anew
        back = _change(zone, instant, instant + (before - after))
        if _at(due, before) < back:
            return _at(due, before)
        due = fields.next_wall(_wall(back, after) - _TICK)
    while True:
        before, after = _offsets(zone, due)
        if before < after:  # the clock never shows it: go on where the gap ends
            end = _change(zone, _at(due, after), _at(due, before))
            due = fields.next_wall(_wall(end, after) - _TICK)
            continue
        for shown in (_at(due, before), _at(due, after)):
            if shown > instant:
                return shown
        due = fields.next_wall(due)


def _first_by_the_clock(fields: Fields, zone: ZoneInfo, instant: dt.datetime) -> dt.datetime:
    local = instant.astimezone(zone)
    wall = local.replace(tzinfo=None)
    if local.fold:  # the second of two passes: all that it shows has been
        before, after = _offsets(zone, wall)
        back = _change(zone, instant - (before - after), instant)
        wall = _wall(back, before) - _TICK
    while True:
        wall = fields.next_wall(wall)
        before, after = _offsets(zone, wall)
        if before < after:
            due = _change(zone, _at(wall, after), _at(wall, before))
        else:
            due = _at(wall, before)
        if due > instant:
            return due


def _offsets(zone: ZoneInfo, wall: dt.datetime) -> tuple[dt.timedelta, dt.timedelta]:
    """The offsets before and after the change that `wall` falls into.

    They are the same on ordinary days; the first is greater where `wall` comes twice, less where it does not exist.
    """
    before = wall.replace(tzinfo=zone, fold=0).utcoffset()
    after = wall.replace(tzinfo=zone, fold=1).utcoffset()
    assert before is not None
    assert after is not None
    return before, after


def _change(zone: ZoneInfo, low: dt.datetime, high: dt.datetime) -> dt.datetime:
    """The instant in (low, high] at which the clocks change. zoneinfo does not tell, but can be asked."""
    low = low.replace(microsecond=0)
    above = (high - low) // _SECOND
    offset = high.astimezone(zone).utcoffset()
    below = 0
    while above - below > 1:
        middle = (below + above) // 2
        if (low + middle * _SECOND).astimezone(zone).utcoffset() == offset:
            above = middle
        else:
            below = middle
    return low + above * _SECOND


def _at(wall: dt.datetime, offset: dt.timedelta) -> dt.datetime:
    return (wall - offset).replace(tzinfo=dt.UTC)


def _wall(instant: dt.datetime, offset: dt.timedelta) -> dt.datetime:
    return (instant + offset).replace(tzinfo=None)
