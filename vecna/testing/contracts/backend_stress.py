"""A backend under histories of many clients."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import attrs
import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.plan import plan
from vecna.domain.state import State, TaskState
from vecna.kit import rules
from vecna.ports.backend import Backend
from vecna.ports.plans import Following, NodeState, NodeStatus, Report, Reported
from vecna.testing.contracts.driven_plans import nested
from vecna.testing.contracts.states import BackendCase
from vecna.testing.contracts.stressing import History
from vecna.testing.contracts.values import SECOND

T = TypeVar("T")
_UUIDS: Final = ("t0", "t1", "t2")
_PREFIXES: Final = ("x", "y")


class _Run:
    """One history, and what the rules say that stands after each of its calls."""

    def __init__(self, backends: Sequence[Backend], history: History) -> None:
        self.backends, self.history = backends, history
        self.draw, self.clock = history.draw, history.clock
        self.states: dict[str, TaskState] = {}
        self.ends: dict[str, dt.datetime | None] = {}  # until when an end is kept
        self.plans = {each.root: each for each in (plan(nested(prefix)) for prefix in _PREFIXES)}
        self.nodes: dict[str, NodeState] = {}
        self.counted: set[tuple[str, int]] = set()
        self.over: dict[str, dt.datetime] = {}  # roots that were released: until when they are kept

    def both(self, what: str, act: Callable[[Backend], T], expected: Callable[[], T]) -> None:
        """Call the backend, and again if the reply is lost; each answer is what the rules say."""
        backend = self.draw.choice(self.backends)

        def compared() -> T:
            self.expire()
            answer, right = act(backend), expected()
            assert answer == right, f"{what}: {answer}; the rules say {right}"
            return answer

        self.history.call(what, compared)

    def expire(self) -> None:
        now = self.clock.now()
        for uuid in [uuid for uuid, until in self.ends.items() if until is not None and until <= now]:
            del self.states[uuid], self.ends[uuid]
        for root in [root for root, until in self.over.items() if until <= now]:
            del self.over[root]
            for node in self.plans[root].nodes:
                self.nodes.pop(node.uuid, None)
                self.counted = {each for each in self.counted if each[0] != node.uuid}

    # -- what clients do -----------------------------------------------------------------------------------------------

    def put(self) -> None:
        states = [
            TaskState(
                task_uuid=self.draw.choice(_UUIDS),
                state=self.draw.choices(list(State), (1, 3, 3, 2, 0.3, 0.3, 0.3))[0],
                token=f"{self.draw.randint(1, 4)}:w:1",
                worker=self.draw.choice(["w1", "w2"]),
            )
            for _ in range(self.draw.randint(1, 3))
        ]

        def expected() -> list[TaskState]:
            answers = []
            for state in states:
                recorded = self.states.get(state.task_uuid)
                if recorded is None or recorded.gives_way_to(state):
                    recorded = self.states[state.task_uuid] = state
                    if state.is_completed:
                        self.ends[state.task_uuid] = None
                answers.append(recorded)
            return answers

        shown = [f"{each.task_uuid} {each.state}" for each in states]
        self.both(f"put {shown}", lambda backend: backend.put_states(states), expected)

    def release(self) -> None:
        uuid, keep = self.draw.choice(_UUIDS), self.draw.choice([0, 5, 20]) * SECOND

        def expected() -> None:
            if uuid in self.ends and self.ends[uuid] is None:
                self.ends[uuid] = self.clock.now() + keep
            self.expire()

        self.both(f"release {uuid} for {keep}", lambda backend: backend.release([uuid], keep), expected)

    def forget(self) -> None:
        uuid = self.draw.choice(_UUIDS)

        def expected() -> None:
            self.states.pop(uuid, None)
            self.ends.pop(uuid, None)

        self.both(f"forget {uuid}", lambda backend: backend.forget([uuid]), expected)

    def store(self) -> None:
        whole = self.plans[self.draw.choice(list(self.plans))]

        def expected() -> None:
            if whole.root not in self.over:
                for node in whole.nodes:
                    state = NodeState(node, NodeStatus.OPEN, 0, False, self.clock.now())
                    self.nodes.setdefault(node.uuid, state)

        self.both(f"store {whole.root}", lambda backend: backend.store_plan(whole), expected)

    def commit(self) -> None:
        root = self.draw.choice(list(self.plans))

        def expected() -> bool:
            state = self.nodes.get(root)
            if state is None or (state.status is NodeStatus.FAILED and not state.committed):
                return False
            self.nodes[root] = attrs.evolve(state, committed=True)
            return True

        self.both(f"commit {root}", lambda backend: backend.commit_plan(root), expected)

    def report(self) -> None:
        nodes = [node for whole in self.plans.values() for node in whole.nodes]
        reports = []
        for node in self.history.some(nodes, 3):
            succeeded = self.draw.random() < 0.8
            index = self.draw.randrange(node.size)
            reports.append(
                Report(node.uuid, index, succeeded, not succeeded and index == 0, "" if succeeded else "why")
            )

        def expected() -> list[Reported]:
            return [self.reported(report) for report in reports]

        shown = [f"{each.node} {each.index} {each.succeeded}" for each in reports]
        self.both(f"report {shown}", lambda backend: backend.report(reports), expected)

    def reported(self, report: Report) -> Reported:
        state, member = self.nodes.get(report.node), (report.node, report.index)
        if state is None:
            return Reported(Following.CLOSED, None)
        following, now = rules.reported(state, report, counted=member in self.counted)
        if now.done > state.done:
            self.counted.add(member)
        self.nodes[report.node] = now
        return Reported(following, state.node)

    def give_up(self) -> None:
        root, keep = self.draw.choice(list(self.plans)), self.draw.choice([0, 30]) * SECOND

        def expected() -> None:
            if root in self.nodes:
                self.over.setdefault(root, self.clock.now() + keep)
            self.expire()

        self.both(f"release plan {root} for {keep}", lambda backend: backend.release_plan(root, keep), expected)

    def pass_time(self) -> None:
        step = self.draw.randint(1, 8) * SECOND
        self.history.note(f"{step} pass")
        self.clock.advance(step)

    def look(self) -> None:
        """All that is stored is what the rules say."""
        uuids = [node.uuid for whole in self.plans.values() for node in whole.nodes]

        def nodes() -> list[tuple[object, ...] | None]:
            return [_shown(self.nodes.get(uuid)) for uuid in uuids]

        self.both("look at states", lambda b: b.get_states(_UUIDS), lambda: [self.states.get(uuid) for uuid in _UUIDS])
        self.both("look at nodes", lambda b: [_shown(each) for each in b.get_nodes(uuids)], nodes)
        unreleased = {uuid for uuid, until in self.ends.items() if until is None}
        self.both("look at ends", lambda b: set(b.unreleased(0 * SECOND, 10)), lambda: unreleased)

    def go(self, steps: int) -> None:
        """Let things happen."""
        acts = (self.put, self.release, self.forget, self.store, self.commit, self.report, self.give_up, self.pass_time)
        for _ in range(steps):
            self.draw.choices(acts, (4, 1, 0.3, 1, 0.5, 6, 0.3, 1))[0]()
            if self.draw.random() < 0.3:
                self.look()
        self.look()


def _shown(state: NodeState | None) -> tuple[object, ...] | None:
    """What of a node's state can be compared: a reason counts when it has failed; times are rounded by some stores."""
    if state is None:
        return None
    return (state.node, state.status, state.done, state.committed, state.canceled, state.reason)


class BackendStressLaws(BackendCase):
    """What holds in every history of many clients, whatever they repeat.

    Attributes:
        stress_steps: how many things happen in one history.
    """

    stress_steps = 120

    @pytest.mark.parametrize("seed", range(5))
    def test_in_any_history_ends_are_final_and_members_counted_once(self, clock: ManualClock, seed: int) -> None:
        """Late writers, repeated reports, expiry and new lives of an id, in any order: as `vecna.kit.rules` say."""
        history = History(seed, clock)
        backends = [self.make(clock) for _ in range(2)]
        with history.told():
            _Run(backends, history).go(self.stress_steps)
        for backend in backends:
            backend.close()
