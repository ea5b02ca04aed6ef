"""Plots of a run, as SVG files that need nothing from outside."""

import math
from dataclasses import dataclass
from pathlib import Path

import pygal
from pygal.style import Style

from benchmarks.peers.figures import CEILING, Figures
from benchmarks.peers.report import number


@dataclass(frozen=True)
class Plot:
    """A file of horizontal bars; `metrics` with their labels, `logarithmic` where they span decades."""

    name: str
    title: str
    metrics: dict[str, str]
    logarithmic: bool = False


PLOTS = (
    Plot("drain", "No-op tasks a second through a worker", {"drain": "1 process", "drain-2": "2 processes"}),
    Plot("send", "Tasks sent a second, one by one", {"send": "one by one"}),
    Plot("bulk", "Tasks sent a second, in bulk", {"bulk": "in bulk"}),
    Plot("latency", "Send and wait, idle worker, ms", {"latency-p50": "p50", "latency-p99": "p99"}, logarithmic=True),
    Plot("chord", "Chord until its callback runs, s", {"chord-1000": "1,000", "chord-5000": "5,000"}, logarithmic=True),
)
WITHOUT_CEILING = ("bulk", "latency")  # a RPUSH of 1,000 messages and a PING would be the scale
STYLE = Style(font_family="sans-serif", background="white", plot_background="white", value_font_size=10)


def write(figures: Figures, folder: Path) -> list[Path]:
    """Write one file a plot of which there are figures; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(figures, plot, folder) for plot in PLOTS if set(plot.metrics) & set(figures.metrics())]


def _write(figures: Figures, plot: Plot, folder: Path) -> Path:
    everybody = [*figures.rows(), *([] if plot.name in WITHOUT_CEILING else [(CEILING, "")])]
    rows = [row for row in everybody if any(figures.median(*row, metric) for metric in plot.metrics)]
    rows.reverse()  # drawn from below
    bars = {label: [figures.median(*row, metric) for row in rows] for metric, label in plot.metrics.items()}
    there = {label: values for label, values in bars.items() if any(values)}
    # js and no_prefix: no script from elsewhere, and the same file for the same figures.
    chart = pygal.HorizontalBar(
        title=plot.title,
        logarithmic=plot.logarithmic,
        js=(),
        no_prefix=True,
        style=STYLE,
        height=120 + (18 + 16 * len(there)) * len(rows),
        legend_at_bottom=True,
        print_values=True,
        print_values_position="top",
        value_formatter=number,
    )
    chart.x_labels = [" ".join(row).strip() for row in rows]
    values = [value for some in there.values() for value in some if value]
    if plot.logarithmic:
        first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        chart.range = (10.0**first, 10.0**last)
        chart.zero = 10.0**first
        chart.y_labels = [10.0**exponent for exponent in range(first, last + 1)]
    for label, some in there.items():
        chart.add(label, some)
    path = folder / f"{plot.name}.svg"
    chart.render_to_file(str(path), disable_xml_declaration=True)
    return path
