"""Plans of running workflows on a store of documents."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import attrs

from vecna.domain.plan import Plan, Step
from vecna.kit.documents import LAST, Documents, DocumentStore
from vecna.kit.polling import tell
from vecna.kit.rules import after, microseconds, reported
from vecna.ports.clock import Clock
from vecna.ports.plans import Following, NodeState, NodeStatus, Plans, Report, Reported

#: Task ids in one document.
_PAGE: Final = 500


class DocumentPlans(Plans):
    """The part of `DocumentBackend` that keeps plans.

    A space never stands in an id: keys of what belongs to a node begin with its id and one.
    """

    _store: DocumentStore
    _clock: Clock

    def store_plan(self, plan: Plan) -> None:
        """See `vecna.ports.Plans`."""
        now = self._clock.now()
        with self._store.step() as documents:
            _expire(documents, microseconds(now))
            known = documents.get("plan", plan.root)
            if known is not None and known.at is not None:
                return  # it is over: a sender that comes so late adds nothing
            if known is None:
                uuids = " ".join([node.uuid for node in plan.nodes])
                documents.put("plan", plan.root, uuids.encode())
                documents.put("uncommitted", plan.root, at=microseconds(now))
            for node in plan.nodes:
                state = NodeState(node, NodeStatus.OPEN, 0, False, now)
                _put_new(documents, "node", node.uuid, state.to_json().encode())
            for step in plan.steps:
                _put_new(documents, "step", f"{step.node} {step.index}", step.to_json())
            for group, results in plan.results:
                _put_list(documents, "results", group, results)
            every = [*[signature.uuid for signature in plan.first], *[uuid for uuid, _ in plan.later]]
            _put_list(documents, "every", plan.root, every)

    def commit_plan(self, root: str) -> bool:
        """See `vecna.ports.Plans`."""
        with self._store.step() as documents:
            state = self._node(documents, root)
            if state is None or (state.status is NodeStatus.FAILED and not state.committed):
                return False
            documents.put("node", root, attrs.evolve(state, committed=True).to_json().encode())
            documents.drop("uncommitted", root)
            return True

    def uncommitted(self, age: dt.timedelta, limit: int) -> list[str]:
        """See `vecna.ports.Plans`."""
        upto = microseconds(self._clock.now() - age)
        with self._store.step(reading=True) as documents:
            return [found.key for found in documents.scan("uncommitted", -LAST, upto, max(0, limit))]

    def get_nodes(self, uuids: Sequence[str]) -> list[NodeState | None]:
        """See `vecna.ports.Plans`."""
        with self._store.step(reading=True) as documents:
            return [self._node(documents, uuid) for uuid in uuids]

    def report(self, reports: Sequence[Report]) -> list[Reported]:
        """See `vecna.ports.Plans`."""
        with self._store.step() as documents:
            return [self._report(documents, report) for report in reports]

    def _report(self, documents: Documents, report: Report) -> Reported:
        state, member = self._node(documents, report.node), f"{report.node} {report.index}"
        if state is None:
            return Reported(Following.CLOSED, None)
        following, now = reported(state, report, counted=documents.get("counted", member) is not None)
        if now is not state:
            documents.put("node", report.node, now.to_json().encode())
        if now.done > state.done and not now.node.is_chain:
            documents.put("counted", member)
        if now.status is not state.status:
            tell(documents, report.node)
        return Reported(following, state.node)

    def get_step(self, node: str, index: int) -> Step | None:
        """See `vecna.ports.Plans`."""
        with self._store.step(reading=True) as documents:
            step = documents.get("step", f"{node} {index}")
            return None if step is None or self._node(documents, node) is None else Step.from_json(step.value)

    def get_tasks(self, node: str, *, every: bool, offset: int, limit: int) -> list[str]:
        """See `vecna.ports.Plans`."""
        found: list[str] = []
        first = max(0, offset) // _PAGE
        with self._store.step(reading=True) as documents:
            if self._node(documents, node) is None:
                return []
            for page in range(first, (max(0, offset) + max(0, limit)) // _PAGE + 1):
                uuids = documents.get("every" if every else "results", f"{node} {page}")
                if uuids is None:
                    break
                found += uuids.value.decode().split(" ")
        skipped = max(0, offset) - first * _PAGE
        return found[skipped : skipped + max(0, limit)]

    def release_plan(self, root: str, keep: dt.timedelta) -> None:
        """See `vecna.ports.Plans`."""
        now = self._clock.now()
        with self._store.step() as documents:
            plan = documents.get("plan", root)
            if plan is not None and plan.at is None:
                documents.put("plan", root, plan.value, microseconds(after(now, keep)))
                documents.drop("uncommitted", root)  # who has given it up need not find it again
            _expire(documents, microseconds(now))

    def _node(self, documents: Documents, uuid: str) -> NodeState | None:
        found = documents.get("node", uuid)
        if found is None:
            return None
        state = NodeState.from_json(found.value.decode())
        plan = documents.get("plan", state.node.root)
        is_over = plan is None or (plan.at is not None and plan.at <= microseconds(self._clock.now()))
        return None if is_over else state


def _put_new(documents: Documents, kind: str, key: str, value: bytes) -> None:
    """Store it unless something is there: a sender that repeats itself changes nothing."""
    if documents.get(kind, key) is None:
        documents.put(kind, key, value)


def _put_list(documents: Documents, kind: str, node: str, uuids: Sequence[str]) -> None:
    for start in range(0, len(uuids), _PAGE):
        _put_new(documents, kind, f"{node} {start // _PAGE}", " ".join(uuids[start : start + _PAGE]).encode())


def _expire(documents: Documents, now: int) -> None:
    """Drop the plans that have had their time."""
    for plan in documents.scan("plan", -LAST, now, LAST):
        for node in plan.value.decode().split(" "):
            for kind in ("step", "counted", "results", "every"):
                for document in documents.under(kind, f"{node} "):
                    documents.drop(kind, document.key)
            documents.drop("node", node)
        documents.drop("plan", plan.key)
