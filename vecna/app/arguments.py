"""From a message to a call, and from what it returned to results."""

from __future__ import annotations

from typing import Any

import msgspec

from vecna.app.task import Task
from vecna.domain.arg import TaskResult
from vecna.domain.codec import MAX_MESSAGE
from vecna.domain.decide import NO_RESULT, Succeeded
from vecna.domain.errors import InvalidArgument
from vecna.domain.signature import Signature
from vecna.domain.values import MAX_COUNT

_encode = msgspec.json.Encoder().encode


def bind(task: Task[..., Any, Any], signature: Signature[Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments for `task.fn`, its context aside, rebuilt from the parameters' annotations.

    Raises:
        InvalidArgument: they do not fit the function: count, names or types.
    """
    args = [arg.value for arg in signature.args]
    kwargs = {name: arg.value for name, arg in signature.kwargs.items()} if signature.kwargs else {}
    return task.parameters.rebuild(args, kwargs)


def to_results(task: Task[..., Any, Any], value: object, limit: int = MAX_MESSAGE) -> Succeeded:
    """What a function returned, as it is recorded.

    A plain tuple is several results, a NamedTuple one. None is no result if the function is annotated `-> None` or
    has no return annotation, else it is one.

    Args:
        task: the task that ran.
        value: what its function returned.
        limit: the most bytes that the results may take as JSON.

    Raises:
        InvalidArgument: it cannot travel, or is larger than the limit.
    """
    if type(value) is tuple and len(value) > MAX_COUNT:
        raise InvalidArgument(
            f"{task.name} returned a tuple of {len(value)}, which are as many results; at most {MAX_COUNT}: "
            "return a list"
        )
    try:
        if type(value) is tuple:
            outcome = Succeeded(tuple([TaskResult.of(item) for item in value]), several=True)
        elif value is None and task.parameters.returns_nothing:
            return NO_RESULT
        else:
            outcome = Succeeded((TaskResult.of(value),))
    except InvalidArgument as exc:
        raise InvalidArgument(f"the result of {task.name} cannot travel: {exc}") from None
    size = sum([len(_encode(result.value)) for result in outcome.results])
    if size > limit:
        raise InvalidArgument(
            f"the result of {task.name} has {size} bytes as JSON; the limit is {limit}: store it elsewhere and return "
            "where it is"
        )
    return outcome
