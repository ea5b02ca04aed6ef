"""Workflows of all shapes, what they should come to by a plain recursive evaluation, and workers that are stepped.

Nothing here knows of plans, nodes or reports: the evaluation follows what the public pages promise.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import note
from hypothesis import strategies as st

from tests.unit.app.schedules.rig import Died, Fate, Hand
from vecna.app.config import Config
from vecna.app.context import TaskContext
from vecna.app.sweeping import sweep_records, sweep_senders
from vecna.bootstrap import Server
from vecna.domain.errors import TaskCanceled, TaskFailed
from vecna.domain.plan import plan
from vecna.domain.signature import Signature
from vecna.domain.state import State, TaskState
from vecna.domain.workflow import Chain, Chord, Group, Link
from vecna.ports.values import Adapters

QUEUES = ("q1", "q2")
SECOND = dt.timedelta(seconds=1)
HOUR = dt.timedelta(hours=1)

# -- tasks -------------------------------------------------------------------------------------------------------------


def fold(values: Sequence[Any]) -> int:
    """One number that says which values there were, and in which order."""
    found = 7
    for value in values:
        found = (found * 31 + hash(value) % 1_000_003) % 1_000_003 if isinstance(value, int) else found * 5 + 1
    return found


class Tasks:
    """What workflows are made of here. Each notes its runs.

    `one` returns a number, `two` a tuple of two, `none` nothing, `flaky` a number at its second attempt, `bad` raises;
    `note` stands for callbacks.
    """

    def __init__(self, server: Server) -> None:
        self.runs: list[tuple[str, tuple[Any, ...]]] = []
        for name in ("one", "two", "flaky", "bad"):
            server.register_task(name, self._task(name))

        def none(ctx: TaskContext, *args: object) -> None:
            self.runs.append((ctx.signature.uuid, args))

        server.register_task("none", none)
        server.register_task("note", none)

    def _task(self, name: str) -> Callable[..., Any]:
        def task(ctx: TaskContext, *args: Any) -> Any:
            if name == "flaky" and ctx.attempt == 1:
                raise RuntimeError("not yet")
            self.runs.append((ctx.signature.uuid, args))
            if name == "bad":
                raise RuntimeError(f"boom {ctx.signature.uuid}")
            return (fold(args), -fold(args)) if name == "two" else fold(args)

        task.__qualname__ = task.__name__ = name
        return task

    def of(self, uuid: str) -> list[tuple[Any, ...]]:
        """Arguments of the runs of a task."""
        return [args for ran, args in self.runs if ran == uuid]


# -- shapes ------------------------------------------------------------------------------------------------------------

_constants = st.integers(0, 99)


@st.composite
def _callbacks(draw: Any, depth: int = 1) -> Signature[Any]:
    return Signature(
        "note",
        [draw(_constants)],
        queue=draw(st.sampled_from(QUEUES)),
        on_success=draw(st.lists(_callbacks(depth - 1), max_size=1)) if depth else (),
        on_error=draw(st.lists(_callbacks(depth - 1), max_size=1)) if depth else (),
    )


@st.composite
def leaves(draw: Any) -> Signature[Any]:
    """A call, mostly one that succeeds."""
    name = draw(st.sampled_from(["one", "one", "one", "two", "none", "flaky", "bad"]))
    return Signature(
        name,
        [draw(_constants)],
        queue=draw(st.sampled_from(QUEUES)),
        immutable=draw(st.sampled_from([False, False, True])),
        retry_count=1 if name == "flaky" else 0,
        on_success=draw(st.lists(_callbacks(), max_size=1)),
        on_error=draw(st.lists(_callbacks(), max_size=1)),
        keep_result=draw(st.integers(0, 9)) > 0,
        **({"delay": draw(st.sampled_from([1, 5]))} if draw(st.integers(0, 5)) == 0 else {}),
    )


def _nest(inner: st.SearchStrategy[Link]) -> st.SearchStrategy[Link]:
    groups = st.lists(inner, min_size=1, max_size=3).map(Group)
    return st.one_of(
        groups,
        st.lists(inner, min_size=1, max_size=3).map(Chain),
        st.builds(Chord, groups, inner),
    )


class Drawn:
    """A workflow, shown in one line."""

    def __init__(self, link: Any) -> None:
        self.link = link

    def __repr__(self) -> str:
        return shape(self.link)


workflows = _nest(st.recursive(leaves(), _nest, max_leaves=8)).map(Drawn)


def calls(link: Link) -> list[Signature[Any]]:
    """All tasks of a workflow, callbacks included."""
    found: list[Signature[Any]] = []
    left = [link] if isinstance(link, Signature) else list(link.signatures())
    while left:
        found.append(left.pop())
        left += [*found[-1].on_success, *found[-1].on_error]
    return found


# -- what should come of them ------------------------------------------------------------------------------------------


@attrs.frozen
class Gives:
    """A part has succeeded: its results, whether they are those of a group, and whether they go to no next link."""

    values: tuple[Any, ...] = ()
    of_group: bool = False
    immutable: bool = False


@attrs.frozen
class Wrong:
    """A part has not: which tasks may have been the first to end it, and how these ended."""

    causes: frozenset[tuple[State, str]]


class Evaluation:
    """What a workflow should have come to.

    Args:
        canceled: ids that were cancelled before anything ran.
        actual: how a task has ended, asked only where several ends would be right.
        error: the recorded error of a task.
    """

    def __init__(self, canceled: set[str], actual: Callable[[str], State], error: Callable[[str], str]) -> None:
        self._canceled = canceled
        self._actual = actual
        self._error = error
        self.states: dict[str, State] = {}
        self.args: dict[str, tuple[Any, ...]] = {}  # of what ran
        self.values: dict[str, Any] = {}

    def link(self, link: Link, passed: Gives | None = None) -> Gives | Wrong:
        """Evaluate a part that is reached."""
        passed = passed or Gives()
        if isinstance(link, Signature):
            return self._leaf(link, passed)
        if isinstance(link, Group):
            outcomes = [self.link(member, passed) for member in link.tasks]
            causes = [cause for outcome in outcomes if isinstance(outcome, Wrong) for cause in outcome.causes]
            if causes:
                return Wrong(frozenset(causes))
            return Gives(tuple([value for each in outcomes if isinstance(each, Gives) for value in each.values]), True)
        outcome: Gives | Wrong = passed
        for number, each in enumerate(link.tasks):
            assert isinstance(outcome, Gives)
            outcome = self.link(each, outcome)
            if isinstance(outcome, Wrong):
                for later, never in enumerate(link.tasks[number + 1 :]):
                    self._never(never, outcome if later == 0 and _gives_group(each) else None)
                break
            if outcome.immutable and number + 1 < len(link.tasks):
                outcome = Gives()
        return outcome

    def _leaf(self, call: Signature[Any], passed: Gives) -> Gives | Wrong:
        uuid = call.uuid
        if uuid in self._canceled:
            self._end(call, State.CANCELED)
            return Wrong(frozenset([(State.CANCELED, uuid)]))
        values = () if passed.of_group and call.immutable else passed.values
        args = self.args[uuid] = (call.args[0].value, *values)
        if call.name == "bad":
            self._end(call, State.FAILURE)
            return Wrong(frozenset([(State.FAILURE, uuid)]))
        results = {"two": (fold(args), -fold(args)), "none": (), "note": ()}.get(call.name, (fold(args),))
        self.values[uuid] = results if call.name == "two" else results[0] if results else None
        self._end(call, State.SUCCESS, results)
        return Gives(results, immutable=call.immutable)

    def _never(self, link: Link, shared: Wrong | None) -> None:
        """A part whose turn never comes; a chord callback shares the end of a member."""
        states = {state for state, _ in shared.causes} if shared else {State.CANCELED}
        for call in [link] if isinstance(link, Signature) else link.signatures():
            if call.uuid in self._canceled:
                self._end(call, State.CANCELED)
            elif len(states) == 1:
                self._end(call, next(iter(states)))
            else:
                state = self._actual(call.uuid)
                assert state in states
                self._end(call, state)

    def _end(self, call: Signature[Any], state: State, results: tuple[Any, ...] = ()) -> None:
        """A task has ended: what comes of its callbacks."""
        self.states[call.uuid] = state
        caused = {State.SUCCESS: call.on_success, State.FAILURE: call.on_error}.get(state, ())
        for callback in (*call.on_success, *call.on_error):
            if callback not in caused or callback.uuid in self._canceled:
                self._end(callback, State.CANCELED)
                continue
            own = callback.args[0].value
            if state is State.SUCCESS:
                self.args[callback.uuid] = (own, *(() if call.immutable else results))
            else:
                self.args[callback.uuid] = (self._error(call.uuid), own)
            self._end(callback, State.SUCCESS)


def _gives_group(link: Link) -> bool:
    if isinstance(link, Signature):
        return False
    return isinstance(link, Group) or _gives_group(link.tasks[-1])


def value_of(link: Link, values: dict[str, Any]) -> Any:
    """What the handle's `get` should return."""
    if isinstance(link, Signature):
        return values[link.uuid]
    if isinstance(link, Group):
        return [value_of(member, values) for member in link.tasks]
    return value_of(link.tasks[-1], values)


