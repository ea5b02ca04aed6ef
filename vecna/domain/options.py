"""Options of a task, of a signature, or of one call: what each takes, and how a message spells it."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypedDict

from vecna.domain.durations import to_duration, to_instant
from vecna.domain.errors import InvalidSignature
from vecna.domain.ids import check_id
from vecna.domain.retry import FIBONACCI, Exponential, Fibonacci, RetryPolicy
from vecna.domain.shown import quoted, shown
from vecna.domain.values import MAX_COUNT, check_text

Duration = dt.timedelta | float
ExceptionClasses = type[BaseException] | Iterable[type[BaseException] | str]

#: Runs after the first failure; more is a mistake.
MAX_RETRIES: Final = 1_000_000


class Options(TypedDict, total=False):
    """The options, for type checkers. Durations are timedelta or seconds, instants aware datetimes."""

    queue: str | None
    routing_key: str | None
    eta: dt.datetime | None
    delay: Duration | None
    expires: dt.datetime | Duration | None
    timeout: Duration | None
    retry_count: int | None
    retry_timeout: Duration | None
    retry: RetryPolicy | None
    retry_on: ExceptionClasses | None
    no_retry_on: ExceptionClasses | None
    priority: int | None
    immutable: bool | None
    pass_result: bool | None
    keep_result: bool | None
    ignore_when_task_not_registered: bool | None


#: What is in force when neither signature nor registration says anything.
DEFAULTS: Final[Mapping[str, Any]] = {
    "queue": "",
    "eta": None,
    "delay": None,
    "expires": None,
    "timeout": None,
    "retry_count": 0,
    "retry_timeout": dt.timedelta(0),
    "retry": FIBONACCI,
    "retry_on": (),
    "no_retry_on": (),
    "priority": 0,
    "immutable": False,
    "keep_result": True,
    "ignore_when_task_not_registered": False,
}
_SYNONYMS: Final = {"routing_key": "queue", "pass_result": "immutable"}


def exception_name(cls: type[BaseException]) -> str:
    """The name by which a message speaks of an exception class: `module.QualifiedName`."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _queue(value: object) -> str:
    return check_id(value, "queue name", InvalidSignature)


def _eta(value: object) -> dt.datetime:
    return to_instant(value, "eta", InvalidSignature)


def _delay(value: object) -> dt.timedelta:
    return to_duration(value, "delay", InvalidSignature)


def _expires(value: object) -> dt.datetime | dt.timedelta:
    if isinstance(value, dt.datetime):
        return to_instant(value, "expires", InvalidSignature)
    return to_duration(value, "expires", InvalidSignature)


def _timeout(value: object) -> dt.timedelta:
    duration = to_duration(value, "timeout", InvalidSignature)
    if not duration:
        raise InvalidSignature("timeout must be above 0; leave it out for no limit")
    return duration


def _retry_count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_RETRIES:
        raise InvalidSignature(f"retry_count must be an int from 0 to {MAX_RETRIES}, not {shown(value)}")
    return value


def _retry_timeout(value: object) -> dt.timedelta:
    return to_duration(value, "retry_timeout", InvalidSignature)


def _retry(value: object) -> RetryPolicy:
    # Not a subclass: its rule would stay behind when the message travels.
    if type(value) is Fibonacci or type(value) is Exponential:
        return value
    raise InvalidSignature(f"retry takes Fibonacci() or Exponential(...), not {shown(value)}")


def _classes(value: object) -> tuple[str, ...]:
    if isinstance(value, type):
        value = (value,)
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidSignature(f"retry_on and no_retry_on take exception classes, not {shown(value)}")
    names: list[str] = []
    for item in itertools.islice(value, MAX_COUNT + 1):
        if isinstance(item, type) and issubclass(item, BaseException):
            name = exception_name(item)
        elif isinstance(item, str) and item:
            name = str.__str__(item)
        else:
            raise InvalidSignature(f"retry_on and no_retry_on take exception classes, not {shown(item)}")
        check_text(name, "the name of an exception class", InvalidSignature)
        names.append(name)
    if len(names) > MAX_COUNT:
        raise InvalidSignature(f"retry_on and no_retry_on take at most {MAX_COUNT} exception classes")
    return tuple(names)


def _priority(value: object) -> int:
    if type(value) is not int or not 0 <= value <= 9:
        raise InvalidSignature(f"priority must be an int from 0 to 9 (9 is served first), not {shown(value)}")
    return value


def _flag(name: str) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        if type(value) is not bool:
            raise InvalidSignature(f"{name} must be True or False, not {shown(value)}")
        return value

    return check


#: option -> what returns its value as it is kept, or refuses it.
CHECKS: Final[Mapping[str, Callable[[object], Any]]] = {
    "queue": _queue,
    "eta": _eta,
    "delay": _delay,
    "expires": _expires,
    "timeout": _timeout,
    "retry_count": _retry_count,
    "retry_timeout": _retry_timeout,
    "retry": _retry,
    "retry_on": _classes,
    "no_retry_on": _classes,
    "priority": _priority,
    "immutable": _flag("immutable"),
    "keep_result": _flag("keep_result"),
    "ignore_when_task_not_registered": _flag("ignore_when_task_not_registered"),
}
#: Every name that options(), a registration and a signature take.
NAMES: Final = frozenset((*CHECKS, *_SYNONYMS))


def check_options(options: Mapping[str, object]) -> dict[str, Any]:
    """The options that are set, checked and in their one spelling; None means not set.

    Raises:
        InvalidSignature: unknown name, wrong type or range, `eta` and `delay` together, contradicting synonyms.
    """
    checked: dict[str, Any] = {}
    for name, value in options.items():
        if value is None:
            continue
        if name == "pass_result":
            target, final = "immutable", not _flag("pass_result")(value)
        else:
            target = _SYNONYMS.get(name, name)
            check = CHECKS.get(target)
            if check is None:
                raise InvalidSignature(f"unknown option {quoted(name)}: one of {', '.join(sorted(NAMES))}")
            final = check(value)
        if target in checked and checked[target] != final:
            raise InvalidSignature(f"{target} is set twice, with different values")
        checked[target] = final
    check_together(checked)
    return checked


def check_together(options: Mapping[str, Any]) -> None:
    """Refuse options that exclude each other.

    Raises:
        InvalidSignature: `eta` and `delay`.
    """
    if "eta" in options and "delay" in options:
        raise InvalidSignature("eta and delay exclude each other: give an instant or a duration")
