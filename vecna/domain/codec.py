"""The documented JSON message of a signature, both ways."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from vecna.domain.arg import Arg
from vecna.domain.errors import InvalidArgument, InvalidSignature
from vecna.domain.options import DEFAULTS
from vecna.domain.position import Position
from vecna.domain.retry import policy_from_plain, policy_to_plain
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


def _same(value: Any) -> Any:
    return value


#: option -> (key, writer, reader); in the order in which they are written.
_OPTION_KEYS: Final[Mapping[str, tuple[str, Callable[[Any], object], Callable[[Any], object]]]] = {
    "queue": ("RoutingKey", _same, _same),
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


def _plain(signature: Signature, depth: int) -> dict[str, object]:
    if depth <= 0:
        raise InvalidSignature(f"callbacks nest deeper than {MAX_DEPTH}: use a Chain for long sequences")
    plain: dict[str, object] = {"UUID": signature.uuid, "Name": signature.name}
    for name, value in signature.set_options.items():
        key, write, _ = _OPTION_KEYS[name]
        plain[key] = write(value)
    if signature.args:
        plain["Args"] = [_arg(arg) for arg in signature.args]
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
        InvalidSignature: callbacks nest deeper than 64.
    """
    return _encode_json(_plain(signature, MAX_DEPTH))


def decode(message: bytes | str) -> Signature:
    """The signature that a message holds; nothing but InvalidSignature is raised, whatever the bytes are."""
    return _signature(decode_object(message), MAX_DEPTH)


def decode_object(message: bytes | str, limit: int | None = MAX_MESSAGE) -> dict[str, Any]:
    """The JSON object that a message holds.

    Args:
        message: the bytes.
        limit: the most bytes to accept; None for any.

    Raises:
        InvalidSignature: too large, not JSON, or not an object.
    """
    if not isinstance(message, bytes | bytearray | str | memoryview):
        raise InvalidSignature(f"a message is bytes or str, not {type(message).__name__}")
    if limit is not None and len(message) > limit:
        raise InvalidSignature(f"a message of {len(message)} bytes is too large: at most {limit}")
    try:
        plain = _decode_json(message)
    except RecursionError:
        raise InvalidSignature(f"the message is nested deeper than {MAX_DEPTH}") from None
    except (msgspec.MsgspecError, UnicodeError, ValueError) as exc:
        raise InvalidSignature(f"the message is not JSON: {exc}") from None
    if not isinstance(plain, dict):
        raise InvalidSignature(f"the message is not a JSON object but a {type(plain).__name__}")
    return plain


def _pick(plain: Mapping[str, Any], *keys: str) -> Any:
    for key in keys:
        value = plain.get(key)
        if value is not None:
            return value
    return None


def _read_arg(plain: object, where: str) -> Arg:
    if not isinstance(plain, dict):
        raise InvalidSignature(f"{where} is not an object with Type and Value")
    kind = _pick(plain, "Type", "type")
    value = plain["Value"] if "Value" in plain else plain.get("value")
    name = _pick(plain, "Name", "name")
    try:
        return Arg.from_wire(kind, value, "" if name is None else name)
    except InvalidArgument as exc:
        raise InvalidSignature(f"{where}: {exc}") from None


def _list(plain: Mapping[str, Any], key: str) -> list[Any]:
    value = plain.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_COUNT:
        raise InvalidSignature(f"{key} is not a list of at most {MAX_COUNT}")
    return value


def _object(plain: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = plain.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_COUNT:
        raise InvalidSignature(f"{key} is not an object of at most {MAX_COUNT} entries")
    return value


def _callbacks(plain: Mapping[str, Any], key: str, depth: int) -> list[Signature]:
    return [_signature(item, depth - 1) for item in _list(plain, key)]


def _options(plain: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, (key, _, read) in _OPTION_KEYS.items():
        value = plain.get(key)
        if value is not None and not (name == "queue" and value == ""):
            options[name] = read(value)
    if options.keys() - DEFAULTS.keys():  # pragma: no cover  # both tables are in this package
        raise InvalidSignature("unknown option")
    return options


def _signature(plain: object, depth: int) -> Signature:
    if depth <= 0:
        raise InvalidSignature(f"callbacks nest deeper than {MAX_DEPTH}")
    if not isinstance(plain, dict):
        raise InvalidSignature("a callback of the message is not an object")
    uuid = _pick(plain, "UUID", "ID")
    if uuid is None or uuid == "":
        raise InvalidSignature("the message has no UUID")
    callback = plain.get("ChordCallback")
    position = plain.get("Position")
    try:
        return Signature(
            plain.get("Name"),  # type: ignore[arg-type]  # checked there
            [_read_arg(item, f"argument {index}") for index, item in enumerate(_list(plain, "Args"), 1)],
            kwargs={
                name: _read_arg(item, f"argument {name[:80]!r}") for name, item in _object(plain, "Kwargs").items()
            },
            uuid=uuid,
            headers=_object(plain, "Headers"),
            on_success=_callbacks(plain, "OnSuccess", depth),
            on_error=_callbacks(plain, "OnError", depth),
            code=_pick(plain, "Code"),
            group_uuid=_pick(plain, "GroupUUID", "GroupID") or "",
            group_task_count=_pick(plain, "GroupTaskCount") or 0,
            chord_callback=None if callback is None else _signature(callback, depth - 1),
            spec=_pick(plain, "Spec") or "",
            position=None if position is None else Position.from_plain(position),
            **_options(plain),
        )
    except InvalidArgument as exc:
        raise InvalidSignature(f"the message holds an argument that is not allowed: {exc}") from None


__all__ = ["MAX_MESSAGE", "decode", "decode_object", "encode", "format_instant", "parse_instant"]
