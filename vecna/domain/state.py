"""What is known of a task: its state, and which state may follow which.

Everything that decides about states lives in this file.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from vecna.domain.arg import TaskResult
from vecna.domain.codec import decode_object, parse_instant
from vecna.domain.errors import InvalidSignature, VecnaError


class IllegalTransition(VecnaError, ValueError):
    """The state machine has no such step; nothing was changed."""


class State(enum.StrEnum):
    """State of a task. SUCCESS, FAILURE and CANCELED are final."""

    PENDING = "PENDING"
    RECEIVED = "RECEIVED"
    STARTED = "STARTED"
    RETRY = "RETRY"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    CANCELED = "CANCELED"

    @property
    def is_final(self) -> bool:
        """Whether nothing can follow."""
        return self in FINAL

    @property
    def rank(self) -> int:
        """Order of the states within one lease: a record moves to a higher rank only, or to a later lease."""
        return _RANK[self]

    def to(self, following: State) -> State:
        """`following`, if it may follow this state.

        Raises:
            IllegalTransition: it may not.
        """
        if following not in TRANSITIONS[self]:
            raise IllegalTransition(f"a task that is {self} cannot become {following}")
        return following


FINAL: Final = frozenset({State.SUCCESS, State.FAILURE, State.CANCELED})
_RANK: Final = {
    State.PENDING: 0,
    State.RECEIVED: 1,
    State.STARTED: 2,
    State.RETRY: 3,
    State.SUCCESS: 4,
    State.FAILURE: 4,
    State.CANCELED: 4,
}
#: Which state may follow which. RECEIVED after STARTED is a redelivery. Steps that an end overtakes are not written,
#: so an end may follow any state that is not final.
TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.PENDING: frozenset({State.RECEIVED, State.STARTED, State.RETRY}) | FINAL,
    State.RECEIVED: frozenset({State.RECEIVED, State.STARTED, State.RETRY}) | FINAL,
    State.STARTED: frozenset({State.RECEIVED, State.STARTED, State.RETRY}) | FINAL,
    State.RETRY: frozenset({State.RECEIVED, State.STARTED, State.RETRY}) | FINAL,
    State.SUCCESS: frozenset(),
    State.FAILURE: frozenset(),
    State.CANCELED: frozenset(),
}


def token_number(token: str) -> int:
    """The queue's counter at the head of a lease token (`12:w1:7` is 12); 0 for none. Later leases have larger ones."""
    head = token.partition(":")[0]
    return int(head) if head.isdecimal() and len(head) <= 20 else 0


@attrs.define
class _Fields:
    """The attributes of `TaskState`, not yet frozen: that is several times as fast to fill."""

    task_uuid: str
    task_name: str = ""
    state: State = State.PENDING
    results: tuple[TaskResult, ...] = ()
    several: bool = False
    error: str = ""
    error_type: str = ""
    traceback: str = ""
    dead_reason: str = ""
    created_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    attempt: int = 0
    worker: str = ""
    progress: tuple[float, float] | None = None
    token: str = ""
    node: str = ""
    parent: str = ""


