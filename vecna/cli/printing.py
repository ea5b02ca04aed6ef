"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import click

from vecna.domain.signature import Signature

Row = Mapping[str, Any]
#: Control characters, which could move the cursor or change the terminal; ends of lines, which would break the table.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_ARGUMENTS: Final = 60

json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
args_option: Final = click.option(
    "--args", "with_args", is_flag=True, help="Show arguments too; they may be secret, so they are left out otherwise."
)


def print_rows(rows: Iterable[Row], *, as_json: bool, empty: str) -> None:
    """Print rows that all have the same columns.

    Args:
        rows: by column.
        as_json: as one JSON array of objects; else as a table.
        empty: what people are told, on standard error, if there are none.
    """
    rows = list(rows)
    if as_json:
        print_json(rows)
    elif rows:
        _print_table(rows)
    else:
        click.echo(empty, err=True)


def print_json(value: object) -> None:
    """Print one JSON value; instants as ISO 8601."""
    click.echo(json.dumps(value, indent=2, default=_plain))


def print_fields(fields: Row) -> None:
    """Print what is known of one thing, a line for each; what is None or empty is left out."""
    shown = {name: _cell(value) for name, value in fields.items() if value is not None and value not in ("", ())}
    width = max(map(len, shown))
    for name, text in shown.items():
        click.echo(f"{name:<{width}}  {text}")


def arguments(signature: Signature | None) -> dict[str, Any]:
    """The arguments of a call as columns; None where it cannot be read."""
    if signature is None:
        return {"args": None, "kwargs": None}
    return {
        "args": [arg.value for arg in signature.args],
        "kwargs": {name: arg.value for name, arg in signature.kwargs.items()},
    }


def one_line(text: str, limit: int | None = None) -> str:
    """A text without control characters and line ends, cut off behind `limit` characters."""
    flat = _UNPRINTABLE.sub(" ", text)
    return flat if limit is None or len(flat) <= limit else f"{flat[: limit - 1]}…"


def _print_table(rows: Sequence[Row]) -> None:
    columns = list(rows[0])
    cells = [
        [_cell(row[column], _ARGUMENTS if column in ("args", "kwargs") else None) for column in columns] for row in rows
    ]
    numbers = [all(isinstance(row[column], int) for row in rows) for column in columns]
    widths = [
        max(len(line[place]) for line in ([column.upper() for column in columns], *cells))
        for place, column in enumerate(columns)
    ]
    for line in ([column.upper() for column in columns], *cells):
        padded: list[str] = []
        for text, width, is_number in zip(line, widths, numbers, strict=True):
            pad: Callable[[int], str] = text.rjust if is_number else text.ljust
            padded.append(pad(width))
        click.echo("  ".join(padded).rstrip())


def _cell(value: object, limit: int | None = None) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | float):
        return one_line(str(value), limit)
    return one_line(json.dumps(value, default=_plain, ensure_ascii=False), limit)


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)
