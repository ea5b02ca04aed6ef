"""The testing kit as users run it: the suite of examples/testing, and the benchmark of the harness."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_suite_of_the_example_passes() -> None:
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "examples/testing")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d\d passed", done.stdout, re.MULTILINE)


def test_the_benchmark_of_the_harness_prints_its_figures() -> None:
    done = run("-m", "benchmarks.harness", "--scale", "0.01")
    assert (done.returncode, done.stderr) == (0, "")
    figures = re.findall(r"^(.+?) {2,}([\d.,]+) (tasks/s|ms)$", done.stdout, re.MULTILINE)
    assert len(figures) == 6
    assert all(float(value.replace(",", "")) > 0 for _, value, _ in figures)
