"""Signature: one call of one task, complete, immutable, ready to travel."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, cast, final

import attrs
from typing_extensions import TypeVar, Unpack

from vecna.domain.arg import Arg
from vecna.domain.errors import InvalidSignature
from vecna.domain.ids import check_id, new_id
from vecna.domain.in_force import OptionsInForce
from vecna.domain.options import Options, check_options
from vecna.domain.parts import EMPTY, arguments, header_fields, keywords, optional_id, place_count, task_name, text
from vecna.domain.position import Position
from vecna.domain.shown import shown
from vecna.domain.values import MAX_COUNT, MAX_DEPTH

if TYPE_CHECKING:
    from vecna.domain.workflow import Chain, Link

R = TypeVar("R", default=Any, covariant=True)
#: Whether the uuid never left this process, for all copies under it. This one: it has, or came from elsewhere.
_SENT: Final = [False]


def _callbacks(values: object, what: str) -> tuple[Signature, ...]:
    if isinstance(values, Signature):
        return (values,)
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping):
        raise InvalidSignature(f"{what} takes signatures, not {shown(values)}")
    callbacks = tuple(itertools.islice(values, MAX_COUNT + 1))
    for callback in callbacks:
        if not isinstance(callback, Signature):
            raise InvalidSignature(f"{what} takes signatures, not {shown(callback)}")
    if len(callbacks) > MAX_COUNT:
        raise InvalidSignature(f"{what} takes at most {MAX_COUNT} signatures")
    return callbacks


def _depth(uuid: str, callbacks: tuple[Signature, ...]) -> int:
    """How deep callbacks nest below a signature."""
    depth = 1 + max([callback.depth for callback in callbacks])
    if depth >= MAX_DEPTH:
        raise InvalidSignature(f"callbacks nest deeper than {MAX_DEPTH}: use a Chain for long sequences")
    if uuid in {callback.uuid for callback in callbacks}:
        raise InvalidSignature(f"task {uuid} has itself as a callback, which would never start: use signature.clone()")
    return depth


@attrs.define(init=False, eq=False, repr=False, slots=True)
class _Fields(OptionsInForce):
    """The fields of a signature. `Signature` freezes them; while it is made, it is of this class, which is faster."""

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
    #: How deep callbacks nest below it.
    depth: int = attrs.field(eq=False)
    #: Whether the uuid never left this process: one entry, shared by all copies under it.
    only_here: list[bool] = attrs.field(eq=False)


@final
@attrs.frozen(init=False, repr=False, slots=True)
class Signature(_Fields, Generic[R]):
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

    def __init__(  # the documented constructor
        self,
        name: str,
        args: Iterable[object] = (),
        *,
        kwargs: Mapping[str, object] = EMPTY,
        uuid: str | None = None,
        headers: Mapping[str, object] = EMPTY,
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
        own = new_id() if uuid is None else check_id(uuid, "task id", InvalidSignature)
        following = () if on_success == () else _callbacks(on_success, "on_success")
        failing = () if on_error == () else _callbacks(on_error, "on_error")
        below = following + failing
        if chord_callback is not None:
            if not isinstance(chord_callback, Signature):
                raise InvalidSignature(f"chord_callback takes a signature, not {shown(chord_callback)}")
            below += (chord_callback,)
        if position is not None and not isinstance(position, Position):
            raise InvalidSignature(f"position takes a Position, not {shown(position)}")

        _set_class(self, _Fields)
        fields: _Fields = self
        fields.name = task_name(name)
        fields.args = arguments(args)
        fields.kwargs = EMPTY if kwargs is EMPTY else keywords(kwargs)
        fields.uuid = own
        fields.headers = EMPTY if headers is EMPTY else header_fields(headers)
        fields.on_success = following
        fields.on_error = failing
        fields.code = own if code is None else optional_id(code, "code") or own
        fields.group_uuid = optional_id(group_uuid, "group id")
        fields.group_task_count = place_count(group_task_count)
        fields.chord_callback = chord_callback
        fields.spec = text(spec, "spec")
        fields.position = position
        fields.set_options = MappingProxyType(check_options(options)) if options else EMPTY
        fields.depth = _depth(own, below) if below else 0
        fields.only_here = [True] if uuid is None else _SENT
        fields.__class__ = Signature

    def __init_subclass__(cls, **_: object) -> None:
        raise TypeError("Signature has no subclasses: they would not survive the message")

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __or__(self, other: Link) -> Chain:
        from vecna.domain.workflow import join  # workflows are made of signatures

        return join(self, other)

    def __repr__(self) -> str:
        # Arguments may be secret: their number is enough to recognise a call.
        return f"<Signature {self.name} {self.uuid} args={len(self.args)} kwargs={len(self.kwargs)}>"

    def __reduce__(self) -> tuple[Callable[[bytes], Signature], tuple[bytes]]:
        return _restored, (self.to_json(),)

    @property
    def fresh(self) -> bool:
        """The uuid was made here and never left this process: no earlier result can exist. A hint that saves a read."""
        return self.only_here[0]

    @staticmethod
    def of_call(
        uuid: object | None,
        name: object,
        args: tuple[Arg, ...],
        kwargs: Mapping[str, Arg] = EMPTY,
        *,
        options: Mapping[str, Any] = EMPTY,
        code: str = "",
        group_uuid: str = "",
        group_task_count: int = 0,
        position: Position | None = None,
    ) -> Signature:
        """A call without callbacks, of what was checked before: nearly all that travels.

        Without a uuid it is a new one, under a new random id.

        Raises:
            InvalidSignature: the id or the name is not allowed.
        """
        own = new_id() if uuid is None else check_id(uuid, "task id", InvalidSignature)
        made = _Fields()
        made.name = task_name(name)
        made.args = args
        made.kwargs = kwargs
        made.uuid = own
        made.code = code or own
        made.headers = EMPTY
        made.set_options = (
            EMPTY if not options else options if type(options) is MappingProxyType else MappingProxyType(options)
        )
        made.on_success = made.on_error = ()
        made.group_uuid = group_uuid
        made.group_task_count = group_task_count
        made.position = position
        made.spec = ""
        made.depth = 0
        made.chord_callback = None
        made.only_here = [True] if uuid is None else _SENT
        made.__class__ = Signature
        return cast(Signature, made)

    # -- changed copies --------------------------------------------------------------------------------------------

    def replace(self, **changes: Any) -> Signature[R]:
        """The same call under the same uuid with some fields or options changed. A code that was the uuid follows it.

        An option set to None is open again. Setting `eta` drops `delay`, and the other way round.

        Raises:
            InvalidSignature, InvalidArgument: as for the constructor.
        """
        fields = {name: getattr(self, name) for name in _PARAMETERS}
        if fields["code"] == self.uuid:
            fields["code"] = None
        options = dict(self.set_options)
        for one, other in (("eta", "delay"), ("delay", "eta"), ("routing_key", "queue"), ("pass_result", "immutable")):
            if changes.get(one) is not None:
                options.pop(other, None)
        fields.update(options)
        fields.update(changes)
        copy = Signature(**fields)
        if copy.uuid == self.uuid:
            object.__setattr__(copy, "only_here", self.only_here)
        return copy

    def clone(self, **changes: Any) -> Signature[R]:
        """The same call under a new uuid, with some fields or options changed.

        Raises:
            InvalidSignature, InvalidArgument: as for the constructor.
        """
        return self.replace(**{"uuid": None, **changes})

    def evolve(self, **fields: Any) -> Signature[R]:
        """The same with fields changed, unchecked: for rules of the domain, which pass what was checked before."""
        copy = _Fields()
        # One by one, for speed: every task that is run or is a member of a workflow is copied so.
        copy.name = self.name
        copy.args = self.args
        copy.kwargs = self.kwargs
        copy.uuid = self.uuid
        copy.headers = self.headers
        copy.on_success = self.on_success
        copy.on_error = self.on_error
        copy.code = self.code
        copy.group_uuid = self.group_uuid
        copy.group_task_count = self.group_task_count
        copy.chord_callback = self.chord_callback
        copy.spec = self.spec
        copy.position = self.position
        copy.set_options = self.set_options
        copy.depth = self.depth
        copy.only_here = self.only_here
        for name, value in fields.items():
            setattr(copy, name, value)
        copy.__class__ = Signature
        return cast(Signature[R], copy)

    def with_code(self, code: str) -> Signature[R]:
        """The same call under `code`, so that one cancel reaches all that it causes.

        With it go its callbacks, unless they were given a code of their own.
        """
        changes: dict[str, Any] = {} if self.code == code else {"code": code}
        for name in ("on_success", "on_error"):
            callbacks: tuple[Signature, ...] = getattr(self, name)
            if callbacks:
                changes[name] = tuple(
                    [
                        callback.with_code(code) if callback.code in (callback.uuid, self.code) else callback
                        for callback in callbacks
                    ]
                )
        return self.evolve(**changes) if changes else self

    def sent(self) -> None:
        """Note, for all copies under this uuid, that it left this process: a later send asks whether it is known."""
        self.only_here[0] = False

    # -- the wire --------------------------------------------------------------------------------------------------

    def to_json(self) -> bytes:
        """The documented JSON message (PascalCase keys, defaults left out).

        Raises:
            InvalidSignature: too many arguments, as results of tasks before were added.
        """
        return _codec.encode(self)

    @staticmethod
    def from_json(message: bytes | str) -> Signature:
        """The signature that a message holds. Unknown keys are ignored.

        Reads `ID`/`GroupID` and lower-case `name`/`type`/`value` too, as the Go code writes them.

        Raises:
            InvalidSignature: whatever else the bytes are.
        """
        return _codec.decode(message)


_FIELDS: Final = tuple([field.name for field in attrs.fields(Signature)])
_PARAMETERS: Final = tuple([name for name in _FIELDS if name not in {"set_options", "depth", "only_here"}])
_set_class: Final = object.__dict__["__class__"].__set__


def _restored(message: bytes) -> Signature:
    """What was pickled: larger than a message may be, if need be."""
    return _codec.decode(message, limit=None)


from vecna.domain import codec as _codec  # noqa: E402  # at the end: the codec needs the class
