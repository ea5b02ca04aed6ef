"""Break the code in small ways, one at a time, and see that the tests notice: `python -m tests.mutants [target ...]`.

Each break is made in a copy of the repository, in which the tests then run until one fails. A break that no test
notices is a survivor: a law that nobody states. Ends with 1 if there are any.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from tests.mutants.adapters import MEMORY, RULES, SQLITE
from tests.mutants.engine import ENGINE, LUA
from tests.mutants.groups import GROUPS
from tests.mutants.loops import LOOPS
from tests.mutants.mutant import ROOT, Mutant, Target

TARGETS = {target.name: target for target in (MEMORY, RULES, SQLITE, ENGINE, LUA, GROUPS, LOOPS)}
#: What a run of tests may take, seconds: a break that makes it hang was noticed too.
PATIENCE = 200
_COPIED = ("vecna", "tests", "examples", "benchmarks", "docs", "pyproject.toml", "README.md", "CHANGELOG.md")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_IGNORED = shutil.ignore_patterns("__pycache__", ".*_cache", "*.egg-info")


@attrs.frozen
class Outcome:
    """What became of one break: the test that noticed it, "" if none did."""

    target: Target
    mutant: Mutant
    noticed_by: str


def copied(folder: Path) -> Path:
    """A copy of what the tests need."""
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=_IGNORED)
        elif source.exists():
            shutil.copy(source, folder / name)
    return folder


def tried(target: Target, mutant: Mutant, copy: Path) -> Outcome:
    """Break the copy, run the tests, and mend it again."""
    file = copy / mutant.file
    whole = file.read_text()
    try:
        file.write_text(mutant.applied(copy))
        return Outcome(target, mutant, _noticed_by(target.tests, copy))
    finally:
        file.write_text(whole)


def _noticed_by(tests: Sequence[str], copy: Path) -> str:
    search = os.pathsep.join([str(copy), str(copy / "examples" / "sqlite_adapter")])
    present = [test for test in tests if test.startswith("-") or " " in test or (copy / test).exists()]
    options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:randomly"]
    with tempfile.TemporaryFile("w+") as output:
        run = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *present],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            code = run.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            run.terminate()
            run.wait()
            return "(the tests hang)"
        output.seek(0)
        text = output.read()
    if code == 0:
        return ""
    found = _FAILED.search(text)
    if code == 1 and found:
        return found[1].rpartition("::")[2] or found[1]
    raise SystemExit(f"pytest could not run (exit code {code}):\n{text[-2000:]}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the targets that were named, all without; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], help=f"of {', '.join(TARGETS)}; all if left out")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th break")
    parser.add_argument("--file", default="", help="only breaks of files with this in their path")
    options = parser.parse_args(arguments)
    chosen = [TARGETS[name] for name in options.targets or TARGETS]
    work = [(target, mutant) for target in chosen for mutant in target.mutants if options.file in mutant.file]
    work = work[:: options.every]
    with tempfile.TemporaryDirectory(prefix="vecna-mutants-") as folder:
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(options.jobs):
            copies.put(copied(Path(folder) / str(number)))

        def one(entry: tuple[Target, Mutant]) -> Outcome:
            copy = copies.get()
            try:
                return tried(*entry, copy)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(options.jobs) as threads:
            outcomes = []
            for outcome in threads.map(one, work):
                outcomes.append(outcome)
                _show(outcome, len(outcomes), len(work))
    survivors = [outcome for outcome in outcomes if not outcome.noticed_by]
    print(f"{len(outcomes)} breaks, {len(outcomes) - len(survivors)} noticed, {len(survivors)} not")
    return 1 if survivors else 0


def _show(outcome: Outcome, number: int, count: int) -> None:
    where = outcome.mutant.file.rpartition("/")[2]
    fate = f"noticed by {outcome.noticed_by}" if outcome.noticed_by else "NOT NOTICED"
    print(f"{number:4}/{count} {outcome.target.name:7} {where:20} {outcome.mutant.what:58} {fate}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
