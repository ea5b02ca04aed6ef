"""`vecna worker` as a process of its own, on a real Redis."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vecna import Config, Server, Signature, State

TIMEOUT = 60.0

TASKS = """
import os

from vecna import Config, Server

server = Server(Config.from_env())


@server.task
def add(a: int, b: int) -> int:
    return a + b


@server.task
async def whoami() -> int:
    return os.getpid()


@server.task
def hold(started: str, go: str) -> str:
    # Opening a pipe waits for the other side: no looking again and again.
    with open(started, "w") as pipe:
        pipe.write("started")
    with open(go) as pipe:
        return pipe.read()
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def server(redis_url: str, namespace: str) -> Iterator[Server]:
    with Server(Config(broker=redis_url, namespace=namespace)) as server:
        yield server


@pytest.fixture
def start(redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Start]:
    """Starts a command in a folder with `app/tasks.py`, configured by the environment."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("")
    (tmp_path / "app" / "tasks.py").write_text(TASKS)
    environment = {**os.environ, "VECNA_BROKER": redis_url, "VECNA_NAMESPACE": namespace}
    started: list[subprocess.Popen[str]] = []

    def start(*command: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=TIMEOUT)


def vecna(*args: str) -> tuple[str, ...]:
    return (str(Path(sys.executable).with_name("vecna")), "worker", "app.tasks:server", *args)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=TIMEOUT)
    return process.returncode, errors


def pipes(tmp_path: Path) -> tuple[Path, Path]:
    started, go = tmp_path / "started", tmp_path / "go"
    os.mkfifo(started)
    os.mkfifo(go)
    return started, go


@pytest.mark.parametrize("command", [vecna(), (sys.executable, "-m", "vecna", *vecna()[1:])])
def test_a_worker_runs_what_is_sent_and_ends_in_good_order(
    command: tuple[str, ...], start: Start, server: Server
) -> None:
    process = start(*command)

    assert server.send_task(Signature("add", [1, 2])).get(timeout=TIMEOUT) == 3
    assert server.send_task(Signature("whoami")).get(timeout=TIMEOUT) == process.pid
    process.send_signal(signal.SIGTERM)
    status, errors = ended(process)

    assert status == 0, errors
    assert "Traceback" not in errors


def test_it_serves_the_queues_and_has_the_name_that_it_is_told(start: Start, server: Server) -> None:
    process = start(*vecna("--queues", "a,b", "--name", "the-worker", "--concurrency", "1"))
    elsewhere = server.send_task(Signature("add", [0, 0]))
    results = [server.send_task(Signature("add", [1, n], queue=queue)) for n, queue in enumerate("abab")]

    assert [result.get(timeout=TIMEOUT) for result in results] == [1, 2, 3, 4]
    assert results[0].get_state().worker.startswith("the-worker")
    assert elsewhere.get_state().state is State.PENDING
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 0


def test_the_first_signal_lets_it_finish_what_runs(start: Start, server: Server, tmp_path: Path) -> None:
    process = start(*vecna("--concurrency", "1"))
    started, go = pipes(tmp_path)
    running = server.send_task(Signature("hold", [str(started), str(go)]))
    assert started.read_text() == "started"
    process.send_signal(signal.SIGTERM)
    go.write_text("finished")

    assert running.get(timeout=TIMEOUT) == "finished"
    assert ended(process)[0] == 0


def test_the_second_signal_hands_back_what_runs_and_ends_with_1(start: Start, server: Server, tmp_path: Path) -> None:
    process = start(*vecna("--concurrency", "1"))
    started, go = pipes(tmp_path)
    running = server.send_task(Signature("hold", [str(started), str(go)]))
    assert started.read_text() == "started"
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    status, errors = ended(process)

    assert status == 1, errors
    assert errors.splitlines()[-1].startswith("vecna: ")
    assert "Traceback" not in errors
    # Handed back, not lost, and not to be waited for until its lease runs out: another runs it at once.
    other = start(*vecna())
    assert started.read_text() == "started"
    go.write_text("at last")
    assert running.get(timeout=TIMEOUT) == "at last"
    assert running.get_state().attempt == 1
    other.send_signal(signal.SIGTERM)
    assert ended(other)[0] == 0


def test_a_wrong_target_is_one_line(start: Start) -> None:
    process = start(*vecna()[:2], "app.tasks:sever")

    assert ended(process) == (
        2,
        "vecna: app.tasks has no 'sever': did you mean app.tasks:server? (see: vecna worker --help)\n",
    )


def test_the_users_own_import_error_shows_where_it_is(start: Start, tmp_path: Path) -> None:
    (tmp_path / "app" / "broken.py").write_text("import not_installed\n")
    status, errors = ended(start(*vecna()[:2], "app.broken:server"))

    assert status == 1
    assert f'File "{tmp_path}/app/broken.py", line 1' in errors
    assert "vecna/cli" not in errors
