"""docs/periodic.md: its examples run, and its pictures are what the code does."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.app.doubles import logged
from tests.unit.app.schedules.rig import MINUTE, START, Hand, Rig
from vecna.domain.schedule import occurrence_id
from vecna.domain.signature import Signature

PAGE = (Path(__file__).parents[4] / "docs" / "periodic.md").read_text(encoding="utf-8")
PICTURES = [block for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) if block.startswith("due")]
MISSED, OVERLAP = [[(line[:15].strip(), line[15:]) for line in block.splitlines()] for block in PICTURES]
DUES = MISSED[0][1]
NOON = START + 12 * 60 * MINUTE


def begin(**keywords: Any) -> Rig:
    rig = Rig()
    rig.clock.advance(NOON - MINUTE - START)
    rig.server.send_periodic_task("*/10 * * * *", Signature("tick"), code="c", **keywords)
    rig.clock.advance(60)
    return rig


def letter(uuid: str) -> str:
    """The letter of an occurrence in the pictures."""
    ids = {occurrence_id("c", NOON + minute * MINUTE): mark for minute, mark in enumerate(DUES) if mark != "."}
    return ids[uuid]


def written(line: list[str], marks: dict[int, str]) -> str:
    for minute, text in marks.items():
        line[minute : minute + len(text)] = text
    return "".join(line[: len(DUES)])


@pytest.mark.parametrize(("name", "drawn"), MISSED[2:])
def test_what_missed_does(name, drawn):
    rig = begin(missed=name.split('"')[1])
    marks: dict[int, str] = {}
    for minute, there in enumerate(MISSED[1][1]):
        before = len(rig.contexts)
        if there == "=":
            rig.hand.all()
        marks[minute] = "".join(letter(context.signature.uuid) for context in rig.contexts[before:])
        rig.clock.advance(60)

    assert written(["."] * len(DUES), marks) == drawn
    assert [name for name, _ in MISSED[2:]] == ['missed="once"', 'missed="all"', 'missed="skip"']


@pytest.mark.parametrize("overlap", [True, False])
def test_what_overlap_does(overlap):
    rig = begin(overlap=overlap)
    hand = Hand(rig.server, name="runs")
    lines = [["."] * len(DUES), ["."] * len(DUES)]
    running: list[tuple[int, Any]] = []
    for minute in range(len(DUES)):
        for since, item in list(running):
            if minute - since == 14:
                running.remove((since, item))
                hand.deliveries.finish([item])
        rig.hand.fire()
        runnable, _ = hand.deliveries.admit(hand.deliveries.lease("vecna_tasks", 10))
        for item in runnable:
            hand.deliveries.run(item)
            running.append((minute, item))
            line = next(line for line in lines if line[minute] == ".")
            line[minute : minute + 14] = [letter(item.uuid), *"=" * min(13, len(DUES) - minute - 1)]
        for _ in range(6):
            rig.clock.advance(10)
            hand.deliveries.extend()

    drawn = [line for name, line in OVERLAP[1:3]] if overlap else [OVERLAP[3][1]]
    assert ["".join(line) for line in lines if "".join(line).strip(".")] == drawn
    assert rig.server.get_schedule("c").skipped == (0 if overlap else 3)


def test_the_examples_run() -> None:
    names: dict[str, Any] = {"__name__": "periodic", "print": lambda *_: None}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    with logged():
        for block in blocks:
            exec(compile(block, "periodic.md", "exec", dont_inherit=True), names)
        server = names["server"]
        server.store_periodic_tasks()
        assert [each.code for each in server.schedules()] == ["clean-up", "daily-report"]
        assert names["result"].get_state().is_canceled
        assert names["last"].uuid == names["result"].uuid