@attrs.frozen(kw_only=True)
class TaskState(_Fields):
    """What the backend knows of one task.

    Attributes:
        task_uuid: the task's id.
        task_name: its registered name.
        state: see `State`.
        results: what it returned.
        several: whether it returned a plain tuple (several results), so that `get` can give back the same shape.
        error: why it failed or was cancelled, or last failed when RETRY, e.g. `RuntimeError: boom`.
        error_type: qualified name of the exception's class.
        traceback: the worker's traceback.
        dead_reason: why it became a dead letter, "" if it did not.
        created_at: when the broker accepted it.
        started_at: when its last attempt began.
        finished_at: when it ended.
        attempt: which run this is or was: 1 + repeats.
        worker: name of the worker that has or had it.
        progress: (done, total) as last reported by the task.
        token: the lease under which this was written; "" if without one.
        node: id of the group or chain that it belongs to; "" if to none.
        parent: id of the task whose callback it is, while it waits for that; "" otherwise.
    """

    @property
    def is_completed(self) -> bool:
        """SUCCESS, FAILURE or CANCELED."""
        return self.state in FINAL

    @property
    def is_success(self) -> bool:
        """SUCCESS."""
        return self.state is State.SUCCESS

    @property
    def is_failure(self) -> bool:
        """FAILURE."""
        return self.state is State.FAILURE

    @property
    def is_canceled(self) -> bool:
        """CANCELED."""
        return self.state is State.CANCELED

    @property
    def is_waiting_callback(self) -> bool:
        """PENDING for the end of its parent, and no part of a workflow, which would be looked after as a whole."""
        return self.state is State.PENDING and bool(self.parent) and not self.node

    @staticmethod
    def of_run(
        task_uuid: str,
        task_name: str,
        state: State,
        *,
        results: tuple[TaskResult, ...] = (),
        several: bool = False,
        error: str = "",
        error_type: str = "",
        traceback: str = "",
        dead_reason: str = "",
        created_at: dt.datetime | None,
        started_at: dt.datetime | None,
        finished_at: dt.datetime | None = None,
        attempt: int,
        worker: str,
        progress: tuple[float, float] | None = None,
        token: str,
        node: str = "",
    ) -> TaskState:
        """What a worker writes of a run; the same as the constructor, only faster."""
        made: Any = _Fields(
            task_uuid,
            task_name,
            state,
            results,
            several,
            error,
            error_type,
            traceback,
            dead_reason,
            created_at,
            started_at,
            finished_at,
            attempt,
            worker,
            progress,
            token,
            node,
        )
        made.__class__ = TaskState
        return made  # type: ignore[no-any-return]  # by the line before

    def value(self) -> Any:
        """What the task returned, in JSON's types: a tuple if it returned several, None for no result."""
        values = tuple([result.value for result in self.results])
        if self.several:
            return values
        return values[0] if values else None

    def advance(self, state: State, **changes: Any) -> TaskState:
        """This record moved on to `state`.

        Raises:
            IllegalTransition: the table has no such step.
        """
        return attrs.evolve(self, state=self.state.to(state), **changes)

    def gives_way_to(self, other: TaskState) -> bool:
        """Whether a backend that holds this record stores `other` in its place.

        End states are final: the first wins. Others move forward by (lease counter, rank); the same place again is
        written again (progress).
        """
        if self.state.is_final:
            return False
        if other.state.is_final:
            return True
        return (token_number(other.token), other.state.rank) >= (token_number(self.token), self.state.rank)

    def to_json(self) -> bytes:
        """The record as bytes; what is unset is left out."""
        results = [{"Type": result.type, "Value": result.value} for result in self.results] if self.results else []
        return _encode(
            _Record(
                self.task_uuid,
                self.state,
                self.task_name,
                self.error,
                self.error_type,
                self.traceback,
                self.dead_reason,
                self.attempt,
                self.worker,
                self.token,
                self.node,
                self.parent,
                self.created_at,
                self.started_at,
                self.finished_at,
                results,
                self.several,
                self.progress,
            )
        )

    @staticmethod
    def from_json(record: bytes | str) -> TaskState:
        """The record that `to_json` wrote. Unknown keys are ignored.

        Raises:
            InvalidSignature: the bytes hold no record.
        """
        plain = decode_object(record, limit=None)
        try:
            fields: dict[str, Any] = {
                name: _of_type(_TEXT if name != "attempt" else _NUMBER, plain[key])
                for name, key in _TEXTS.items()
                if key in plain
            }
            fields.update({name: parse_instant(plain[key]) for name, key in _INSTANTS.items() if key in plain})
            if "Results" in plain:
                fields["results"] = tuple(
                    [TaskResult(_of_type(_TEXT, item["Type"]), item["Value"]) for item in plain["Results"]]
                )
            if "Progress" in plain:
                done, total = plain["Progress"]
                fields["progress"] = (_of_type(_REAL, done), _of_type(_REAL, total))
            return TaskState(
                task_uuid=_of_type(_TEXT, plain["TaskUUID"]),
                state=State(plain["State"]),
                several=_of_type(_FLAG, plain.get("Several", False)),
                **fields,
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise InvalidSignature(f"the record of a task cannot be read: {exc!r}") from None


def _of_type(kinds: tuple[type, ...], value: Any) -> Any:
    if type(value) not in kinds:
        raise TypeError(f"{kinds[0].__name__} expected, not {type(value).__name__}")
    return value


_TEXT, _NUMBER, _REAL, _FLAG = (str,), (int,), (float, int), (bool,)
_encode = msgspec.json.Encoder().encode
_TEXTS: Final = {
    "task_name": "TaskName",
    "error": "Error",
    "error_type": "ErrorType",
    "traceback": "Traceback",
    "dead_reason": "DeadReason",
    "attempt": "Attempt",
    "worker": "Worker",
    "token": "Token",
    "node": "Node",
    "parent": "Parent",
}
_INSTANTS: Final = {"created_at": "CreatedAt", "started_at": "StartedAt", "finished_at": "FinishedAt"}


class _Record(
    msgspec.Struct,
    omit_defaults=True,
    rename={
        "task_uuid": "TaskUUID",
        "state": "State",
        **_TEXTS,
        **_INSTANTS,
        "results": "Results",
        "several": "Several",
        "progress": "Progress",
    },
):
    """A record as it is written: several times as fast as by way of a dict, for it is done for every task that runs."""

    task_uuid: str
    state: State
    task_name: str = ""
    error: str = ""
    error_type: str = ""
    traceback: str = ""
    dead_reason: str = ""
    attempt: int = 0
    worker: str = ""
    token: str = ""
    node: str = ""
    parent: str = ""
    created_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    results: list[dict[str, Any]] = []  # a Struct's own default, copied for each
    several: bool = False
    progress: tuple[float, float] | None = None
