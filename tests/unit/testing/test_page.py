"""The page about testing is a project: written into a folder as it stands there, its suite passes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vecna.testing import CrashPoint

PAGE = (Path(__file__).parents[3] / "docs" / "testing.md").read_text()


@pytest.mark.slow
def test_the_project_of_the_page_passes(tmp_path: Path) -> None:
    blocks = re.findall(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == len(re.findall(r"^```\w", PAGE, re.MULTILINE)) >= 12
    for name, text in blocks:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        with file.open("a") as opened:
            opened.write(text)
    with (tmp_path / "pyproject.toml").open("a") as opened:
        opened.write(
            'asyncio_mode = "auto"\nasyncio_default_fixture_loop_scope = "function"\nfilterwarnings = ["error"]\n'
        )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tests = re.findall(r"^ *(?:async )?def test_", PAGE, re.MULTILINE)
    assert f"{len(tests)} passed" in done.stdout


def test_every_crash_point_is_on_the_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ", PAGE, re.MULTILINE)
    assert rows == list(CrashPoint)
