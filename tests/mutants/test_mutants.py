"""The breaks can be made, and the tool that makes them tells those that are noticed from those that are not."""

import subprocess
import sys

import pytest

from tests.mutants.__main__ import TARGETS, main
from tests.mutants.adapters import MEMORY, RULES, SQLITE
from tests.mutants.engine import ENGINE, LUA
from tests.mutants.mutant import ROOT, Mutant, Target

EVERY = [(target, mutant) for target in TARGETS.values() for mutant in target.mutants]


@pytest.mark.parametrize(("target", "mutant"), EVERY, ids=[f"{target.name}: {mutant.what}" for target, mutant in EVERY])
def test_each_break_finds_its_place(target: Target, mutant: Mutant):
    broken = mutant.applied()

    if mutant.file.endswith(".py"):
        compile(broken, mutant.file, "exec")


def test_there_are_as_many_as_were_promised():
    assert len(MEMORY.mutants) + len(RULES.mutants) >= 25
    assert len(SQLITE.mutants) >= 25
    assert len(ENGINE.mutants) + len(LUA.mutants) >= 25
    assert len({(target.name, mutant.file, mutant.what) for target, mutant in EVERY}) == len(EVERY)
    assert f"| {len(EVERY)} are kept, " in (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_break_is_noticed_and_what_breaks_nothing_is_not(monkeypatch: pytest.MonkeyPatch, capsys):
    law = "tests/contract/test_memory.py", "-k", "test_a_higher_priority or test_oldest or priorit"
    harmless = Mutant("nothing", "vecna/adapters/memory/queue.py", "#: How long the newest call", "#: How long a call")
    reversed_ = next(mutant for mutant in MEMORY.mutants if mutant.what == "the lowest priority goes first")
    monkeypatch.setitem(TARGETS, "memory", Target("memory", law, (harmless, reversed_)))

    assert main(["memory", "--jobs", "2"]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert "NOT NOTICED" in lines[0]
    assert "noticed by test_" in lines[1]
    assert lines[-1] == "2 breaks, 1 noticed, 1 not"


def test_an_unknown_target_is_refused():
    run = subprocess.run(
        [sys.executable, "-m", "tests.mutants", "nothing"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert run.returncode == 2
    assert "invalid choice: 'nothing'" in run.stderr
