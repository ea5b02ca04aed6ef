"""Plans of running workflows in this process: what the port means, on dicts."""

from __future__ import annotations

import datetime as dt
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import attrs

from vecna.adapters.memory.agenda import Agenda
from vecna.domain.ids import check_id
from vecna.domain.plan import Plan, Step
from vecna.domain.signature import Signature
from vecna.kit.rules import after, check_ids, reported
from vecna.ports.clock import Clock
from vecna.ports.plans import Following, NodeState, NodeStatus, Plans, Report, Reported


@attrs.define(eq=False)
class _Kept:
    """A node as it is kept."""

    state: NodeState
    counted: set[int] = attrs.field(factory=set)  # members of a group that have succeeded

    def report(self, report: Report) -> Following:
        """Take note of a report of a member or step; what it leads to."""
        done, counted = self.state.done, report.index in self.counted
        following, self.state = reported(self.state, report, counted=counted)
        if self.state.done > done and not self.state.node.is_chain:
            self.counted.add(report.index)
        return following


@attrs.frozen
class _KeptStep:
    first: tuple[bytes, ...]
    leaves: tuple[tuple[str, str], ...]
    takes: str


class PlanStore:
    """The store behind `MemoryPlans`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.nodes: dict[str, _Kept] = {}
        self.steps: dict[tuple[str, int], _KeptStep] = {}
        self.results: dict[str, tuple[str, ...]] = {}
        self.every: dict[str, tuple[str, ...]] = {}
        self.members: dict[str, list[str]] = {}  # root -> ids of its nodes
        self.uncommitted: OrderedDict[str, dt.datetime] = OrderedDict()
        self.expiry: Agenda[str] = Agenda()

    def drop(self, root: str) -> None:
        """Drop a plan with all its nodes."""
        for uuid in self.members.pop(root, ()):
            kept = self.nodes.pop(uuid)
            self.results.pop(uuid, None)
            for index in range(kept.state.node.size if kept.state.node.is_chain else 0):
                self.steps.pop((uuid, index), None)
        self.every.pop(root, None)
        self.uncommitted.pop(root, None)
        self.expiry.discard(root)

    def expire(self, now: dt.datetime) -> None:
        """Drop what has had its time."""
        for root in self.expiry.take_due(now):
            self.drop(root)


class MemoryPlans(Plans):
    """Keeps plans in this process.

    Args:
        clock: time.
        store: shared by all that are given the same.
        tell: called, under no lock, with the ids of nodes that have ended.
    """

    def __init__(self, clock: Clock, store: PlanStore, tell: Callable[[Sequence[str]], None]) -> None:
        self._plan_clock = clock
        self._plans = store
        self._tell = tell

    def store_plan(self, plan: Plan) -> None:
        """See `vecna.ports.Plans`."""
        check_ids([node.uuid for node in plan.nodes], "group or chain id")
        plans = self._plans
        with plans.lock:
            now = self._plan_clock.now()
            plans.expire(now)
            if plan.root in plans.expiry:
                return  # it is over: a sender that comes so late adds nothing
            if plan.root not in plans.nodes:
                plans.uncommitted[plan.root] = now
            members = plans.members.setdefault(plan.root, [])
            for node in plan.nodes:
                if node.uuid not in plans.nodes:
                    plans.nodes[node.uuid] = _Kept(NodeState(node, NodeStatus.OPEN, 0, False, now))
                    members.append(node.uuid)
            for step in plan.steps:
                kept = _KeptStep(tuple([each.to_json() for each in step.first]), step.leaves, step.takes)
                plans.steps.setdefault((step.node, step.index), kept)
            for group, results in plan.results:
                plans.results.setdefault(group, results)
            every = (*[each.uuid for each in plan.first], *[uuid for uuid, _ in plan.later])
            if not plans.every.get(plan.root):
                plans.every[plan.root] = every

    def commit_plan(self, root: str) -> bool:
        """See `vecna.ports.Plans`."""
        check_id(root, "group or chain id")
        with self._plans.lock:
            self._plans.expire(self._plan_clock.now())
            kept = self._plans.nodes.get(root)
            if kept is None or (kept.state.status is NodeStatus.FAILED and not kept.state.committed):
                return False
            kept.state = attrs.evolve(kept.state, committed=True)
            self._plans.uncommitted.pop(root, None)
            return True

    def uncommitted(self, age: dt.timedelta, limit: int) -> list[str]:
        """See `vecna.ports.Plans`."""
        with self._plans.lock:
            now = self._plan_clock.now()
            self._plans.expire(now)
            found: list[str] = []
            for root, stored_at in self._plans.uncommitted.items():
                if len(found) >= limit or now - stored_at < age:
                    break
                found.append(root)
            return found

    def get_nodes(self, uuids: Sequence[str]) -> list[NodeState | None]:
        """See `vecna.ports.Plans`."""
        check_ids(uuids, "group or chain id")
        with self._plans.lock:
            self._plans.expire(self._plan_clock.now())
            found = [self._plans.nodes.get(uuid) for uuid in uuids]
            return [None if kept is None else kept.state for kept in found]

    def report(self, reports: Sequence[Report]) -> list[Reported]:
        """See `vecna.ports.Plans`."""
        check_ids([report.node for report in reports], "group or chain id")
        answers: list[Reported] = []
        ended: list[str] = []
        with self._plans.lock:
            self._plans.expire(self._plan_clock.now())
            for report in reports:
                kept = self._plans.nodes.get(report.node)
                if kept is None:
                    answers.append(Reported(Following.CLOSED, None))
                    continue
                was_open = kept.state.status is NodeStatus.OPEN
                answers.append(Reported(kept.report(report), kept.state.node))
                if was_open and kept.state.status is not NodeStatus.OPEN:
                    ended.append(report.node)
        if ended:
            self._tell(ended)
        return answers

    def get_step(self, node: str, index: int) -> Step | None:
        """See `vecna.ports.Plans`."""
        check_id(node, "group or chain id")
        with self._plans.lock:
            self._plans.expire(self._plan_clock.now())
            kept = self._plans.steps.get((node, index))
        if kept is None:
            return None
        first = tuple([Signature.from_json(body) for body in kept.first])
        return Step(node, index, first, kept.leaves, kept.takes)

    def get_tasks(self, node: str, *, every: bool, offset: int, limit: int) -> list[str]:
        """See `vecna.ports.Plans`."""
        check_id(node, "group or chain id")
        with self._plans.lock:
            self._plans.expire(self._plan_clock.now())
            uuids = (self._plans.every if every else self._plans.results).get(node, ())
        return list(uuids[offset : offset + limit])

    def release_plan(self, root: str, keep: dt.timedelta) -> None:
        """See `vecna.ports.Plans`."""
        check_id(root, "group or chain id")
        with self._plans.lock:
            now = self._plan_clock.now()
            self._plans.expire(now)
            if root not in self._plans.nodes or root in self._plans.expiry:
                return
            self._plans.uncommitted.pop(root, None)  # who has given it up need not find it again
            if keep <= dt.timedelta(0):
                self._plans.drop(root)
            else:
                self._plans.expiry.put(root, after(now, keep))
