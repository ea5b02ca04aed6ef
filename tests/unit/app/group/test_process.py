"""A child process, as far as it needs no worker in it."""

import signal
import subprocess
import sys

import pytest

from tests.unit.app.doubles import no_thread
from vecna.adapters.clock import SystemClock
from vecna.app.group.process import ChildProcess


@pytest.mark.parametrize("thread", ["-reports", "-end"])
def test_a_child_that_no_thread_can_watch_is_not_left_behind(monkeypatch: pytest.MonkeyPatch, thread: str) -> None:
    made: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(*args, **more):
        made.append(popen(*args, **more))
        return made[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    no_thread(monkeypatch, thread)
    waiting = [sys.executable, "-c", "import signal; signal.pause()"]

    with pytest.raises(RuntimeError, match="can't start new thread"):
        ChildProcess("g.1", lambda _: waiting, SystemClock(), lambda *_: None, lambda: None)

    assert [process.returncode for process in made] == [-signal.SIGKILL]
