"""`checked` refuses what a port refuses, before a method is entered."""

import datetime as dt

import pytest

from vecna import InvalidArgument, TaskState
from vecna.kit import checked
from vecna.ports import FireCall, Message, Node, Plan, Report, Settlement

BAD = "a b"
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@checked
class Anything:
    """Has parameters of the names that ports use."""

    def __init__(self):
        self.entered = []

    def one(self, queue, uuids=(), *, worker="w"):
        """Of a name, of several, and by keyword."""
        self.entered.append((queue, uuids, worker))
        return "answer"

    def many(self, settlements=(), messages=(), states=(), reports=(), calls=(), plan=None):
        """What has names inside."""
        self.entered.append(True)

    def _inner(self, queue):
        self.entered.append(queue)


def test_what_is_allowed_is_handed_on_unchanged():
    anything = Anything()

    assert anything.one("q", ["a", "b"], worker="w1") == "answer"

    assert anything.entered == [("q", ["a", "b"], "w1")]
    assert Anything.one.__doc__ == "Of a name, of several, and by keyword."


@pytest.mark.parametrize(
    "call",
    [
        lambda it: it.one(BAD),
        lambda it: it.one(queue=BAD),
        lambda it: it.one("q", ["a", BAD]),
        lambda it: it.one("q", worker=BAD),
        lambda it: it.many(settlements=[Settlement(BAD, "1:w:1")]),
        lambda it: it.many([Settlement("a", "1:w:1", follow_ups=(Message("b", BAD, b""),))]),
        lambda it: it.many(messages=[Message("a", "q", b"", priority=10)]),
        lambda it: it.many(messages=[Message("a", "q", b"", code=BAD)]),
        lambda it: it.many(states=[TaskState(task_uuid=BAD)]),
        lambda it: it.many(reports=[Report(BAD, 0, True)]),
        lambda it: it.many(calls=[FireCall("s", 1, NOW, None, uuid=BAD)]),
        lambda it: it.many(calls=[FireCall("s", 1, NOW, None, messages=(Message(BAD, "q", b""),))]),
        lambda it: it.many(plan=Plan("r", (Node(BAD, 1, False, "r"),), (), (), (), ())),
    ],
)
def test_what_is_not_allowed_is_refused_wherever_it_stands(call):
    anything = Anything()

    with pytest.raises(InvalidArgument):
        call(anything)

    assert anything.entered == []


def test_what_is_no_part_of_a_port_is_left_alone():
    anything = Anything()

    anything._inner(BAD)

    assert anything.entered == [BAD]
