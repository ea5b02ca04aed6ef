"""`make demo`, as a user runs it: on memory, on Redis with worker processes, and with settings that cannot work."""

import io
import os
import re
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from examples.demo.files import Found, text_files
from examples.demo.job import Outcome
from examples.demo.report import faults
from examples.demo.screen import Screen
from examples.demo.tasks import TextStatistics
from tests.servers import RedisServer
from vecna import TaskFailed

ROOT = Path(__file__).parents[2]


def demo(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty-one texts of two kinds, and things that are none."""
    for number in range(20):
        (tmp_path / f"{number}.txt").write_text("one two\nthree\n")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "poem.md").write_text("äöü ß\n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\0")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "secret.txt").write_text("not to be read")
    return tmp_path


def columns(output: str, kind: str) -> list[str]:
    (row,) = re.findall(rf"^{re.escape(kind)} +([\d, ]+)$", output, re.MULTILINE)
    return row.split()


def test_the_demo_on_memory_does_the_whole_job(folder: Path) -> None:
    done = demo(DEMO_PATH=str(folder))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert columns(done.stdout, ".txt") == ["20", "40", "60", "280"]
    assert columns(done.stdout, "all") == ["21", "41", "62", "290"]
    assert "files 21/21" in done.stdout
    assert "succeeded on attempt 3" in done.stdout
    assert "'hello, later'" in done.stdout
    assert "all is right" in done.stdout
    assert not set("\r\x1b") & set(done.stdout), "no terminal, so no rewriting"


def test_the_demo_takes_the_repository_if_it_is_given_no_folder() -> None:
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"text files of {ROOT}" in done.stdout
    assert int(columns(done.stdout, ".py")[0].replace(",", "")) > 50


def test_the_demo_on_redis_runs_in_worker_processes(folder: Path, redis_server: RedisServer) -> None:
    done = demo(DEMO_PATH=str(folder), REDIS=redis_server.url)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert columns(done.stdout, "all") == ["21", "41", "62", "290"]
    assert "2 worker processes" in done.stdout
    (by,) = re.findall(r"^run by: (.*)$", done.stdout, re.MULTILINE)
    shares = {name: int(count) for name, count in (part.split() for part in by.split(", "))}
    assert set(shares) <= {"demo-1", "demo-2"}
    assert sum(shares.values()) == 23


@pytest.mark.parametrize("name", ["nowhere", "0.txt", ".hidden/empty"])
def test_a_folder_that_cannot_be_used_is_named_with_the_remedy(name: str, folder: Path) -> None:
    (folder / ".hidden/empty").mkdir()
    done = demo(DEMO_PATH=str(folder / name))
    assert done.returncode == 2
    assert done.stderr.startswith(f"DEMO_PATH: {folder / name} ")
    assert "make demo DEMO_PATH=" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_redis_that_does_not_answer_is_named_without_its_password(folder: Path) -> None:
    with socket.socket() as bound:  # and not listening: connections are refused
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        done = demo(DEMO_PATH=str(folder), REDIS=f"redis://:hush-hush@{address}/0")
    assert done.returncode == 2
    assert done.stderr.startswith("REDIS: ")
    assert address in done.stderr
    assert "hush-hush" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_redis_url_that_is_none_is_named(folder: Path) -> None:
    done = demo(DEMO_PATH=str(folder), REDIS="localhost")
    assert done.returncode == 2
    assert done.stderr.startswith("REDIS: ")
    assert "redis://" in done.stderr
    assert "Traceback" not in done.stderr


# -- the parts that make it end with 0 only if all is right ------------------------------------------------------------


@pytest.fixture
def found(folder: Path) -> Found:
    return text_files(folder)


@pytest.fixture
def right(found: Found) -> Outcome:
    statistics = {path: TextStatistics(2, 3, 14) for path in found.files if path.suffix == ".txt"}
    statistics |= {path: TextStatistics(1, 2, 10) for path in found.files if path.suffix == ".md"}
    return Outcome(dict(statistics), 3, "hello, later", 2.1, 3.0, Counter())


def test_what_is_right_has_no_faults(right: Outcome, found: Found) -> None:
    assert not list(faults(right, found))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"repeated": 2}, "fails twice"),
        ({"repeated": TaskFailed("ConnectionError: on purpose")}, "on purpose"),
        ({"greeting": "hello"}, "hello, later"),
        ({"greeting_after": 1.9}, "before its 2 s were over"),
    ],
)
def test_each_fault_is_said(changes: dict[str, object], said: str, right: Outcome, found: Found) -> None:
    for name, value in changes.items():
        setattr(right, name, value)
    (fault,) = faults(right, found)
    assert said in fault


@pytest.mark.parametrize("wrong", [TextStatistics(2, 3, 15), TaskFailed("OSError: gone")])
def test_a_file_that_was_measured_wrongly_is_named(
    wrong: TextStatistics | TaskFailed, right: Outcome, found: Found, folder: Path
) -> None:
    right.statistics[folder / "7.txt"] = wrong
    (fault,) = faults(right, found)
    assert fault.startswith(f"{folder / '7.txt'}: ")


def test_a_file_that_was_changed_meanwhile_is_no_fault(right: Outcome, found: Found, folder: Path) -> None:
    (folder / "7.txt").write_text("rewritten while the demo ran")
    (folder / "8.txt").unlink()
    assert not list(faults(right, found))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_one_line_that_is_rewritten() -> None:
    out = Terminal()
    screen = Screen(lambda: 0.0, out)
    screen.progress("files 1/3")
    screen.progress("files 3/3", last=True)
    assert out.getvalue() == "\r\x1b[2Kfiles 1/3\r\x1b[2Kfiles 3/3\n"


def test_elsewhere_a_line_is_shown_each_second_and_at_the_end() -> None:
    out, now = io.StringIO(), iter([0.0, 0.0, 0.0, 0.5, 1.5, 1.5, 1.6])
    screen = Screen(lambda: next(now), out)
    for number in range(3):
        screen.progress(f"files {number}/3")
    screen.progress("files 3/3", last=True)
    assert out.getvalue() == "files 0/3\nfiles 2/3\nfiles 3/3\n"
