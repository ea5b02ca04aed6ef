"""Where vecna's log lines go: the standard logger `vecna`, or a logger of the user's.

Messages arrive complete, as the only positional argument; what they speak of comes beside them as fields: in `extra=`
where the logger takes that (standard logging), else as keywords (structlog).
"""

from __future__ import annotations

import inspect
import logging
import traceback
from typing import Any, Final, Protocol

_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
# Names that a LogRecord keeps for itself: it raises KeyError when a field has one of them.
_TAKEN: Final = frozenset((*vars(logging.makeLogRecord({})), "asctime", "message", "taskName"))


class Logger(Protocol):
    """What `set` takes: five methods that are given the message, and the fields if they take keywords."""

    def debug(self, message: str, /) -> Any:
        """Detail for finding faults."""

    def info(self, message: str, /) -> Any:
        """What happens in good order."""

    def warning(self, message: str, /) -> Any:
        """What should be looked at."""

    def error(self, message: str, /) -> Any:
        """What went wrong."""

    def critical(self, message: str, /) -> Any:
        """What stops the process."""


_standard: Final = logging.getLogger("vecna")
_logger: Logger = _standard
_style = "extra"


def set(logger: Logger | None) -> None:  # noqa: A001 - the documented name: vecna.log.set(logger)
    """Send all log lines of this process to `logger` from now on.

    Args:
        logger: anything with the methods `debug`, `info`, `warning`, `error` and `critical`, e.g. a standard logger or
            one of structlog; None for the standard logger `vecna`.

    Raises:
        TypeError: a method is missing.
    """
    global _logger, _style
    if logger is None:
        logger = _standard
    missing = [level for level in _LEVELS if not callable(getattr(logger, level, None))]
    if missing:
        raise TypeError(
            f"vecna.log.set takes a logger with the methods {', '.join(_LEVELS)}; "
            f"{type(logger).__name__} has no {', '.join(missing)}"
        )
    _logger, _style = logger, _style_of(logger)


def debug(message: str, *, exc_info: BaseException | bool | None = None, **fields: Any) -> None:
    """Log detail for finding faults; see `error` for the arguments."""
    _write("debug", message, exc_info, fields)


def info(message: str, *, exc_info: BaseException | bool | None = None, **fields: Any) -> None:
    """Log what happens in good order; see `error` for the arguments."""
    _write("info", message, exc_info, fields)


def warning(message: str, *, exc_info: BaseException | bool | None = None, **fields: Any) -> None:
    """Log what should be looked at; see `error` for the arguments."""
    _write("warning", message, exc_info, fields)


def error(message: str, *, exc_info: BaseException | bool | None = None, **fields: Any) -> None:
    """Log what went wrong. Never raises: a logger that does is reported to the standard one.

    Args:
        message: complete, one sentence; nothing in it is formatted any more. No passwords, no task arguments.
        exc_info: the exception whose traceback belongs to it, or True for the one being handled.
        **fields: what the message speaks of, e.g. `task_uuid=...`. With standard logging a name that records keep
            for themselves gets a `_` behind it (`name` becomes `name_`).
    """
    _write("error", message, exc_info, fields)


def critical(message: str, *, exc_info: BaseException | bool | None = None, **fields: Any) -> None:
    """Log what stops the process; see `error` for the arguments."""
    _write("critical", message, exc_info, fields)


def _write(level: str, message: str, exc_info: BaseException | bool | None, fields: dict[str, Any]) -> None:
    logger, style = _logger, _style
    if logger is _standard:
        if _standard.isEnabledFor(getattr(logging, level.upper())):
            _write_extra(_standard, level, message, exc_info, fields, stacklevel=4)
        return
    try:
        if style == "extra":
            # Only standard loggers are known to take a stacklevel.
            more = {"stacklevel": 4} if isinstance(logger, logging.Logger | logging.LoggerAdapter) else {}
            _write_extra(logger, level, message, exc_info, fields, **more)
        elif style == "keywords":
            getattr(logger, level)(message, **fields, **({"exc_info": exc_info} if exc_info else {}))
        else:
            getattr(logger, level)(_with_traceback(message, exc_info))
    except Exception as fault:  # noqa: BLE001 - whatever a user's logger raises must not stop a worker
        _write_extra(_standard, level, message, exc_info, fields)
        _standard.error(f"the logger given to vecna.log.set raised {type(fault).__name__}", exc_info=fault)


def _write_extra(
    logger: Logger, level: str, message: str, exc_info: BaseException | bool | None, fields: dict[str, Any], **more: Any
) -> None:
    extra = {f"{name}_" if name in _TAKEN else name: value for name, value in fields.items()}
    getattr(logger, level)(message, exc_info=exc_info, extra=extra, **more)


def _style_of(logger: Logger) -> str:
    """How a logger takes fields: "extra", "keywords", or "" (it takes a message and nothing else)."""
    if isinstance(logger, logging.Logger | logging.LoggerAdapter):
        return "extra"
    try:
        parameters = inspect.signature(logger.error).parameters
    except (TypeError, ValueError):  # written in C: it says nothing
        return ""
    if "extra" in parameters and "exc_info" in parameters:
        return "extra"
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return "keywords"
    return ""


def _with_traceback(message: str, exc_info: BaseException | bool | None) -> str:
    if isinstance(exc_info, BaseException):
        return "\n".join((message, "".join(traceback.format_exception(exc_info)).rstrip()))
    if exc_info:
        return "\n".join((message, traceback.format_exc().rstrip()))
    return message
