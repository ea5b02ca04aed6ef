"""What docs/periodic.md says of specs and time zones is what the code does."""

import datetime as dt
import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from vecna.domain.errors import InvalidSpec
from vecna.domain.spec import parse_spec

TEXT = (Path(__file__).parents[3] / "docs" / "periodic.md").read_text()
TABLE = TEXT.split("<!-- table -->")[1].split("<!-- end of table -->")[0]
ROWS = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in TABLE.strip().splitlines()[2:]]
ANCHOR = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def shown(spec: str, month: int, day: int) -> str:
    berlin = ZoneInfo("Europe/Berlin")
    start, end = (dt.datetime(2026, month, day, hour, 59, tzinfo=berlin) for hour in (0, 3))
    due = parse_spec(spec, "Europe/Berlin").between(start, end, ANCHOR, limit=99)
    return ", ".join(f"{at.astimezone(berlin):%H:%M %Z}" for at in due) or "none"


@pytest.mark.parametrize(("spec", "march", "october"), ROWS)
def test_the_table_of_the_days_of_change(spec, march, october):
    assert (shown(spec, 3, 29), shown(spec, 10, 25)) == (march, october)


def test_the_table_has_both_kinds_of_hour_field():
    assert len(ROWS) > 5
    assert {row[0].split()[1] for row in ROWS} >= {"2", "*", "*/2", "1-3"}


def test_the_errors_are_quoted_as_they_are():
    quoted = TEXT.split("Anything else is an")[1].split("```text\n")[1].split("```")[0].splitlines()
    for line in quoted:
        spec = re.search(r"spec '(.*?)'", line)
        zone = re.search(r"zone '(.*?)'", line)
        with pytest.raises(InvalidSpec) as error:
            parse_spec(spec[1] if spec else "@daily", zone[1] if zone else "UTC")
        assert str(error.value) == line


def test_the_spellings_that_are_said_to_be_the_same():
    pairs = re.findall(r"`([^`]*)` and\s`([^`]*)`(?= are the same|,|\.)", TEXT.split("canonical form")[1])
    assert len(pairs) == 3
    for one, other in pairs:
        assert parse_spec(one) == parse_spec(other), (one, other)


def test_the_examples_of_other_zones():
    def first(spec: str, zone: str, *after: int) -> str:
        due = parse_spec(spec, zone).next_after(
            dt.datetime(after[0], after[1], after[2], tzinfo=ZoneInfo(zone)), ANCHOR
        )
        assert due is not None
        return f"{due.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"

    assert first("@daily", "America/Sao_Paulo", 2018, 11, 3) == "2018-11-04 01:00"
    assert first("0 2 * * *", "Australia/Lord_Howe", 2026, 10, 4) == "2026-10-04 02:30"
    assert first("0,30 6-9 30 12 *", "Pacific/Apia", 2011, 12, 1) == "2011-12-31 00:00"
