"""A year of mixed schedules on a virtual clock against an enumeration that walks through it minute by minute."""

import datetime as dt
from collections import Counter
from typing import Final

import pytest

from tests.unit.app.schedules.rig import DAY, MINUTE, START, Rig
from tests.unit.domain.test_spec_enumeration import enumerated, walk
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chord

pytestmark = pytest.mark.slow  # left out by `make unit`

DAYS: Final = 365
FIELDS: Final = [
    ("30 2 * * *", "Europe/Berlin"),
    ("0,30 2 * * *", "America/New_York"),
    ("15 1,2,3 * * *", "Australia/Lord_Howe"),
    ("0 */3 * * *", "Europe/Berlin"),
    ("*/45 * * * 6", "America/New_York"),
    ("0 0 1,15 * *", "America/Sao_Paulo"),
    ("59 23 28 * *", "Asia/Kolkata"),
    ("0 12 */2 * 1", "UTC"),
    ("@weekly", "Pacific/Apia"),
]
MACROS: Final = {"@weekly": "0 0 * * 0"}
INTERVALS: Final = [dt.timedelta(minutes=247), dt.timedelta(hours=7, seconds=13), dt.timedelta(days=10)]


def expected_of_fields() -> Counter[tuple[str, dt.datetime]]:
    """The walk begins a week early: whether the clock has shown a time before is seen from what came before."""
    found: Counter[tuple[str, dt.datetime]] = Counter()
    for number, (spec, zone) in enumerate(FIELDS):
        walked = walk(zone, START - 7 * DAY, DAYS + 8)
        for due in enumerated(MACROS.get(spec, spec), walked):
            if START < due <= START + DAYS * DAY:
                found[f"fields{number}", due] += 1
    return found


def expected_of_intervals() -> Counter[tuple[str, dt.datetime]]:
    found: Counter[tuple[str, dt.datetime]] = Counter()
    for number, interval in enumerate(INTERVALS):
        due = START + interval
        while due <= START + DAYS * DAY:
            found[f"interval{number}", due] += 1
            due += interval
    return found


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_year_of_mixed_schedules_is_what_an_enumeration_minute_by_minute_says():
    rig = Rig(results_expire_in=60)
    rig.results["total"] = lambda *numbers: sum(numbers)
    for number, (spec, zone) in enumerate(FIELDS):
        code = f"fields{number}"
        if number % 4 == 3:
            chord = Chord([Signature("part", [1]), Signature("part", [2])], Signature("total"))
            rig.server.send_periodic_chord(spec, chord, timezone=zone, code=code)
        else:
            rig.server.send_periodic_task(spec, Signature("tick"), timezone=zone, code=code)
    for number, interval in enumerate(INTERVALS):
        rig.server.send_periodic_task(interval, Signature("tick"), code=f"interval{number}", overlap=number != 0)

    rig.to(START + DAYS * DAY)

    ran: Counter[tuple[str, dt.datetime]] = Counter()
    parts: Counter[tuple[str, dt.datetime]] = Counter()
    for (name, _, due, now), context in zip(rig.runs, rig.contexts, strict=True):
        assert due == now
        (parts if name == "part" else ran)[context.schedule_code, due] += 1
    expected = expected_of_fields() + expected_of_intervals()
    assert len(expected) > 9000
    assert ran == expected
    assert parts == {occurrence: 2 for occurrence in expected if occurrence[0] in {"fields3", "fields7"}}
    assert rig.left() == []


@pytest.mark.parametrize("gap", [MINUTE, 3 * DAY])
def test_workers_that_come_and_go_make_up_for_all_that_was_missed(gap):
    rig = Rig(results_expire_in=60)
    for number, (spec, zone) in enumerate(FIELDS[:3]):
        rig.server.send_periodic_task(spec, Signature("tick"), timezone=zone, code=f"fields{number}", missed="all")
    while rig.clock.now() < START + 100 * DAY:
        rig.clock.advance(10 * gap)  # nobody is there
        rig.forward(gap if gap > MINUTE else DAY)

    ran = Counter((context.schedule_code, context.due_at) for context in rig.contexts)
    assert ran == {
        occurrence: 1
        for occurrence in expected_of_fields()
        if occurrence[0] in {"fields0", "fields1", "fields2"} and occurrence[1] <= rig.clock.now()
    }
