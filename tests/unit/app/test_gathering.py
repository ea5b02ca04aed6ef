"""Waiting for many ends at once."""

from collections.abc import Callable
from typing import Any

from vecna.app.gathering import Gathering
from vecna.app.waiting import News
from vecna.domain.state import State, TaskState


class Room:
    """A waiting room whose news the test brings."""

    def __init__(self) -> None:
        self.told: dict[str, Callable[[News], None]] = {}

    def enter(self, uuid: str, tell: Callable[[News], None], *, queue: str = "") -> str:
        self.told[uuid] = tell
        return uuid

    def leave(self, waiter: str) -> None:
        """What is under way already, is told all the same."""

    def end(self, uuid: str, state: State = State.SUCCESS) -> None:
        self.told[uuid](TaskState(task_uuid=uuid, state=state))


def gather(room: Any, woken: list[str], **options: Any) -> Gathering:
    return Gathering(room, [("c", "")], [("a", ""), ("b", "")], lambda: woken.append("woken"), **options)


def test_it_wakes_once_when_the_last_has_ended() -> None:
    room, woken = Room(), list[str]()
    gather(room, woken)

    room.end("a")
    assert woken == []
    room.end("c")
    room.end("b")
    assert woken == ["woken"]


def test_it_wakes_at_once_when_one_has_gone_wrong() -> None:
    room, woken = Room(), list[str]()
    gathering = gather(room, woken)

    room.end("b", State.FAILURE)
    room.end("a", State.CANCELED)

    assert woken == ["woken"]
    assert set(gathering.heard) == {"a", "b"}


def test_a_tolerant_one_waits_for_its_own_only() -> None:
    room, woken = Room(), list[str]()
    gather(room, woken, tolerant=True)

    assert set(room.told) == {"c"}
    room.end("c", State.FAILURE)
    assert woken == ["woken"]


def test_what_was_heard_stands_still_once_it_is_read() -> None:
    """The room may be about to tell when the one who waits leaves, and reads."""
    room = Room()
    gathering = gather(room, [])
    room.end("b", State.FAILURE)

    for _ in gathering.heard:
        gathering.leave()
        room.end("a")

    assert set(gathering.heard) == {"b"}
