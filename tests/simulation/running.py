"""Playing many histories, and saying what went wrong in one that did."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from tests.simulation.stage import memory
from tests.simulation.witness import Violation
from tests.simulation.world import World
from vecna import log

#: Histories after which the garbage of worlds, which point to their processes and back, is collected.
_GARBAGE = 500


class _Silence:
    """A logger that says nothing: in a history it rains warnings."""

    def debug(self, message: str, **_: object) -> None:
        """Not here."""

    info = warning = error = critical = debug


@contextmanager
def quiet() -> Iterator[None]:
    """No log lines, and no collection of garbage in the middle of a history."""
    log.set(_Silence())
    gc.disable()
    gc.freeze()  # what was there before is none of a history's garbage
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()
        log.set(None)


@attrs.frozen
class Failed:
    """A history in which a law was broken."""

    seed: int
    kind: str
    law: str
    said: str

    def __str__(self) -> str:
        return (
            f"seed {self.seed}, world {self.kind}: {self.law}: {self.said}\n"
            f"replay: python -m tests.simulation --world {self.kind} --replay {self.seed}"
        )


@attrs.define
class Tally:
    """What many histories came to."""

    counts: Counter[str] = attrs.field(factory=Counter)
    failed: list[Failed] = attrs.field(factory=list)

    def add(self, world: World) -> None:
        """Count a history that was played."""
        witness, counts = world.witness, self.counts
        counts["histories"] += 1
        counts["kills"] += witness.kills
        counts["lost replies"] += witness.lost_replies
        counts["leases that ran out"] += witness.lapsed
        counts["runs"] += sum(map(len, witness.runs.values()))
        counts["ends"] += len(witness.ends)

    def merge(self, other: Tally) -> None:
        """Add what another process has counted."""
        self.counts.update(other.counts)
        self.failed += other.failed

    def __str__(self) -> str:
        what = ("histories", "kills", "lost replies", "leases that ran out", "runs", "ends")
        laws = Counter(each.law.split()[0] for each in self.failed)
        lost = laws["1"] + laws["3"] + laws["4"] + laws["9"]
        doubled = laws["2"] + laws["8"]
        counts = ", ".join([f"{self.counts[each]:,} {each}" for each in what])
        return f"{counts}; lost {lost}, doubled {doubled}, other violations {len(self.failed) - lost - doubled}"


def play(seeds: Iterable[int], kind: str = "mix", stores: Callable[..., Any] = memory, most_failed: int = 1) -> Tally:
    """Play histories until so many have failed."""
    tally = Tally()
    for number, seed in enumerate(seeds):
        world = World(seed, kind, stores)
        try:
            world.play()
        except Violation as violation:
            tally.failed.append(Failed(seed, kind, violation.law, violation.said))
        world.end()
        tally.add(world)
        if len(tally.failed) >= most_failed:
            break
        if number % _GARBAGE == _GARBAGE - 1:
            gc.collect()
    return tally


def first_violation(seeds: Iterable[int], kind: str) -> Failed | None:
    """The first history that breaks a law."""
    return next(iter(play(seeds, kind).failed), None)


def replayed(
    seed: int,
    kind: str,
    skipped: frozenset[int] = frozenset(),
    calmed: frozenset[int] = frozenset(),
    stores: Any = memory,
) -> tuple[World, Violation | None]:
    """Play one history again."""
    world = World(seed, kind, stores, skipped, calmed)
    try:
        world.play()
    except Violation as violation:
        return world, violation
    return world, None


def shrunk(seed: int, kind: str) -> tuple[frozenset[int], frozenset[int]]:
    """Steps that can be left out, and steps whose calls need not be disturbed, for the same law to be broken."""
    _, first = replayed(seed, kind)
    if first is None:
        raise ValueError(f"no law is broken in history {seed} of world {kind}")
    out: list[set[int]] = [set(), set()]
    for what in (0, 1):
        size = 16
        while size:
            for start in range(0, 48, size):
                more = [set(each) for each in out]
                more[what] |= set(range(start, start + size))
                _, violation = replayed(seed, kind, frozenset(more[0]), frozenset(more[1]))
                if violation is not None and violation.law == first.law:
                    out = more
            size //= 2
    return frozenset(out[0]), frozenset(out[1])


def told(world: World) -> str:
    """The history, line by line."""
    lines = [f"{moment:%M:%S.%f}"[:9] + "  " + " ".join(map(str, what)) for moment, *what in world.witness.log]
    sent = ", ".join([plan.shape.name for plan in world.plans])
    tasks = ", ".join([f"{uuid} {each}" for uuid, each in world.behaviours.items() if each != "good"])
    head = (
        f"world {world.kind}; crash limit {world.settings[0]}; sent: {sent or 'nothing'}; tasks: {tasks or 'all good'}"
    )
    return "\n".join([head, *lines])
