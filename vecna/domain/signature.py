"""Signature: one call of one task, complete, immutable, ready to travel."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic

import attrs
from typing_extensions import TypeVar, Unpack

from vecna.domain.arg import Arg
from vecna.domain.errors import InvalidArgument, InvalidSignature
from vecna.domain.ids import check_id, new_id
from vecna.domain.options import DEFAULTS, Options, check_options
from vecna.domain.position import Position
from vecna.domain.values import MAX_COUNT, to_plain

if TYPE_CHECKING:
    from vecna.domain.retry import RetryPolicy
    from vecna.domain.workflow import Chain, Link

R = TypeVar("R", default=Any)
_EMPTY: Mapping[str, Any] = MappingProxyType({})


def _arguments(values: object) -> tuple[Arg, ...]:
    if isinstance(values, str | bytes | bytearray | Mapping) or not isinstance(values, Iterable):
        raise InvalidArgument(
            f"args takes a list or tuple of arguments, not {type(values).__name__}: write args=[value]"
        )
    arguments = tuple([Arg.of(value) for value in values])
    if len(arguments) > MAX_COUNT:
        raise InvalidArgument(f"{len(arguments)} arguments are too many: at most {MAX_COUNT}")
    return arguments


def _keywords(values: object) -> Mapping[str, Arg]:
    if not isinstance(values, Mapping):
        raise InvalidArgument(f"kwargs takes a mapping of names to arguments, not {type(values).__name__}")
    if not values:
        return _EMPTY
    if len(values) > MAX_COUNT:
        raise InvalidArgument(f"{len(values)} keyword arguments are too many: at most {MAX_COUNT}")
    for name in values:
        if not isinstance(name, str):
            raise InvalidArgument(f"the names in kwargs are str, not {type(name).__name__}")
        to_plain(name, "a name in kwargs")
    return MappingProxyType({name: Arg.of(value) for name, value in values.items()})


def _headers(values: object) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise InvalidSignature(f"headers takes a mapping, not {type(values).__name__}")
    if not values:
        return _EMPTY
    if len(values) > MAX_COUNT or not all(isinstance(name, str) for name in values):
        raise InvalidSignature(f"headers are at most {MAX_COUNT}, and their names are str")
    return MappingProxyType(to_plain(dict(values), "headers", InvalidSignature))


def _callbacks(values: object, what: str) -> tuple[Signature, ...]:
    if isinstance(values, Signature):
        return (values,)
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping):
        raise InvalidSignature(f"{what} takes signatures, not {type(values).__name__}")
    callbacks = tuple(values)
    for callback in callbacks:
        if not isinstance(callback, Signature):
            raise InvalidSignature(f"{what} takes signatures, not {type(callback).__name__}")
    if len(callbacks) > MAX_COUNT:
        raise InvalidSignature(f"{what} takes at most {MAX_COUNT} signatures")
    return callbacks


@attrs.frozen(init=False, repr=False, slots=True)
class Signature(Generic[R]):
    """One call of one task. Immutable; equal by content, hashed by uuid.

    Args:
        name: the task's registered name.
        args: positional arguments: plain values or `Arg`.
        kwargs: keyword arguments: plain values or `Arg`.
        uuid: the task's id; a new random one when left out.
        headers: plain JSON values that travel along, e.g. trace context.
        on_success: signatures to run after this task has succeeded; its results go behind their arguments.
        on_error: signatures to run after it has failed for good; the error text goes before their arguments.
        code: what the work can be cancelled by; the uuid when left out.
        group_uuid, group_task_count, chord_callback, spec, position: set by workflows and schedules.
        **options: see `Options`; what is not set here is taken from the registration.

    Raises:
        InvalidArgument: a value cannot travel.
        InvalidSignature: anything else breaks a rule.
    """

    name: str
    args: tuple[Arg, ...]
    kwargs: Mapping[str, Arg]
    uuid: str
    headers: Mapping[str, Any]
    on_success: tuple[Signature, ...]
    on_error: tuple[Signature, ...]
    code: str
    group_uuid: str
    group_task_count: int
    chord_callback: Signature | None
    spec: str
    #: Where it stands in a workflow; set when the workflow is sent.
    position: Position | None
    #: The options that were set, in their one spelling. Everything else is open to the registration.
    set_options: Mapping[str, Any]
    #: The uuid was made here and never left this process: no earlier result can exist. Only a hint that saves a read.
    fresh: bool = attrs.field(eq=False)

    def __init__(  # the documented constructor
        self,
        name: str,
        args: Iterable[object] = (),
        *,
        kwargs: Mapping[str, object] = _EMPTY,
        uuid: str | None = None,
        headers: Mapping[str, object] = _EMPTY,
        on_success: Signature | Iterable[Signature] = (),
        on_error: Signature | Iterable[Signature] = (),
        code: str | None = None,
        group_uuid: str = "",
        group_task_count: int = 0,
        chord_callback: Signature | None = None,
        spec: str = "",
        position: Position | None = None,
        **options: Unpack[Options],
    ) -> None:
        if not isinstance(name, str) or not name or len(name) > 200 or not name.isprintable():
            raise InvalidSignature(f"a task's name is a text of 1 to 200 printable characters, not {str(name)[:80]!r}")
        own = new_id() if uuid is None else check_id(uuid, "task id", InvalidSignature)
        if group_uuid:
            check_id(group_uuid, "group id", InvalidSignature)
        if type(group_task_count) is not int or group_task_count < 0:
            raise InvalidSignature("group_task_count must be an int of 0 or more")
        if chord_callback is not None and not isinstance(chord_callback, Signature):
            raise InvalidSignature("chord_callback takes a signature")
        if not isinstance(spec, str):
            raise InvalidSignature("spec is a text")
        self.__attrs_init__(
            name=name,
            args=_arguments(args),
            kwargs=_keywords(kwargs),
            uuid=own,
            headers=_headers(headers),
            on_success=_callbacks(on_success, "on_success"),
            on_error=_callbacks(on_error, "on_error"),
            code=own if not code else check_id(code, "code", InvalidSignature),
            group_uuid=group_uuid,
            group_task_count=group_task_count,
            chord_callback=chord_callback,
            spec=spec,
            position=position,
            set_options=MappingProxyType(check_options(options)) if options else _EMPTY,
            fresh=uuid is None,
        )

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __or__(self, other: Link) -> Chain:
        from vecna.domain.workflow import join  # workflows are made of signatures

        return join(self, other)

    def __repr__(self) -> str:
        # Arguments may be secret: their number is enough to recognise a call.
        return f"<Signature {self.name} {self.uuid} args={len(self.args)} kwargs={len(self.kwargs)}>"

    def __reduce__(self) -> tuple[Callable[[bytes], Signature], tuple[bytes]]:
        return Signature.from_json, (self.to_json(),)

    # -- options in force, as far as the signature knows -----------------------------------------------------------

    def _option(self, name: str) -> Any:
        return self.set_options.get(name, DEFAULTS[name])

    @property
    def queue(self) -> str:
        """The queue it goes to; "" for the registration's, else the default queue."""
        return self._option("queue")  # type: ignore[no-any-return]  # checked when set

    @property
    def routing_key(self) -> str:
        """The same as `queue`."""
        return self.queue

    @property
    def eta(self) -> dt.datetime | None:
        """Not before this instant (UTC)."""
        return self._option("eta")  # type: ignore[no-any-return]  # checked when set

    @property
    def delay(self) -> dt.timedelta | None:
        """Not before this long after it was enqueued."""
        return self._option("delay")  # type: ignore[no-any-return]  # checked when set

    @property
    def expires(self) -> dt.datetime | dt.timedelta | None:
        """Not started by then (instant, or duration from enqueueing): CANCELED."""
        return self._option("expires")  # type: ignore[no-any-return]  # checked when set

    @property
    def timeout(self) -> dt.timedelta | None:
        """Run time allowed to one attempt."""
        return self._option("timeout")  # type: ignore[no-any-return]  # checked when set

    @property
    def retry_count(self) -> int:
        """How often it runs again after the first failure."""
        return self._option("retry_count")  # type: ignore[no-any-return]  # checked when set

    @property
    def retry_timeout(self) -> dt.timedelta:
        """Where the waits between repeats begin, see `Fibonacci`."""
        return self._option("retry_timeout")  # type: ignore[no-any-return]  # checked when set

    @property
    def retry(self) -> RetryPolicy:
        """How the waits between repeats grow."""
        return self._option("retry")  # type: ignore[no-any-return]  # checked when set

    @property
    def retry_on(self) -> tuple[str, ...]:
        """Names of the exception classes that are retried; empty for all."""
        return self._option("retry_on")  # type: ignore[no-any-return]  # checked when set

    @property
    def no_retry_on(self) -> tuple[str, ...]:
        """Names of the exception classes that are not retried."""
        return self._option("no_retry_on")  # type: ignore[no-any-return]  # checked when set

    @property
    def priority(self) -> int:
        """0 to 9, higher is served first within a queue."""
        return self._option("priority")  # type: ignore[no-any-return]  # checked when set

    @property
    def immutable(self) -> bool:
        """Whether its results are kept from callbacks and the next link."""
        return self._option("immutable")  # type: ignore[no-any-return]  # checked when set

    @property
    def pass_result(self) -> bool:
        """The opposite of `immutable`."""
        return not self.immutable

    @property
    def keep_result(self) -> bool:
        """Whether its result is kept after the end."""
        return self._option("keep_result")  # type: ignore[no-any-return]  # checked when set

    @property
    def ignore_when_task_not_registered(self) -> bool:
        """Whether a worker that does not know the name ends it as FAILURE, instead of leaving it to others."""
        return self._option("ignore_when_task_not_registered")  # type: ignore[no-any-return]  # checked when set

    # -- changed copies --------------------------------------------------------------------------------------------

    def replace(self, **changes: Any) -> Signature[R]:
        """The same call under the same uuid with some fields or options changed. A code that was the uuid follows it.

        An option set to None is open again. Setting `eta` drops `delay`, and the other way round.

        Raises:
            InvalidSignature, InvalidArgument: as for the constructor.
        """
        fields: dict[str, Any] = {
            field.name: getattr(self, field.name)
            for field in attrs.fields(Signature)
            if field.name not in ("set_options", "fresh")
        }
        if fields["code"] == self.uuid:
            fields["code"] = None
        options = dict(self.set_options)
        for one, other in (("eta", "delay"), ("delay", "eta"), ("routing_key", "queue"), ("pass_result", "immutable")):
            if changes.get(one) is not None:
                options.pop(other, None)
        fields.update(options)
        fields.update(changes)
        return Signature(fields.pop("name"), fields.pop("args"), **fields)

    def clone(self, **changes: Any) -> Signature[R]:
        """The same call under a new uuid, with some fields or options changed.

        Raises:
            InvalidSignature, InvalidArgument: as for the constructor.
        """
        return self.replace(**{"uuid": None, **changes})

    def evolve(self, **fields: Any) -> Signature[R]:
        """The same with fields changed, unchecked: for rules of the domain, which pass what was checked before."""
        copy = object.__new__(Signature)
        for name in _FIELDS:
            object.__setattr__(copy, name, fields[name] if name in fields else getattr(self, name))
        return copy

    def sent(self) -> None:
        """Note that the uuid has left this process, so that a later send asks whether it is known."""
        object.__setattr__(self, "fresh", False)

    # -- the wire --------------------------------------------------------------------------------------------------

    def to_json(self) -> bytes:
        """The documented JSON message (PascalCase keys, defaults left out).

        Raises:
            InvalidSignature: callbacks nest deeper than 64.
        """
        from vecna.domain import codec  # the codec needs this class

        return codec.encode(self)

    @staticmethod
    def from_json(message: bytes | str) -> Signature:
        """The signature that a message holds. Unknown keys are ignored.

        Reads `ID`/`GroupID` and lower-case `name`/`type`/`value` too, as the Go code writes them.

        Raises:
            InvalidSignature: whatever else the bytes are.
        """
        from vecna.domain import codec  # the codec needs this class

        return codec.decode(message)


_FIELDS = tuple(field.name for field in attrs.fields(Signature))
