"""What must hold when a history has come to rest: the twelve invariants, each by its name, over the witness's books."""

from __future__ import annotations

from typing import Any

from tests.simulation.shapes import Shape, every_id
from tests.simulation.witness import Witness
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chord, Group, Link

_DIED = "its sender died"


class Laws:
    """Looks at one history from its end.

    Args:
        witness: the books.
        sent: what was sent: the shape, and whether its sender was told that it was accepted.
        retry_count: of the tasks.
    """

    def __init__(self, witness: Witness, sent: list[tuple[Shape, int]], retry_count: int) -> None:
        self.witness = witness
        self.sent = sent
        self.retry_count = retry_count

    def check(self) -> None:
        """Raises:
        Violation: one of them does not hold.
        """
        for shape, accepted_at in self.sent:
            self.ends(shape, bool(accepted_at))
            for link in shape.links:
                self.link(link, shape)
        self.cancels()
        self.each_once()

    # -- 1, 4: everything ends ---------------------------------------------------------------------------------------

    def ends(self, shape: Shape, accepted: bool) -> None:
        """All that was accepted has an end; what was not, has either no trace or an end."""
        witness = self.witness
        known = [uuid for uuid in shape.ids if uuid in witness.ends]
        begun = [uuid for uuid in shape.ids if uuid in witness.runs]
        if accepted or begun:
            for uuid in shape.ids:
                if uuid not in witness.ends:
                    raise self.witness.violated("4 everything ends, waiters wake", f"{uuid} of {shape.name} has no end")
        for uuid in known:
            state = witness.ends[uuid][1]
            if state.is_canceled and _DIED in state.error and begun and shape.name not in witness.late:
                raise self.witness.violated("4 nothing starts until all is there", f"{begun} ran, though {state.error}")

    def link(self, link: Link, shape: Shape) -> bool:
        """Whether all of it succeeded; what follows from it has run, or not, accordingly."""
        if isinstance(link, Signature):
            return self.leaf(link, shape)
        if isinstance(link, Group):
            return min([self.link(member, shape) for member in link.tasks])  # looks at each
        good = True
        for place, part in enumerate(link.tasks):
            if place and good:
                self.begins(part, shape)
            elif place:
                self.never(part, "a step before it did not succeed")
            good = self.link(part, shape) and good
        if isinstance(link, Chord):
            self.collected(link)
        return good

    def leaf(self, task: Signature[Any], shape: Shape) -> bool:
        """Whether it succeeded. Its callbacks have run if and only if they should."""
        end = self.witness.ends.get(task.uuid)
        if end is None:
            return False
        state = end[1]
        runs = self.witness.runs.get(task.uuid, ())
        if state.is_success and not runs:
            raise self.witness.violated("1 what is accepted runs", f"{task.uuid} is {state.state} without a run")
        if not runs and not state.is_success and not self.excused(shape, state):
            raise self.witness.violated(
                "1 what is accepted runs", f"{task.uuid} never ran, and is {state.state}: {state.error}"
            )
        failed = state.is_failure and not state.dead_reason and runs and not self.is_passed_on(state, task)
        if failed and self.witness.retries[task.uuid] < self.retry_count:
            raise self.witness.violated("1 what fails is repeated", f"{task.uuid} failed for good at its first attempt")
        for callbacks, due in ((task.on_success, state.is_success), (task.on_error, state.is_failure)):
            for callback in callbacks:
                if due:
                    self.begins(callback, shape)
                else:
                    self.never(callback, f"{task.uuid} is {state.state}")
                self.leaf(callback, shape)
        return bool(state.is_success)

    def is_passed_on(self, state: Any, task: Signature[Any]) -> bool:
        """Whether an end came from another task's failure."""
        return f"task {task.uuid}" not in state.error and state.error.startswith("task ")

    def excused(self, shape: Shape, state: Any) -> bool:
        """Whether there is a reason not to run."""
        tried = shape.name in self.witness.tried_cancels
        if state.dead_reason or shape.flags or tried or shape.name in self.witness.late:
            return True
        # Members of one that failed, its later steps, callbacks that were not caused: `never` looks at these.
        return state.error.startswith(("task ", _DIED)) or "was canceled" in state.error

    def begins(self, link: Link, shape: Shape) -> None:
        """What was caused has run, or has a reason not to."""
        leaf = _first(link)
        if leaf.uuid in self.witness.runs:
            return
        end = self.witness.ends.get(leaf.uuid)
        if end is None:
            raise self.witness.violated(
                "3 what follows follows", f"{leaf.uuid} was caused, and has neither run nor ended"
            )
        if not (end[1].dead_reason or shape.name in self.witness.tried_cancels | self.witness.late):
            raise self.witness.violated(
                "3 what follows follows", f"{leaf.uuid} was caused and never ran: {end[1].error}"
            )

    def never(self, link: Link, why: str) -> None:
        """What was not caused has not run."""
        for uuid in every_id(link):
            if uuid in self.witness.runs:
                raise self.witness.violated("4 nothing follows from what did not succeed", f"{uuid} ran, though {why}")

    def collected(self, chord: Chord) -> None:
        """The callback was given what its members returned, in order."""
        runs = self.witness.runs.get(chord.callback.uuid)
        if not runs:
            return
        expected: list[Any] = []
        for member in chord.group.tasks:
            last = _last(member)
            end = self.witness.ends.get(last.uuid)
            if end is None or not end[1].is_success:
                raise self.witness.violated(
                    "4 a callback runs iff all succeeded", f"{chord.callback.uuid} ran without {last.uuid}"
                )
            expected += [result.value for result in end[1].results]
        for _, _, args in runs:
            if list(args) != expected:
                raise self.witness.violated(
                    "11 results are there while they are needed", f"{list(args)}, not {expected}"
                )

    # -- 3, 8: once --------------------------------------------------------------------------------------------------

    def each_once(self) -> None:
        """What no sender has sent was taken in once; nothing is repeated more often than it may."""
        witness = self.witness
        # A sender's own repetition may come when all is over; then what followed is enqueued again, and not run.
        repeated = {
            uuid
            for shape, _ in self.sent
            if any(each in witness.sent and witness.accepted[each] > 1 for each in shape.ids)
            for uuid in shape.ids
        }
        for uuid, times in witness.accepted.items():
            if times > 1 and uuid not in witness.sent and uuid not in repeated:
                raise self.witness.violated(
                    "3 each follow-up and occurrence once", f"{uuid} was enqueued {times} times"
                )
        for uuid, times in witness.retries.items():
            if (
                times > self.retry_count
                and len(witness.runs.get(uuid, ())) > self.retry_count + 1 + witness.crashes[uuid]
            ):
                raise witness.violated("1 no more repeats than asked for", f"{uuid} was repeated {times} times")

    # -- 7: cancels --------------------------------------------------------------------------------------------------

    def cancels(self) -> None:
        """What a cancel has answered was true, and stays so."""
        witness = self.witness
        for begun, seq, what, answer in witness.cancels:
            for uuid in answer.canceled:
                late = [when for when, _, _ in witness.runs.get(uuid, ()) if when > seq]
                if late:
                    raise self.witness.violated(
                        "7 canceled: never starts", f"{uuid} started after the answer to cancel({what})"
                    )
                end = witness.ends.get(uuid)
                if end is None:
                    raise self.witness.violated("7 canceled: never starts", f"{uuid} is canceled, and has no end")
                # Of two verdicts the first stands: one that was dead already does not start either.
                if not end[1].is_canceled and not end[1].dead_reason:
                    raise self.witness.violated(
                        "7 canceled: never starts", f"{uuid} is canceled, and ended {end[1].state}"
                    )
            self.covered(begun, seq, what, answer)

    def covered(self, begun: int, seq: int, what: str, answer: Any) -> None:
        """A cancel of a whole reaches all of it: nothing of what was accepted before starts after the answer."""
        for shape, accepted_at in self.sent:
            if not accepted_at or accepted_at > begun:
                continue
            for uuid in answer.unknown:
                if uuid in shape.ids and uuid not in self.witness.released:
                    raise self.witness.violated("7 what is known is not unknown", f"{uuid} to cancel({what})")
            if what not in (shape.code, shape.name):
                continue
            for uuid in shape.ids:
                if uuid in answer.running:
                    continue
                if any(when > seq for when, _, _ in self.witness.runs.get(uuid, ())):
                    raise self.witness.violated(
                        "7 a cancel covers what is still to come", f"{uuid} started after cancel({what})"
                    )


def _first(link: Link) -> Signature[Any]:
    while not isinstance(link, Signature):
        link = link.tasks[0]
    return link


def _last(link: Link) -> Signature[Any]:
    while not isinstance(link, Signature):
        link = link.tasks[-1]
    return link
