"""The checks that come before every call of a port: one decorator for a whole adapter."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from vecna.domain.ids import check_id
from vecna.domain.message import Message
from vecna.domain.plan import Plan
from vecna.domain.presence import WorkerRecord
from vecna.domain.schedule import ScheduleRecord
from vecna.domain.state import TaskState
from vecna.kit.rules import check_ids, check_messages
from vecna.ports.plans import Report
from vecna.ports.schedules import FireCall
from vecna.ports.values import Settlement

C = TypeVar("C", bound=type)

_NODE: Final = "group or chain id"
#: How errors call what is handed over under these names.
_NAMES: Final = {
    "queue": "queue name",
    "worker": "worker name",
    "hold": "hold",
    "code": "code",
    "uuid": "task id",
    "node": _NODE,
    "root": _NODE,
    "name": "lock name",
    "owner": "lock owner",
}
_LISTS: Final = {"queues": "queue name", "codes": "code", "uuids": "task id"}


def checked(adapter: C) -> C:
    """Class decorator for an adapter: what a port refuses is refused before a method of the class is entered.

    Ids, codes, queue names and priorities outside the rule raise `InvalidArgument`, wherever they stand: as an
    argument, in a list, in a message, in a settlement's follow-ups. What is allowed is handed on unchanged.
    """
    for name in dir(adapter):
        method = inspect.getattr_static(adapter, name)
        if not name.startswith("_") and inspect.isfunction(method) and (checks := _checks_of(method)):
            setattr(adapter, name, _checking(method, checks))
    return adapter


def _checks_of(method: Callable[..., Any]) -> list[tuple[int, str, Callable[[Any], None]]]:
    names = list(inspect.signature(method).parameters)[1:]
    return [(at, name, _CHECKS[name]) for at, name in enumerate(names) if name in _CHECKS]


def _checking(
    method: Callable[..., Any], checks: Sequence[tuple[int, str, Callable[[Any], None]]]
) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: object, *args: Any, **kwargs: Any) -> Any:
        for at, name, check in checks:
            if at < len(args):
                check(args[at])
            elif name in kwargs:
                check(kwargs[name])
        return method(self, *args, **kwargs)

    return call


def _settlements(settlements: Sequence[Settlement]) -> None:
    for settlement in settlements:
        check_id(settlement.uuid, "task id")
        check_messages(settlement.follow_ups)


def _states(states: Sequence[TaskState]) -> None:
    check_ids([state.task_uuid for state in states], "task id")


def _plan(plan: Plan) -> None:
    check_ids([node.uuid for node in plan.nodes], _NODE)


def _reports(reports: Sequence[Report]) -> None:
    check_ids([report.node for report in reports], _NODE)


def _record(record: ScheduleRecord) -> None:
    check_id(record.code, "code")
    if record.last_uuid:
        check_id(record.last_uuid, "task id")


def _calls(calls: Sequence[FireCall]) -> None:
    for call in calls:
        check_id(call.code, "code")
        if call.uuid:
            check_id(call.uuid, "task id")
        check_messages(call.messages)


def _noted(noted: WorkerRecord) -> None:
    check_id(noted.uuid, "worker id")


def _messages(messages: Sequence[Message]) -> None:
    check_messages(messages)


def _named(what: str) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        check_id(value, what)

    return check


def _listed(what: str) -> Callable[[Any], None]:
    return lambda values: check_ids(values or (), what)


_CHECKS: Final[Mapping[str, Callable[[Any], None]]] = {
    **{name: _named(what) for name, what in _NAMES.items()},
    **{name: _listed(what) for name, what in _LISTS.items()},
    "messages": _messages,
    "settlements": _settlements,
    "states": _states,
    "plan": _plan,
    "reports": _reports,
    "record": _record,
    "calls": _calls,
    "noted": _noted,
}
