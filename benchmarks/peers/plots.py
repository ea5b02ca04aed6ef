"""Plots of a run, as SVG files that need nothing from outside."""

from pathlib import Path

import pygal
from pygal.style import Style

from benchmarks.peers.figures import CEILING, Figures

#: File, title, metrics; bars, a logarithmic axis.
PLOTS = (
    ("drain", "No-op tasks a second through a worker", {"drain": "1 process", "drain-2": "2 processes"}),
    ("send", "Tasks sent a second", {"send": "one by one", "bulk": "in bulk"}),
    ("latency", "Send and wait on an idle worker, ms", {"latency-p50": "p50", "latency-p99": "p99"}),
    ("chord", "Chord until its callback runs, s", {f"chord-{count}": f"{count:,}" for count in (1_000, 5_000)}),
)
STYLE = Style(font_family="sans-serif", background="white", plot_background="white")


def write(figures: Figures, folder: Path) -> list[Path]:
    """Write one file a plot of which there are figures; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, title, metrics in PLOTS:
        there = {metric: label for metric, label in metrics.items() if metric in figures.metrics()}
        if not there:
            continue
        bare = [(CEILING, "")] if figures.median(CEILING, "", next(iter(there))) is not None else []
        rows = [row for row in [*figures.rows(), *bare] if any(figures.median(*row, metric) for metric in there)]
        # js and no_prefix: no script from elsewhere, and the same file for the same figures.
        chart = pygal.HorizontalBar(
            title=title,
            logarithmic=True,
            js=(),
            no_prefix=True,
            style=STYLE,
            height=120 + 36 * len(rows),
            legend_at_bottom=True,
        )
        rows.reverse()  # drawn from below
        chart.x_labels = [" ".join(row).strip() for row in rows]
        for metric, label in there.items():
            chart.add(label, [figures.median(*row, metric) for row in rows])
        path = folder / f"{name}.svg"
        chart.render_to_file(str(path), disable_xml_declaration=True)
        written.append(path)
    return written
