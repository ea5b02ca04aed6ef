"""What the demo prints at its end, and whether all is right."""

from __future__ import annotations

from collections.abc import Iterator

from examples.demo.files import Found
from examples.demo.job import DELAY, Outcome
from examples.demo.tasks import TextStatistics, measure
from vecna import VecnaError

MOST_ROWS = 12  # kinds of files in the table; the rarest are summed up
_WIDTHS = "{:<12} {:>7} {:>10} {:>10} {:>12}"


def table(outcome: Outcome) -> str:
    """The results by kind of file."""
    kinds: dict[str, list[TextStatistics]] = {}
    for path, found in outcome.statistics.items():
        if isinstance(found, TextStatistics):
            kinds.setdefault((path.suffix or path.name)[:12], []).append(found)
    by_lines = sorted(kinds.items(), key=lambda kind: -sum(file.lines for file in kind[1]))
    shown = by_lines[:MOST_ROWS]
    if rest := [file for _, files in by_lines[MOST_ROWS:] for file in files]:
        shown.append(("others", rest))
    rows = [_row(name, files) for name, files in shown]
    total = _row("all", [file for _, files in by_lines for file in files])
    head = _WIDTHS.format("kind", "files", "lines", "words", "bytes")
    ruler = "-" * len(head)
    return "\n".join([head, ruler, *rows, ruler, total])


def _row(name: str, files: list[TextStatistics]) -> str:
    sums = (len(files), sum(f.lines for f in files), sum(f.words for f in files), sum(f.size for f in files))
    return _WIDTHS.format(name, *(f"{number:,}" for number in sums))


def faults(outcome: Outcome, found: Found) -> Iterator[str]:
    """What is not as it should be; nothing if all is right.

    Each file is measured once more, here, by a plain call of the task.
    """
    for path, got in outcome.statistics.items():
        try:
            expected = measure(path)
        except OSError:
            continue  # removed while the demo ran
        if isinstance(got, VecnaError):
            yield f"{path}: {got}"
        elif got != expected and not found.has_changed(path):
            yield f"{path}: {got}, but it has {expected}"
    if outcome.repeated != 3:
        yield f"the task that fails twice should succeed on attempt 3: {outcome.repeated}"
    if outcome.greeting != "hello, later":
        yield f"the delayed task should say 'hello, later': {outcome.greeting}"
    if outcome.greeting_after < DELAY:
        yield f"the delayed task came after {outcome.greeting_after:.2f} s, before its {DELAY:g} s were over"
