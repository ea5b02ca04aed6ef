"""The documented JSON message of a signature, both ways."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from vecna.domain.arg import Arg
from vecna.domain.errors import InvalidArgument, InvalidSignature
from vecna.domain.options import CHECKS, check_together
from vecna.domain.parts import optional_id, place_count
from vecna.domain.position import Position
from vecna.domain.retry import policy_from_plain, policy_to_plain
from vecna.domain.shown import quoted
from vecna.domain.signature import Signature
from vecna.domain.values import MAX_COUNT, MAX_DEPTH

#: No message of any size setting may be larger (bytes).
MAX_MESSAGE: Final = 1024 * 1024

_decode_json = msgspec.json.Decoder().decode
_encode_json = msgspec.json.Encoder().encode


def format_instant(value: dt.datetime) -> str:
    """RFC 3339 in UTC, as Go reads it."""
    return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def parse_instant(value: object) -> dt.datetime:
    """An instant of a message: RFC 3339 with up to nine fractional digits.

    Raises:
        InvalidSignature: anything else.
    """
    if isinstance(value, str) and len(value) <= 40:
        try:
            instant = dt.datetime.fromisoformat(value)
            if instant.tzinfo is not None:
                return instant.astimezone(dt.UTC)
        except (ValueError, OverflowError):
            pass
    raise InvalidSignature(
        f"{str(value)[:40]!r} is not an instant: write RFC 3339 with a zone, e.g. 2026-01-31T12:00:00Z"
    )


def _number(value: dt.timedelta) -> int | float:
    seconds = value.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def _expires(value: dt.datetime | dt.timedelta) -> object:
    return format_instant(value) if isinstance(value, dt.datetime) else _number(value)


def _read_expires(value: object) -> object:
    return parse_instant(value) if isinstance(value, str) else value


def _read_queue(value: object) -> object:
    return None if value == "" else value


def _same(value: Any) -> Any:
    return value


#: option -> (key, writer, reader); in the order in which they are written.
_OPTION_KEYS: Final[Mapping[str, tuple[str, Callable[[Any], object], Callable[[Any], object]]]] = {
    "queue": ("RoutingKey", _same, _read_queue),
    "eta": ("ETA", format_instant, parse_instant),
    "delay": ("Delay", _number, _same),
    "expires": ("Expires", _expires, _read_expires),
    "timeout": ("Timeout", _number, _same),
    "retry_count": ("RetryCount", _same, _same),
    "retry_timeout": ("RetryTimeout", _number, _same),
    "retry": ("Retry", policy_to_plain, policy_from_plain),
    "retry_on": ("RetryOn", list, _same),
    "no_retry_on": ("NoRetryOn", list, _same),
    "priority": ("Priority", _same, _same),
    "immutable": ("Immutable", _same, _same),
    "keep_result": ("KeepResult", _same, _same),
    "ignore_when_task_not_registered": ("IgnoreWhenTaskNotRegistered", _same, _same),
}


def _arg(arg: Arg) -> dict[str, object]:
    if arg.name:
        return {"Name": arg.name, "Type": arg.type, "Value": arg.value}
    return {"Type": arg.type, "Value": arg.value}


def _args(args: tuple[Arg, ...]) -> list[dict[str, object]]:
    if len(args) > MAX_COUNT:  # with the results of a task before
        raise InvalidSignature(f"{len(args)} arguments are too many: at most {MAX_COUNT}")
    return [_arg(arg) for arg in args]


def _plain(signature: Signature, depth: int) -> dict[str, object]:
    if depth <= 0:
        raise InvalidSignature(f"callbacks nest deeper than {MAX_DEPTH}: use a Chain for long sequences")
    plain: dict[str, object] = {"UUID": signature.uuid, "Name": signature.name}
    for name, value in signature.set_options.items():
        key, write, _ = _OPTION_KEYS[name]
        plain[key] = write(value)
    if signature.args:
        plain["Args"] = _args(signature.args)
    if signature.kwargs:
        plain["Kwargs"] = {name: _arg(arg) for name, arg in signature.kwargs.items()}
    if signature.headers:
        plain["Headers"] = dict(signature.headers)
    if signature.on_success:
        plain["OnSuccess"] = [_plain(callback, depth - 1) for callback in signature.on_success]
    if signature.on_error:
        plain["OnError"] = [_plain(callback, depth - 1) for callback in signature.on_error]
    if signature.code != signature.uuid:
        plain["Code"] = signature.code
    if signature.group_uuid:
        plain["GroupUUID"] = signature.group_uuid
    if signature.group_task_count:
        plain["GroupTaskCount"] = signature.group_task_count
    if signature.chord_callback is not None:
        plain["ChordCallback"] = _plain(signature.chord_callback, depth - 1)
    if signature.spec:
        plain["Spec"] = signature.spec
    if signature.position is not None:
        plain["Position"] = signature.position.to_plain()
    return plain


def encode(signature: Signature) -> bytes:
    """The documented message of a signature.

    Raises:
        InvalidSignature: callbacks nest deeper than 64, or there are more than 10,000 arguments: no reader takes that.
    """
    return _encode_json(_plain(signature, MAX_DEPTH))


def decode(message: bytes | str, limit: int | None = MAX_MESSAGE) -> Signature:
    """The signature that a message holds.

    Args:
        message: the bytes.
        limit: the most bytes to accept; None for any.

    Raises:
        InvalidSignature: whatever else the bytes are; nothing else is raised.
    """
    return _signature(decode_object(message, limit), MAX_DEPTH)


def decode_object(message: bytes | str, limit: int | None = MAX_MESSAGE) -> dict[str, Any]:
    """The JSON object that a message holds.

    Args:
        message: the bytes.
        limit: the most bytes to accept; None for any.

    Raises:
        InvalidSignature: too large, not JSON, or not an object.
    """
    size = len(message) if type(message) is bytes else _size(message)
    if limit is not None and size > limit:
        raise InvalidSignature(f"a message of {size} bytes is too large: at most {limit}")
    try:
        plain = _decode_json(message)
    except RecursionError:
        raise InvalidSignature(f"the message is nested deeper than {MAX_DEPTH}") from None
    except (msgspec.MsgspecError, UnicodeError, BufferError) as exc:
        raise InvalidSignature(f"the message is not JSON: {exc}") from None
    if type(plain) is not dict:
        raise InvalidSignature(f"the message is not a JSON object but a {type(plain).__name__}")
    return plain


def _size(message: object) -> int:
    if isinstance(message, str):
        return len(message) if message.isascii() else len(message.encode(errors="replace"))
    if isinstance(message, bytes | bytearray):
        return len(message)
    if isinstance(message, memoryview):
        return message.nbytes
    raise InvalidSignature(f"a message is bytes or str, not {type(message).__name__}")


def _read_args(plain: object, _: int) -> list[Arg]:
    items = _list("Args", plain)
    try:
        return [Arg.from_plain(item) for item in items]
    except InvalidArgument as exc:
        raise InvalidSignature(f"argument {_first_bad(items)}: {exc}") from None


def _first_bad(items: list[Any]) -> int:
    """Number of the first argument that cannot be read."""
    for number, item in enumerate(items, 1):
        try:
            Arg.from_plain(item)
        except InvalidArgument:
            return number
    return 0  # pragma: no cover  # it is asked for only when there is one


def _read_kwargs(plain: object, _: int) -> dict[str, Arg]:
    items = _object("Kwargs", plain)
    kwargs: dict[str, Arg] = {}
    for name, item in items.items():
        try:
            kwargs[name] = Arg.from_plain(item)
        except InvalidArgument as exc:
            raise InvalidSignature(f"argument {quoted(name)}: {exc}") from None
    return kwargs


def _list(key: str, value: object) -> list[Any]:
    if type(value) is not list or len(value) > MAX_COUNT:
        raise InvalidSignature(f"{key} is not a list of at most {MAX_COUNT}")
    return value


def _object(key: str, value: object) -> dict[str, Any]:
    if type(value) is not dict or len(value) > MAX_COUNT:
        raise InvalidSignature(f"{key} is not an object of at most {MAX_COUNT} entries")
    return value


_Reader = Callable[[Any, int], Any]


def _plainly(read: Callable[[Any], object]) -> _Reader | None:
    return None if read is _same else lambda value, _: read(value)


def _callbacks(key: str) -> _Reader:
    return lambda value, depth: [_signature(item, depth - 1) for item in _list(key, value)]


#: key -> (parameter of Signature, reader of what is not null; None: as it is).
_READERS: Final[Mapping[str, tuple[str, _Reader | None]]] = {
    "UUID": ("uuid", None),
    "ID": ("other_uuid", None),
    "Name": ("name", None),
    "Args": ("args", _read_args),
    "Kwargs": ("kwargs", _read_kwargs),
    "Headers": ("headers", lambda value, _: _object("Headers", value)),
    "OnSuccess": ("on_success", _callbacks("OnSuccess")),
    "OnError": ("on_error", _callbacks("OnError")),
    "Code": ("code", None),
    "GroupUUID": ("group_uuid", None),
    "GroupID": ("other_group_uuid", None),
    "GroupTaskCount": ("group_task_count", None),
    "ChordCallback": ("chord_callback", lambda value, depth: _signature(value, depth - 1)),
    "Spec": ("spec", None),
    "Position": ("position", _plainly(Position.from_plain)),
    **{key: (name, _plainly(read)) for name, (key, _, read) in _OPTION_KEYS.items()},
}


#: option's key -> (option, reader; None: as it is, check).
_OPTIONS: Final = {
    key: (name, None if read is _same else read, CHECKS[name]) for name, (key, _, read) in _OPTION_KEYS.items()
}
#: key -> (field, what returns its value as it is kept, or refuses it); of a call's code and its place in a workflow.
_PLACE: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "Code": ("code", lambda value: optional_id(value, "code")),
    "GroupUUID": ("group_uuid", lambda value: optional_id(value, "group id")),
    "GroupTaskCount": ("group_task_count", place_count),
    "Position": ("position", Position.from_plain),
}
#: The keys of a call that has nothing but arguments, options and a place.
_CALL: Final = {"UUID", "Name", "Args", *_OPTIONS, *_PLACE}


def _call(plain: dict[str, Any]) -> Signature:
    """What `_signature` makes of it, without the way through the constructor: nearly all that travels is a call."""
    args: tuple[Arg, ...] = ()
    options: dict[str, Any] = {}
    place: dict[str, Any] = {}
    for key, value in plain.items():
        if value is None or key in ("UUID", "Name"):
            continue
        if key in _PLACE:
            field, fit = _PLACE[key]
            place[field] = fit(value)
            continue
        if key == "Args":
            args = tuple(_read_args(value, 1))
            continue
        name, read, check = _OPTIONS[key]
        found = value if read is None else read(value)
        if found is not None:
            options[name] = check(found)
    if len(options) > 1:
        check_together(options)
    return Signature.of_call(plain["UUID"], plain.get("Name"), args, options=options, **place)


def _signature(plain: object, depth: int) -> Signature:
    if depth <= 0:
        raise InvalidSignature(f"callbacks nest deeper than {MAX_DEPTH}")
    if type(plain) is not dict:
        raise InvalidSignature("a callback of the message is not an object")
    if plain.keys() <= _CALL and plain.get("UUID"):  # nearly always
        return _call(plain)
    fields: dict[str, Any] = {"name": None}
    for key, value in plain.items():
        if value is not None and key in _READERS:
            name, read = _READERS[key]
            fields[name] = value if read is None else read(value, depth)
    if "other_uuid" in fields:
        _other_spelling(fields, "uuid")
    if "other_group_uuid" in fields:
        _other_spelling(fields, "group_uuid")
    if not fields.get("uuid"):
        raise InvalidSignature("the message has no UUID")
    try:
        return Signature(**fields)
    except InvalidArgument as exc:
        raise InvalidSignature(f"the message holds an argument that is not allowed: {exc}") from None


def _other_spelling(fields: dict[str, Any], name: str) -> None:
    """Take `ID` and `GroupID`, as the Go code writes them, where `UUID` and `GroupUUID` are missing or empty."""
    other = fields.pop(f"other_{name}")
    if fields.get(name, "") == "":
        fields[name] = other


__all__ = ["MAX_MESSAGE", "decode", "decode_object", "encode", "format_instant", "parse_instant"]
