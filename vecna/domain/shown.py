"""How errors speak of a value that was refused."""

from __future__ import annotations

from typing import Final

_LONGEST: Final = 80


def shown(value: object) -> str:
    """What an error says of a value: numbers as they are, of everything else the type.

    Never raises and never runs the value's own code; a text is not shown, it may be secret.
    """
    kind = type(value)
    if kind is int and value.bit_length() <= 128:  # type: ignore[attr-defined]  # kind is int
        return repr(value)
    if kind is float or kind is bool or value is None:
        return repr(value)
    return f"a {kind.__name__}"


def quoted(value: object) -> str:
    """The same for names and ids, which are no secrets: of a text, the beginning in quotes."""
    if not isinstance(value, str):
        return shown(value)
    text = str.__str__(value)
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")
