"""What was sent, and whether that is what was expected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from vecna.app.arguments import bind
from vecna.app.config_checks import nearest
from vecna.app.registry import Registry
from vecna.app.task import AnyTask, Task
from vecna.domain.errors import InvalidArgument
from vecna.domain.signature import Signature

#: So many of what was sent are shown when none of it is what was expected.
_SHOWN: Final = 10
_ABSENT: Final = object()


class SentTasks:
    """Answers what was sent.

    Args:
        registry: of the server, for the parameters' names.
        read: all that was sent, in order.
    """

    def __init__(self, registry: Registry, read: Callable[[], list[Signature[Any]]]) -> None:
        self._registry = registry
        self._read = read

    def name_of(self, task: AnyTask | str) -> str:
        """The name that is meant.

        Raises:
            InvalidArgument: no task, or a name that nobody knows and that is like one that is registered.
        """
        if isinstance(task, Task):
            return task.name
        if not isinstance(task, str):
            raise InvalidArgument(f"this takes a task or the name of one, not {type(task).__name__}")
        if self._registry.get(task) is None and not any(each.name == task for each in self._read()):
            meant = nearest(task, self._registry.names())
            if meant:
                raise InvalidArgument(f"no task is called {task!r}: did you mean {meant!r}?")
        return task

    def signatures(self, task: AnyTask | str | None) -> list[Signature[Any]]:
        """What was sent of a task, or of all, in order."""
        if task is None:
            return list(self._read())
        name = self.name_of(task)
        return [signature for signature in self._read() if signature.name == name]

    def matching(self, task: AnyTask | str, match: Mapping[str, object]) -> list[Signature[Any]]:
        """Those that have these arguments and options.

        Raises:
            InvalidArgument: neither a parameter of the function nor an attribute of a signature is called so.
        """
        sent = self.signatures(task)
        registered = self._registry.get(self.name_of(task))
        self._check(registered, match)
        return [
            signature
            for signature in sent
            if all(_equal(expected, self._value(registered, signature, key)) for key, expected in match.items())
        ]

    def complaint(self, task: AnyTask | str, match: Mapping[str, object]) -> str:
        """What is to be said when nothing matches."""
        name = self.name_of(task)
        sent = self.signatures(task)
        wanted = f"{name}({', '.join([f'{key}={value!r}' for key, value in match.items()])})"
        if not sent:
            others = sorted({each.name for each in self._read()})
            return f"{wanted} was not sent: no {name} was. Sent were: {', '.join(others) or 'no tasks at all'}"
        return f"{wanted} was not sent. Of {name} were sent: {self.shown(sent, match)}"

    def shown(self, sent: Iterable[Signature[Any]], also: Iterable[str] = ()) -> str:
        """Calls as a list of lines."""
        sent = list(sent)
        lines = [f"\n  {self._line(signature, also)}" for signature in sent[:_SHOWN]]
        more = f"\n  and {len(sent) - _SHOWN} more" if len(sent) > _SHOWN else ""
        return "".join(lines) + more

    # -- inside ------------------------------------------------------------------------------------------------------

    def _line(self, signature: Signature[Any], also: Iterable[str]) -> str:
        arguments = _arguments(self._registry.get(signature.name), signature)
        options = [f"{key}={getattr(signature, key)!r}" for key in also if key not in arguments]
        call = ", ".join([f"{key}={value!r}" for key, value in arguments.items()])
        return f"{signature.name}({call}){' with ' + ', '.join(options) if options else ''}"

    def _value(self, task: AnyTask | None, signature: Signature[Any], key: str) -> object:
        arguments = _arguments(task, signature)
        return arguments[key] if key in arguments else getattr(signature, key, _ABSENT)

    def _check(self, task: AnyTask | None, match: Mapping[str, object]) -> None:
        parameters = task.parameters.signature.parameters if task and task.parameters.signature else {}
        if task is None or any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
            return  # any keyword may be one of its arguments
        for key in match:
            if key not in parameters and not hasattr(Signature, key):
                meant = nearest(key, [*parameters, *_attributes()])
                hint = f"did you mean {meant!r}?" if meant else f"it takes {', '.join(parameters) or 'no arguments'}"
                raise InvalidArgument(f"task {task.name} has no parameter {key!r}, nor has its signature: {hint}")


def _attributes() -> list[str]:
    return [name for name in dir(Signature) if not name.startswith("_")]


def _arguments(task: AnyTask | None, signature: Signature[Any]) -> dict[str, Any]:
    """The arguments by name, rebuilt as the function will get them, with its defaults; by position if it is unknown."""
    try:
        if task is not None and task.parameters.signature is not None:
            args, kwargs = bind(task, signature)
            bound = task.parameters.signature.bind_partial(*args, **kwargs)
            bound.apply_defaults()
            return _flat(bound.arguments, task)
    except (InvalidArgument, TypeError):  # it will fail when it runs; it was sent all the same
        pass
    named = {name: arg.value for name, arg in signature.kwargs.items()}
    return {**{str(index): arg.value for index, arg in enumerate(signature.args)}, **named}


def _flat(arguments: Mapping[str, Any], task: AnyTask) -> dict[str, Any]:
    """What **kwargs holds is found by its own names."""
    parameters = task.parameters.signature.parameters if task.parameters.signature else {}
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        if parameters[name].kind is parameters[name].VAR_KEYWORD:
            found.update(value)
        else:
            found[name] = value
    return found


def _equal(expected: object, value: object) -> bool:
    return value is not _ABSENT and bool(expected == value)
