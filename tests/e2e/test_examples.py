"""What the documents show is run: the README's example, and each program in examples/."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLES = {
    "hello": "3\nhello, world\n",
    "many_coroutines": "1000 squares, their sum is 332833500\n",
    "periodic": (
        "@every 1s, paused: True\n1.0 second(s) between two\nsales report\ncancelled: ('sales-report',)\nleft: []\n"
    ),
    "progress_and_cancel": "counted to 10\nnever started: 1\ntold to stop: 1\nit stopped\n",
    "retries": "fetched on attempt 2\npublished\nfailed: ZeroDivisionError: division by zero\n",
    "typed_values": ("{'A-1': datetime.timedelta(days=2)}\n(Decimal('7'), Decimal('12.50'))\n"),
}


def run(*args: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"}
    return subprocess.run(
        [sys.executable, *args], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def python_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_example_of_the_readme_runs_and_prints_what_it_says() -> None:
    example = python_blocks(README)[0]
    (promised,) = re.findall(r"print\(.*#\s*(.+)$", example, re.MULTILINE)
    done = run("-c", example)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{promised}\n", "")


def test_the_example_of_the_readme_has_at_most_twenty_lines() -> None:
    example = python_blocks(README)[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 20


SETTING = """
from vecna import Server
server = Server("memory://")
add = server.register_task("add", lambda a, b: a + b)
"""
ENDING = """
with server.new_worker("w", 4):
    print(group.get(timeout=30), chord.get(timeout=30), chain.get(timeout=30), every.code)
"""


def test_the_readme_puts_calls_together_as_it_says() -> None:
    _, composed = python_blocks(README)
    done = run("-c", SETTING + composed + ENDING)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{[2 * i for i in range(10)]} 12 11 daily-add\n"


def test_the_page_of_workflows_prints_what_it_says() -> None:
    (example,) = python_blocks((ROOT / "docs" / "workflows.md").read_text())
    (promised,) = re.findall(r"print\(.*#\s*(.+)$", example, re.MULTILINE)
    done = run("-c", example)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{promised}\n", "")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_and_prints_what_is_expected(name: str) -> None:
    done = run("-m", f"examples.{name}")
    assert (done.returncode, done.stdout) == (0, EXAMPLES[name]), done.stderr
    # Final failures are logged; nothing else is.
    assert [line for line in done.stderr.splitlines() if line.startswith("task ")] == done.stderr.splitlines()[:1]
    assert bool(done.stderr) == ("failed" in done.stdout), done.stderr


def test_every_example_is_run_here() -> None:
    programs = {path.stem for path in (ROOT / "examples").glob("*.py")} - {"__init__"}
    assert programs == set(EXAMPLES)
