"""One measured figure, and how a list of them is shown."""

from dataclasses import dataclass

_ROW = "{:<34} {:>12} {:>14} {:>8}"


@dataclass
class Figure:
    """What was measured.

    Attributes:
        adapter: memory or redis.
        name: what was done.
        value: tasks a second, milliseconds, or times.
        unit: of `value` and `ceiling`.
        ceiling: what a loop of bare commands with redis-py reached in the same minute; None where there is none.
    """

    adapter: str
    name: str
    value: float
    unit: str
    ceiling: float | None = None

    @property
    def ratio(self) -> float | None:
        """`value` as a share of the ceiling; for times, how many times the ceiling."""
        return self.value / self.ceiling if self.ceiling else None


HEAD = _ROW.format("", "vecna", "bare redis-py", "ratio")


def row(figure: Figure) -> str:
    """One line of the table."""
    ceiling = "" if figure.ceiling is None else _number(figure.ceiling, figure.unit)
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    return _ROW.format(f"{figure.adapter}: {figure.name}", _number(figure.value, figure.unit), ceiling, ratio)


def _number(value: float, unit: str) -> str:
    if unit == "times":
        return f"{value:,.2f} x"
    return f"{value:,.2f} ms" if unit == "ms" else f"{value:,.0f}/s"
