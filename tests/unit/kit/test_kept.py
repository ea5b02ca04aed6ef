"""A message as a broker keeps it: as a row, and what is told of it."""

import datetime as dt

import attrs
import pytest

from vecna import Signature
from vecna.kit import Kept
from vecna.ports import Answer, Attempts, Message, SettleAs, Settlement, Standing, Verdict

NOW = dt.datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


def every_state():
    yield Kept.of(Message("a", "q", b"\x00\xff", 9, code="c"), NOW)
    yield Kept.of(Message("a", "q", b"", due=NOW + SECOND), NOW)
    yield Kept.of(Message("a", "q", b""), NOW, hold="h")
    leased = Kept.of(Message("a", "q", b""), NOW)
    leased.lease("1:w:1")
    leased.cancel()
    yield attrs.evolve(leased)
    leased.settle(Settlement("a", "1:w:1", SettleAs.RETRY, attempts=Attempts(1, 2, 3)), NOW)
    yield leased
    dead = Kept.of(Message("a", "q", b""), NOW)
    dead.lease("2:w:2")
    dead.settle(Settlement("a", "2:w:2", SettleAs.DEAD, reason="ends with \udc80"), NOW)
    yield dead


@pytest.mark.parametrize("kept", list(every_state()), ids=lambda kept: str(kept.standing))
def test_a_row_is_read_as_it_was_written(kept):
    row = kept.to_row()

    assert {type(value) for value in row} <= {str, bytes, int, type(None)}
    again = Kept.from_row(row)
    expected = attrs.asdict(kept, recurse=False) | {"reason": kept.reason.replace("\udc80", "?")}
    assert attrs.asdict(again, recurse=False) == expected
    assert len(row) == len(Kept.COLUMNS)


def test_the_first_verdict_stands():
    kept = Kept.of(Message("a", "q", b""), NOW)
    kept.lease("1:w:1")
    kept.run_out(spared=False, max_deliveries=1)
    assert (kept.standing, kept.verdict) == (Standing.ENDING, Verdict.DEAD)

    kept.cancel()

    assert kept.verdict is Verdict.DEAD


def test_a_refused_settlement_changes_nothing():
    kept = Kept.of(Message("a", "q", b""), NOW)
    kept.lease("2:w:1")
    before = kept.to_row()

    for token in ("1:w:1", "", "2:w:2"):
        assert kept.settle(Settlement("a", token), NOW) is Answer.LOST

    assert kept.to_row() == before


def test_what_cannot_be_read_is_left_out():
    body = Signature("task", uuid="a").to_json()
    kept = [Kept.of(Message("a", "q", body, delay=SECOND), NOW), Kept.of(Message("b", "q", b"{"), NOW)]

    (call,) = Kept.readable(kept)

    assert (call.uuid, call.eta) == ("a", NOW + SECOND)
