"""The tables of a run, in markdown; and their place in docs/performance.md."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import targets
from benchmarks.peers.figures import CEILING, Figures, Key

BEGIN = "<!-- measured: begin -->"
END = "<!-- measured: end -->"

#: Title, then columns as (heading, metric).
TABLES: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Sending and draining",
        (
            ("send/s", "send"),
            ("bulk/s", "bulk"),
            ("drain/s", "drain"),
            ("coroutines/s", "drain-coroutines"),
            ("2 processes/s", "drain-2"),
            ("CPU µs/task", "cpu"),
            ("commands/task", "commands"),
            ("Redis bytes/task", "bytes"),
        ),
    ),
    (
        "Time and idleness",
        (
            ("round trip p50 ms", "latency-p50"),
            ("p99", "latency-p99"),
            ("2,000 × 50 ms, coroutines (× ideal)", "waits-coroutines"),
            ("functions", "waits-functions"),
            ("late p50 ms", "late-p50"),
            ("p99", "late-p99"),
            ("5,000 at once: late p50 ms", "burst-p50"),
            ("p99", "burst-p99"),
            ("worker start ms", "start"),
            ("worker MiB", "memory"),
            ("idle: commands/s", "idle-commands"),
            ("idle: CPU %", "idle-cpu"),
        ),
    ),
    (
        "Chords, seconds until the callback runs",
        tuple((f"{count:,}", f"chord-{count}") for count in (1_000, 5_000, 10_000, 100_000)),
    ),
)


def write(figures: Figures, page: Path, plots: Sequence[Path]) -> None:
    """Replace what stands between the markers of `page` by the tables and plots of this run.

    Raises:
        ValueError: the page has no markers.
    """
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks {BEGIN} or {END}")
    images = "\n".join(f"![{plot.stem}]({plot.relative_to(page.parent).as_posix()})" for plot in plots)
    page.write_text(f"{before}{BEGIN}\n\n{markdown(figures)}\n{images}\n\n{END}{after}")


def markdown(figures: Figures) -> str:
    """Everything: when and on what, the tables, the targets, who was skipped."""
    return "\n".join(part for part in _parts(figures) if part) + "\n"


def _parts(figures: Figures) -> Iterator[str]:
    about = figures.about
    yield f"Measured {about['at']} with `{about['command']}`: {about['cores']} cores, Python {about['python']}, "
    yield f"Redis {about['redis']}; medians of up to {about['rounds']} rounds.\n"
    for title, columns in TABLES:
        shown = [(head, metric) for head, metric in columns if metric in figures.metrics()]
        if shown:
            yield f"**{title}**\n\n{_table(figures, shown)}\n"
    yield _own(figures)
    yield f"**Targets**\n\n{_targets(figures)}\n"
    yield f"**Guarantees**\n\n{_guarantees(figures)}\n"
    notes = [f"- {peer} {setting}, {metric}: {note}" for (peer, setting, metric), note in _notes(figures)]
    if notes:
        yield "**Notes**\n\n" + "\n".join(notes) + "\n"
    for name, reason in about["skipped"].items():
        yield f"{name} was skipped: {reason}\n"


def _notes(figures: Figures) -> Iterator[tuple[Key, str]]:
    """All but that a drain was ended in time, and that a peer lacks something: the cell says that."""
    for key, note in figures.notes.items():
        if note.startswith("failed") or (figures.median(*key) is not None and not key[2].startswith("drain")):
            yield key, note


def _table(figures: Figures, columns: Sequence[tuple[str, str]]) -> str:
    heads = [head for head, _ in columns]
    rows = [[f"{peer} {setting}", *_cells(figures, peer, setting, columns)] for peer, setting in figures.rows()]
    bare = _cells(figures, CEILING, "", columns)
    if any(bare):
        rows.append([f"*{CEILING}*", *bare])
    return _grid([["", *heads], *[row for row in rows if any(row[1:])]])


def _cells(figures: Figures, peer: str, setting: str, columns: Sequence[tuple[str, str]]) -> list[str]:
    return [_cell(figures, peer, setting, metric) for _, metric in columns]


def _cell(figures: Figures, peer: str, setting: str, metric: str) -> str:
    value, note = figures.median(peer, setting, metric), figures.note(peer, setting, metric)
    if value is None:
        return note and ("failed" if note.startswith("failed") else "-")
    return number(value)


def _own(figures: Figures) -> str:
    """What is in no table: figures of vecna alone."""
    known = {metric for _, columns in TABLES for _, metric in columns}
    rest = [metric for metric in figures.metrics() if metric not in known]
    rows = [
        [metric, f"{number(figures.median(*targets.OURS, metric))} {figures.units[metric]}"]
        for metric in rest
        if figures.median(*targets.OURS, metric) is not None
    ]
    return f"**vecna alone**\n\n{_grid([['', ''], *rows])}\n" if rows else ""


def _targets(figures: Figures) -> str:
    return _grid([["", "target", "measured", ""], *[list(line) for line in targets.lines(figures)]])


def _guarantees(figures: Figures) -> str:
    rows = [
        [f"{name} {setting}", guarantee, ", ".join(figures.about["packages"][name])]
        for name, settings in figures.about["guarantees"].items()
        for setting, guarantee in settings.items()
        if (name, setting) in figures.rows()
    ]
    return _grid([["", "a task runs", "packages"], *rows])


def _grid(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    rule = ["---", *["---:" for _ in head[1:]]]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *body))


def number(value: float | None) -> str:
    """Three digits that count; empty for None."""
    if value is None:
        return ""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.1g}"