# -- workers -----------------------------------------------------------------------------------------------------------


class Workers:
    """Two workers in this thread, which take what there is in an order of chance.

    Args:
        server: their server, with a virtual clock.
        chance: what is done next.
        deaths: at which of its port's calls a worker dies, one after the other; heirs take over.
    """

    def __init__(self, server: Server, chance: Random, deaths: Sequence[int] = ()) -> None:
        self._server = server
        self._clock: Any = server.clock
        self._chance = chance
        self._deaths = list(deaths)
        self._hands = [self._hand(), self._hand()]
        self._keeper = Hand(server, name="keeper")
        self.died = 0

    def _hand(self) -> Hand:
        fate = Fate(self._deaths.pop(0)) if self._deaths else None
        return Hand(self._server, fate, f"w{self._chance.random()}")

    def run(self) -> None:
        """Until nothing is left that could run, however far in the future."""
        while True:
            while self.once():
                pass
            if not self._wait():
                return

    def once(self) -> int:
        """One batch of each queue at most; how many deliveries there were."""
        done = 0
        queues = self._server.broker.queues()
        self._chance.shuffle(queues)
        for queue in queues:
            at = self._chance.randrange(2)
            try:
                done += self._hands[at].once(queue, self._chance.choice([1, 2, 5]))
                if self._chance.random() < 0.1:
                    sweep_records(self._hands[at].wiring)
                    sweep_senders(self._hands[at].wiring, queues)
            except Died:
                self.died += 1
                self._hands[at] = self._hand()
        return done

    def _wait(self) -> bool:
        """Let the time come of what is delayed, or held by who died."""
        for queue in self._server.broker.queues():
            self._server.broker.relay(queue)  # as sweepers do
        queues = self._server.broker.queues()
        places = [attrs.astuple(attrs.evolve(self._server.broker.counts(queue), dead=0)) for queue in queues]
        lives = any(map(any, places))
        if lives:
            self._clock.advance(SECOND)
            for queue in queues:
                self._keeper.deliveries.lease(queue, 0)  # an idle queue passes for an outage
        return lives


