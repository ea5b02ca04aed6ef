"""From an exception to what is recorded of it: valid Unicode, bounded, without vecna's own frames."""

from __future__ import annotations

import traceback
from pathlib import PurePath
from types import TracebackType
from typing import Final

from vecna.domain.decide import Failed
from vecna.domain.options import exception_name

#: Bytes.
MAX_ERROR: Final = 8 * 1024
MAX_TRACEBACK: Final = 32 * 1024
_CUT: Final = " ... "
_OWN: Final = PurePath(__file__).parent


def bounded(text: str, limit: int) -> str:
    """`text` as valid Unicode of at most `limit` bytes; what is too much is taken from the middle."""
    whole = text.encode(errors="backslashreplace")  # a lone surrogate has no place in JSON
    if len(whole) <= limit:
        return whole.decode()
    half = (limit - len(_CUT)) // 2
    return whole[:half].decode(errors="ignore") + _CUT + whole[-half:].decode(errors="ignore")


def error_text(exc: BaseException) -> str:
    """What is said of an exception in one line, e.g. `RuntimeError: boom`."""
    try:
        text = str(exc)
    except BaseException as fault:  # noqa: BLE001  # a user's __str__ may raise anything
        text = f"<its text could not be made: {type(fault).__name__}>"
    kind = type(exc).__qualname__
    return bounded(f"{kind}: {text}" if text else kind, MAX_ERROR)


def failed(exc: BaseException, *, permanent: bool = False, dead_reason: str = "") -> Failed:
    """The failure that an exception means.

    Args:
        exc: what was raised, or says what is wrong.
        permanent: another run would fail the same way.
        dead_reason: why the message becomes a dead letter, "" if it does not.
    """
    return Failed(
        error_text(exc),
        exception_name(type(exc)),
        traceback_text(exc) if exc.__traceback__ is not None else "",
        tuple([exception_name(cls) for cls in type(exc).__mro__ if issubclass(cls, BaseException)]),
        permanent,
        dead_reason,
    )


def traceback_text(exc: BaseException) -> str:
    """The traceback from the task's own first frame on."""
    try:
        lines = traceback.format_exception(type(exc), exc, _from_task(exc.__traceback__))
    except BaseException as fault:  # noqa: BLE001  # a user's exception may be broken in any way
        lines = [f"the traceback could not be made: {type(fault).__name__}"]
    return bounded("".join(lines).rstrip(), MAX_TRACEBACK)


def _from_task(frames: TracebackType | None) -> TracebackType | None:
    first = frames
    while first is not None and PurePath(first.tb_frame.f_code.co_filename).parent == _OWN:
        first = first.tb_next
    return first or frames
