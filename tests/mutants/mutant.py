"""A deliberate break of the code, and what has to notice it."""

from __future__ import annotations

from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]


@attrs.frozen
class Mutant:
    """One small break.

    Attributes:
        what: what is broken, in a few words.
        file: where, from the root of the repository.
        old: the text that is replaced; it stands there once.
        new: what stands there instead.
    """

    what: str
    file: str
    old: str
    new: str

    def applied(self, root: Path = ROOT) -> str:
        """The broken file.

        Raises:
            ValueError: the text does not stand there exactly once: the code has changed, and this entry has to.
        """
        text = (root / self.file).read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} has {text.count(self.old)} times: {self.old!r}")
        return text.replace(self.old, self.new)


@attrs.frozen
class Target:
    """Code that is broken, and the tests that have to notice.

    Attributes:
        name: how the command line calls it.
        tests: what pytest is given; the first failure is enough.
        mutants: the breaks.
    """

    name: str
    tests: tuple[str, ...]
    mutants: tuple[Mutant, ...]


def of(file: str, *entries: tuple[str, str, str]) -> tuple[Mutant, ...]:
    """Breaks of one file, each as (what, old, new)."""
    return tuple([Mutant(what, file, old, new) for what, old, new in entries])
