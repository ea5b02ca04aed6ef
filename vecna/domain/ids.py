"""Names and ids: what is allowed, and where new ids come from."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Final

from vecna.domain.errors import InvalidArgument, VecnaError
from vecna.domain.shown import quoted

#: Ids, codes and queue names: nothing that could split a hash tag, end a line or leave a key.
ALLOWED: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@/\-]{0,199}")
#: Many of them, each on a line of its own.
_LINES: Final = re.compile(rf"{ALLOWED.pattern}(?:\n{ALLOWED.pattern})*")
_RULE: Final = "1 to 200 characters of A-Z a-z 0-9 _ . : @ / -, beginning with a letter or digit"


#: A UUID says its variant in the upper bits of one digit.
_VARIANT: Final = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


def new_id() -> str:
    """A new unique id (random UUID, version 4)."""
    # Twice as fast as str(uuid.uuid4()), and as random: one for every task sent.
    digits = secrets.token_hex(16)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


def are_ids(values: Sequence[str]) -> bool:
    """Whether all are valid ids: as `check_id` says of each, in one look.

    Raises:
        TypeError: one is no str.
    """
    lines = "\n".join(values)
    return not values or (lines.count("\n") == len(values) - 1 and _LINES.fullmatch(lines) is not None)


def check_id(value: object, what: str, error: type[VecnaError] = InvalidArgument) -> str:
    """Return `value` if it is a valid id, code or queue name.

    Args:
        value: what to look at.
        what: how the error calls it, e.g. "queue name".
        error: class of the error.

    Raises:
        error: `value` is not a string of the allowed characters and length.
    """
    if not isinstance(value, str) or ALLOWED.fullmatch(value) is None:
        raise error(f"{what} {quoted(value)} is not allowed: use {_RULE}")
    return value if type(value) is str else str.__str__(value)