def check_outcome(
    server: Server, tasks: Tasks, link: Any, handle: Any, canceled: set[str], *, died: int = 0
) -> Evaluation:
    """Compare what has come of a workflow with what should have."""

    def state(uuid: str) -> TaskState | None:
        return server.backend.get_state(uuid)

    def actual(uuid: str) -> State:
        found = state(uuid)
        assert found is not None, f"{uuid} is not known"
        return found.state

    def error(uuid: str) -> str:
        found = state(uuid)
        return f"RuntimeError: boom {uuid}" if found is None else found.error  # what was dropped has run

    evaluation = Evaluation(canceled, actual, error)
    outcome = evaluation.link(link)
    dropped = {call.uuid for call in calls(link) if not call.keep_result}
    for call in calls(link):
        found = state(call.uuid)
        if found is None:
            assert call.uuid in dropped, f"{call} left nothing"
        else:
            assert found.state is evaluation.states[call.uuid], f"{call}: {found}"
        runs, expected = tasks.of(call.uuid), evaluation.args.get(call.uuid)
        assert set(runs) <= {expected}, f"{call} ran with {runs}, not with {expected}"
        assert (1 if expected else 0) <= len(runs) <= (1 + died if expected else 0), f"{call} ran {len(runs)} times"
    _check_handle(handle, link, outcome, evaluation, dropped)
    return evaluation


