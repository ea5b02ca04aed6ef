"""Running workflows: what their tasks report to, and what comes next."""

from __future__ import annotations

import datetime as dt
import enum
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence

import attrs

from vecna.domain.plan import Node, Plan, Step


class NodeStatus(enum.StrEnum):
    """Whether a group or chain still runs. COMPLETE and FAILED are final."""

    OPEN = "open"
    COMPLETE = "complete"
    FAILED = "failed"


@attrs.frozen
class Report:
    """One member of a group, or one step of a chain, has ended.

    Attributes:
        node: the group or chain.
        index: which member or step.
        succeeded: whether it ended as SUCCESS.
        canceled: if not: whether it was cancelled or expired, rather than failed.
        reason: if not: why, naming the task.
    """

    node: str
    index: int
    succeeded: bool
    canceled: bool = False
    reason: str = ""


class Following(enum.StrEnum):
    """What a report led to.

    NOTHING: others are still missing. ADVANCE: the chain goes on to the next step. COMPLETE: this report completed
    the node. FAIL: this report was the first failure. CLOSED: the node is unknown, or an earlier report of another
    member or step has ended it.
    """

    NOTHING = "nothing"
    ADVANCE = "advance"
    COMPLETE = "complete"
    FAIL = "fail"
    CLOSED = "closed"


@attrs.frozen
class Reported:
    """The answer to a report: what follows, and the node it was about (None if unknown)."""

    following: Following
    node: Node | None


@attrs.frozen
class NodeState:
    """What is known of a group or chain.

    Attributes:
        node: what it is.
        status: whether it still runs.
        done: members that have succeeded; steps of a chain that have.
        committed: whether the workflow was sent as a whole.
        canceled: FAILED: whether the member that ended it was cancelled, rather than failed.
        reason: FAILED: why.
        created_at: when it was stored.
        ended_by: the member or step whose report has ended it, where the store tells; None if none has.
    """

    node: Node
    status: NodeStatus
    done: int
    committed: bool
    created_at: dt.datetime
    canceled: bool = False
    reason: str = ""
    ended_by: int | None = attrs.field(default=None, eq=False)

    def to_json(self) -> str:
        """As text."""
        fields = {**attrs.asdict(self), "created_at": self.created_at.isoformat()}
        return json.dumps(fields)  # in ASCII: a reason may be any text

    @staticmethod
    def from_json(state: str) -> NodeState:
        """What `to_json` wrote."""
        fields = json.loads(state)
        fields["node"], fields["status"] = Node(**fields["node"]), NodeStatus(fields["status"])
        return NodeState(**{**fields, "created_at": dt.datetime.fromisoformat(fields["created_at"])})


class Plans(ABC):
    """Plans of running workflows, by the id of their root. Atomic per node; every call may be repeated."""

    @abstractmethod
    def store_plan(self, plan: Plan) -> None:
        """Store a plan, not yet committed. What is stored already under the same ids stays as it is.

        Not one step: a crash may leave a part, which a repeated call completes. Nothing of it expires before
        `release_plan`.
        """

    @abstractmethod
    def commit_plan(self, root: str) -> bool:
        """Note, by one write, that all of the workflow's first tasks are with the broker.

        Returns:
            Whether it is committed now; False if the plan is unknown, or its root has failed (cancelled).
        """

    @abstractmethod
    def uncommitted(self, age: dt.timedelta, limit: int) -> list[str]:
        """Roots of plans stored at least `age` ago, neither committed nor released, oldest first: their sender died."""

    @abstractmethod
    def get_nodes(self, uuids: Sequence[str]) -> list[NodeState | None]:
        """What is known of each group or chain, in order; None for unknown or expired ones."""

    @abstractmethod
    def report(self, reports: Sequence[Report]) -> list[Reported]:
        """Take note that members or steps have ended; one atomic step each, in order.

        A group counts each member once, however often it reports, in O(1). Exactly one report completes it (the last
        member that succeeds) or fails it (the first that does not); the store keeps which, and every repeated report
        of that member gets the same answer again. A chain answers a step that has succeeded with ADVANCE, or COMPLETE
        after the last, each time it is asked, unless it has failed; a step that has not fails it, once, likewise. A
        node that has ended never changes again. Whoever awaits the node's id is told of its end.
        """

    @abstractmethod
    def get_step(self, node: str, index: int) -> Step | None:
        """A step of a chain, of those after the first; None if unknown."""

    @abstractmethod
    def get_tasks(self, node: str, *, every: bool, offset: int, limit: int) -> list[str]:
        """A page of task ids: of a group, those whose results it gives, in order; with `every`, all of a root's."""

    @abstractmethod
    def release_plan(self, root: str, keep: dt.timedelta) -> None:
        """Drop the plan with all its nodes `keep` from now, by the store's clock; 0 or less: at once."""
