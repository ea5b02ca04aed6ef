"""What a task's function takes: checked when sending, rebuilt when running."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, get_args, get_origin

from vecna.app.rebuild import rebuilder
from vecna.app.rebuild_plain import KEPT, Misfit, Rebuild, Unbuildable
from vecna.domain.errors import InvalidArgument

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Unresolved:
    """An annotation that names something which does not exist (yet)."""

    def __init__(self, text: str) -> None:
        self.text = text


class Parameters:
    """What a function takes, its leading `TaskContext` aside.

    Args:
        fn: the function.
        name: the task's name, for errors.
        context: the class of the context parameter.

    Raises:
        TypeError: the context parameter is not the first positional one.

    Attributes:
        takes_context: whether the function takes a context first.
        signature: the rest; None if Python does not know it (some built-in functions).
    """

    def __init__(self, fn: Callable[..., Any], name: str, context: type) -> None:
        self._fn = fn
        self._name = name
        self.takes_context = False
        try:
            whole = inspect.signature(fn)
        except ValueError:
            self.signature = None
            return
        parameters = list(whole.parameters.values())
        for index, parameter in enumerate(parameters):
            if not _mentions(resolve(fn, parameter.annotation), context):
                continue
            if index > 0 or parameter.kind not in _POSITIONAL or not _is(resolve(fn, parameter.annotation), context):
                raise TypeError(
                    f"task {name!r}: {parameter.name!r} must be the first positional parameter, annotated as plain "
                    f"{context.__name__}; elsewhere call vecna.current_task()"
                )
            self.takes_context = True
        self.signature = whole.replace(parameters=parameters[self.takes_context :])
        rest = list(self.signature.parameters.values())
        positional = [parameter for parameter in rest if parameter.kind in _POSITIONAL]
        self._least = sum(parameter.default is parameter.empty for parameter in positional)
        self._most = len(positional)
        self._positional_suffices = not any(
            parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty for parameter in rest
        )

    def check(self, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """Check a call's count and names.

        Raises:
            TypeError: the function cannot be called so.
        """
        if self.signature is None:
            return
        if not kwargs and self._least <= len(args) <= self._most and self._positional_suffices:
            return
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as exc:
            raise TypeError(f"{self._name}(): {exc}") from None

    def check_partial(self, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """Check a call that may leave arguments out.

        Raises:
            TypeError: no further arguments could make it a call of the function.
        """
        if self.signature is None:
            return
        try:
            self.signature.bind_partial(*args, **kwargs)
        except TypeError as exc:
            raise TypeError(f"{self._name}(): {exc}") from None

    def rebuild(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of a message as the function wants them. Both may be changed in place.

        Raises:
            InvalidArgument: they do not fit the function.
        """
        try:
            self.check(args, kwargs)
        except TypeError as exc:
            raise InvalidArgument(str(exc)) from None
        positional, further, named, others = self._rebuilders
        if positional is None:
            return args, kwargs
        for index, value in enumerate(args):
            name, build = positional[index] if index < len(positional) else further
            if build is not None and type(value) is not KEPT.get(build):
                args[index] = self._built(name, build, value)
        for key, value in kwargs.items():
            build = named.get(key, others)
            if build is not None and type(value) is not KEPT.get(build):
                kwargs[key] = self._built(key, build, value)
        return args, kwargs

    def rebuild_result(self, value: Any, *, several: bool, none: bool) -> Any:
        """What the function returned, from what was recorded.

        Args:
            value: in JSON's types; a tuple if it returned several.
            several: whether it returned a plain tuple.
            none: whether it returned no result.

        Raises:
            InvalidArgument: it does not fit the return annotation.
        """
        build = None if none else self._result_rebuilder
        if build is None:
            return value
        try:
            return tuple(build(list(value))) if several else build(value)
        except Misfit as exc:
            raise InvalidArgument(
                f"what {self._name}() returned does not fit its return annotation: it {exc}"
            ) from None

    @functools.cached_property
    def _result_rebuilder(self) -> Rebuild | None:
        if self.signature is None:
            return None
        return self._rebuilder("return", self.signature.return_annotation)

    @functools.cached_property
    def returns_nothing(self) -> bool:
        """Whether the function is annotated `-> None`, or its return is not annotated."""
        if self.signature is None or self.signature.return_annotation is self.signature.empty:
            return True
        return resolve(self._fn, self.signature.return_annotation) in (None, type(None))

    def _built(self, name: str, build: Rebuild, value: object) -> Any:
        try:
            return build(value)
        except Misfit as exc:
            raise InvalidArgument(f"{self._name}(): argument {name!r} {exc}") from None

    @functools.cached_property
    def _rebuilders(
        self,
    ) -> tuple[list[tuple[str, Rebuild | None]] | None, tuple[str, Rebuild | None], dict[str, Rebuild | None], Any]:
        """Per parameter what rebuilds it: positional ones, those of *args, named ones, those of **kwargs."""
        positional: list[tuple[str, Rebuild | None]] = []
        further: tuple[str, Rebuild | None] = ("", None)
        named: dict[str, Rebuild | None] = {}
        others: Rebuild | None = None
        for name, parameter in self.signature.parameters.items() if self.signature else ():
            build = self._rebuilder(name, parameter.annotation)
            if parameter.kind is parameter.VAR_POSITIONAL:
                further = (name, build)
            elif parameter.kind is parameter.VAR_KEYWORD:
                others = build
            else:
                if parameter.kind is not parameter.KEYWORD_ONLY:
                    positional.append((name, build))
                if parameter.kind is not parameter.POSITIONAL_ONLY:
                    named[name] = build
        if not any((further[1], others, *named.values(), *(build for _, build in positional))):
            return None, further, named, others
        return positional, further, named, others

    def _rebuilder(self, name: str, annotation: object) -> Rebuild | None:
        resolved = resolve(self._fn, annotation)
        if isinstance(resolved, Unresolved):
            raise InvalidArgument(
                f"{self._name}(): the annotation {resolved.text!r} of {name!r} cannot be resolved: "
                "import what it names where the program runs, not for the type checker only"
            )
        try:
            return rebuilder(resolved)
        except Unbuildable as exc:
            raise InvalidArgument(f"{self._name}(): {name!r} {exc}") from exc


def resolve(fn: Callable[..., Any], annotation: object) -> Any:
    """An annotation of `fn` as an object, from text if it was postponed; `Unresolved` if it names nothing."""
    if not isinstance(annotation, str):
        return annotation
    inner: Any = fn
    while isinstance(inner, functools.partial):
        inner = inner.func
    inner = inspect.unwrap(inner)
    if not hasattr(inner, "__globals__"):
        inner = getattr(inner, "__func__", None) or inspect.unwrap(getattr(inner, "__call__", inner))  # noqa: B004
    holder = type("holder", (), {"__annotations__": {"it": annotation}})
    try:
        return typing.get_type_hints(holder, getattr(inner, "__globals__", {}), include_extras=True)["it"]
    except Exception:  # noqa: BLE001  # whatever the text evaluates to
        return Unresolved(annotation)


def _is(annotation: object, context: type) -> bool:
    if isinstance(annotation, Unresolved):
        return annotation.text.rpartition(".")[2] == context.__name__
    if get_origin(annotation) is Annotated:
        return _is(get_args(annotation)[0], context)
    return annotation is context


def _mentions(annotation: object, context: type) -> bool:
    return _is(annotation, context) or any(_mentions(part, context) for part in get_args(annotation))