def _check_handle(handle: Any, link: Any, outcome: Gives | Wrong, evaluation: Evaluation, dropped: set[str]) -> None:
    if dropped:
        return  # nothing promises how long these are known
    if isinstance(outcome, Gives):
        assert handle.get() == value_of(link, evaluation.values)
        return
    with pytest.raises((TaskFailed, TaskCanceled)) as caught:
        handle.get()
    said = f"{caught.value} {getattr(caught.value, 'task_uuid', '')}"
    assert any(uuid in said for _, uuid in outcome.causes), said


def run(adapters: Adapters, link: Any, seed: int, cancels: Sequence[int] = (), deaths: Sequence[int] = ()) -> Server:
    """Send a workflow, cancel some of it, run all there is, and compare; until nothing of it is left.

    Args:
        adapters: of any kind, with a virtual clock.
        link: what is sent.
        seed: of the order in which things are done.
        cancels: which of its tasks are cancelled first.
        deaths: see `Workers`.
    """
    note(shape(link))
    clock: Any = adapters.clock
    ports: dict[str, Any] = {"broker": adapters.broker, "backend": adapters.backend, "lock": adapters.lock}
    with Server(Config(broker="memory://", lease=5), **ports, clock=clock) as server:
        tasks = Tasks(server)
        handle = getattr(server, f"send_{type(link).__name__.lower()}")(link)
        every = sorted(call.uuid for call in calls(link))
        canceled = {every[number % len(every)] for number in cancels}
        for uuid in sorted(canceled):
            assert server.cancel_delayed_task(uuid).canceled == (uuid,)
        workers = Workers(server, Random(seed), deaths)
        workers.run()
        check_outcome(server, tasks, link, handle, canceled, died=workers.died)
        for _ in range(3):
            clock.advance(HOUR)
            sweep_records(server)
        clock.advance(HOUR)
        assert server.backend.get_states(every) == [None] * len(every)
        assert server.backend.get_nodes([node.uuid for node in plan(link).nodes]) == [None] * len(plan(link).nodes)
        assert server.backend.unreleased(dt.timedelta(0), 10) == []
        assert server.backend.uncommitted(dt.timedelta(0), 10) == []
        return server


def shape(link: Link) -> str:
    """A workflow in one line."""
    if isinstance(link, Signature):
        marks = "".join(
            mark for mark, on in (("i", link.immutable), ("d", link.delay), ("x", not link.keep_result)) if on
        )
        marks += "s" * len(link.on_success) + "e" * len(link.on_error)
        return f"{link.name}-{link.uuid[:4]}{'.' if marks else ''}{marks}"
    inner = ", ".join(map(shape, link.tasks))
    return f"{type(link).__name__}({inner})"
