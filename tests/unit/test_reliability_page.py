"""docs/reliability.md names tests that are there, and leaves out no fault."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)))
ROWS = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)


def _file(name: str) -> Path:
    return ROOT / ("vecna/testing" if name.startswith("contracts/") else "tests") / name


@pytest.mark.parametrize("name", sorted({name for name, _ in NAMED}))
def test_the_tests_that_it_names_are_there(name: str) -> None:
    tree = ast.parse(_file(name).read_text(encoding="utf-8"))
    there = {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert {test for file, test in NAMED if file == name} - there == set()


def test_each_of_the_72_faults_has_a_test_or_a_reason() -> None:
    assert [int(number) for number, _, _ in ROWS] == list(range(1, 73))
    for number, _, proof in ROWS:
        assert "::test_" in proof or "none" in proof, number


def test_all_names_are_understood() -> None:
    """One that is spelled in another way would not be looked for."""
    assert PAGE.count("::") == len(re.findall(r"`[\w/]+\.py::test_\w+`", PAGE))
