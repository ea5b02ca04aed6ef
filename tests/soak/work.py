"""What the soak sends, and what must have become of it."""

from collections import Counter, defaultdict
from collections.abc import Container
from typing import Any, Final

import attrs

from vecna import Chain, Chord, Group, Server, Signature
from vecna.domain.errors import BrokerUnavailable, TaskCanceled, TaskFailed, VecnaError

#: The list of runs, in the Redis that nobody kills.
LINES: Final = "runs"
QUEUES: Final = ("one", "two")
#: How often each is sent in ten rounds.
KINDS: Final = ("single", "single", "chain", "chord", "nested", "flaky", "broken", "delayed", "canceled", "coroutine")


@attrs.define
class Sent:
    """One piece of work.

    Attributes:
        number: of the first of its tasks; the others follow.
        kind: one of `KINDS`.
        tasks: how many there are in it.
        what: the signature or workflow.
        result: what it comes to; None if it fails or is cancelled.
        never: numbers that must not run, at the offset.
        handle: once it was accepted.
        canceled: what a cancel has answered: `True` if it will never start.
    """

    number: int
    kind: str
    tasks: int
    what: Any
    result: object
    never: tuple[int, ...] = ()
    handle: Any = None
    canceled: bool = False
    outcome: object = None

    def send(self, server: Server) -> None:
        """Send it; the same again changes nothing."""
        match self.what:
            case Chord():
                self.handle = server.send_chord(self.what)
            case Chain():
                self.handle = server.send_chain(self.what)
            case _:
                self.handle = server.send_task(self.what)
        if self.kind == "canceled":
            answer = server.cancel(self.what.uuid)
            self.canceled = self.what.uuid in answer.canceled

    def wait(self, patience: float, tries: int = 20) -> None:
        """Wait for its end, and keep what it came to: a result, or an error."""
        for _ in range(tries):
            try:
                self.outcome = self.handle.get(timeout=patience)
            except BrokerUnavailable:
                continue
            except VecnaError as exc:
                self.outcome = exc
            return

    @property
    def numbers(self) -> range:
        """Of its tasks."""
        return range(self.number, self.number + self.tasks)


def make(kind: str, number: int) -> Sent:
    """A piece of work of a kind, whose tasks are numbered from `number`."""

    def at(offset: int, name: str = "step", queue: int = 0, **more: Any) -> Signature:
        return Signature(name, [number + offset], queue=QUEUES[(number + queue) % 2], **more)

    match kind:
        case "single":
            return Sent(number, kind, 1, at(0), 1)
        case "coroutine":
            return Sent(number, kind, 1, at(0, "astep"), 1)
        case "delayed":
            return Sent(number, kind, 1, at(0, delay=1.5), 1)
        case "flaky":
            return Sent(number, kind, 1, at(0, "flaky"), 1)
        case "canceled":
            return Sent(number, kind, 1, at(0, delay=3), None)
        case "chain":
            return Sent(number, kind, 3, Chain(at(0), at(1, queue=1), at(2)), 1)
        case "chord":
            members = [at(offset, queue=offset) for offset in range(5)]
            return Sent(number, kind, 6, Chord(Group(members), at(5, "total")), 5)
        case "nested":
            inner = Chain(at(1), at(2, queue=1))
            return Sent(number, kind, 5, Chain(at(0), Group(inner, at(3, queue=1)), at(4, "total")), 2)
        case "broken":
            members = [at(0), at(1, "boom", queue=1)]
            return Sent(number, kind, 3, Chord(Group(members), at(2, "total")), None, never=(2,))
    raise ValueError(kind)


@attrs.define
class Sums:
    """What the checker has found."""

    sent: int = 0
    tasks: int = 0
    runs: int = 0
    again: int = 0
    faults: list[str] = attrs.field(factory=list)


def check(work: list[Sent], lines: list[str], disturbed: Container[int]) -> Sums:
    """Compare what was sent with what has run, and with the results.

    Args:
        work: all that was accepted, each with its outcome.
        lines: of the log of runs.
        disturbed: processes that were killed or paused.
    """
    sums = Sums(len(work), runs=len(lines))
    runs: Counter[int] = Counter()
    once: dict[tuple[str, ...], list[int]] = defaultdict(list)  # by number, id, attempt and delivery: processes
    for line in lines:
        number, *rest, process = line.split()
        runs[int(number)] += 1
        once[number, *rest].append(int(process))
    for each in work:
        sums.tasks += each.tasks
        sums.faults += _faults(each, runs)
    known = {number for each in work for number in each.numbers}
    sums.faults += [f"{number} ran and was never accepted" for number in runs.keys() - known]
    # The same delivery twice: two workers held it at a time, or it was enqueued twice. A worker that died at the time
    # of an outage is no such: its end is not counted.
    for key, processes in once.items():
        if sum(process not in disturbed for process in processes) > 1:
            sums.faults.append(f"{' '.join(key)} ran {len(processes)} times as one delivery")
    sums.again = sum(len(processes) - (key[-1] == "1") for key, processes in once.items())
    return sums


def _faults(each: Sent, runs: Counter[int]) -> list[str]:
    what = f"{each.kind} {each.number}"
    if each.kind == "canceled":
        if each.canceled:
            return [f"{what} ran after it was canceled"] if runs[each.number] else []
        as_it_should = each.outcome == 1 or isinstance(each.outcome, TaskCanceled)
        return [] if as_it_should else [f"{what}: {each.outcome!r}"[:300]]
    if each.result is None:
        as_it_should = isinstance(each.outcome, TaskFailed) and "boom" in str(each.outcome)
    else:
        as_it_should = each.outcome == each.result
    found = [] if as_it_should else [f"{what}: {each.outcome!r} instead of {each.result!r}"[:300]]
    ran_wrongly = [number for number in each.numbers if (number - each.number in each.never) == bool(runs[number])]
    return found + [f"{what}: its task {number} ran {runs[number]} times" for number in ran_wrongly]
