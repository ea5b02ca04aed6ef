"""What must hold of schedules when a history has come to rest: invariants 8 and 9."""

from __future__ import annotations

import datetime as dt
from typing import Any

from tests.simulation.chance import START
from tests.simulation.witness import Violation


def check(world: Any) -> None:
    """Look at the schedule of a history.

    Raises:
        Violation: a law does not hold.
    """
    witness = world.witness
    for (code, due), times in witness.schedules.fired.items():
        if times > 1:
            raise Violation("8 each occurrence once", f"{code} at {due:%M:%S} was fired {times} times")
    _removed(world)
    if not world.schedule_tampered:
        _complete(world)
    for _, due in witness.schedules.fired:
        _ended(witness, f"p@{int(due.timestamp() * 1000)}")


def _removed(world: Any) -> None:
    """After a removal was answered nothing starts, unless it is registered by a call that begins after it."""
    witness = world.witness
    for begun, answered, what, answer in witness.cancels:
        if not (what.startswith("schedule ") and answer.schedules):
            continue
        revived = min([seq for seq in witness.schedules.registrations if seq > begun], default=1 << 60)
        for uuid, runs in witness.runs.items():
            if uuid.startswith("p@") and uuid not in answer.running:
                late = [seq for seq, _, _ in runs if answered < seq < revived]
                if late:
                    raise Violation("8 none starts after its removal", f"{uuid} started after the answer")


def _complete(world: Any) -> None:
    """Of a schedule that makes up for all that was missed nothing is left out."""
    registrations = [entry for entry in world.witness.log if len(entry) > 2 and entry[2] == "register"]
    if len(registrations) != 1 or not world.registered:
        return
    _, _, _, _, _, every, missed, overlap = registrations[0]
    if missed != "all" or not overlap:
        return
    stored = world.witness.schedules.stored.get("p")
    due = stored.anchor + dt.timedelta(seconds=every)
    end = START + dt.timedelta(seconds=world.schedule_end)
    while due <= end:
        if not world.witness.schedules.fired["p", due]:
            raise Violation("9 a schedule goes on", f"the occurrence of {due:%M:%S} was never fired")
        due += dt.timedelta(seconds=every)


def _ended(witness: Any, uuid: str) -> None:
    """An occurrence that was fired has ended: a task itself, a chain with its first task."""
    if uuid not in witness.ends and f"{uuid}/t2" not in witness.ends:
        raise Violation("8 what is fired arrives", f"the occurrence {uuid} has no end")
