"""Processes on one SQLite file: one is killed in the middle of work; the file is locked, full, or none of ours."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_demo import columns, demo
from vecna import BrokerUnavailable, Chord, Config, ConfigError, Group, Server, State
from vecna.ports import Message
from vecna_sqlite import connect

ROOT = Path(__file__).parents[2]
MEMBERS = 120
KILLED_AFTER = 40
LEASE = 1.0  # seconds; what a killed worker held is there again after it
PATIENCE = 30.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/tasks.db"


@pytest.fixture
def server(url: str) -> Iterator[Server]:
    with Server(Config(broker=url, lease=LEASE, heartbeat=LEASE / 4)) as server:
        yield server


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Any]:
    """What workers tell, line by line."""
    os.mkfifo(tmp_path / "pipe")
    with os.fdopen(os.open(tmp_path / "pipe", os.O_RDWR), "r") as pipe:  # for writing too: it never ends
        yield pipe


@pytest.fixture
def start(url: str, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    workers: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> subprocess.Popen[bytes]:
        settings = {"VECNA_BROKER": url, "VECNA_LEASE": str(LEASE), "VECNA_HEARTBEAT": str(LEASE / 4)}
        command = [sys.executable, "-m", "vecna", "worker", "tests.faults.sqlite_app:server", "--name", name]
        options = ["--queues", "vecna_tasks,parts", "--concurrency", "4"]
        environment = {**os.environ, **settings, "PIPE": str(tmp_path / "pipe")}
        workers.append(subprocess.Popen(command + options, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()


def test_what_a_killed_process_held_another_completes(server, lines, start, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PIPE", str(tmp_path / "pipe"))
    monkeypatch.setenv("VECNA_BROKER", "memory://")  # of the module's own server, which is used for its signatures only
    from tests.faults.sqlite_app import after, part, total

    victim = start("victim")
    calls = [part.signature(number) for number in range(MEMBERS)]
    chord = server.send_chord(Chord(Group(calls), total.s()))
    singles = server.send_tasks([part.signature(1000 + n).replace(on_success=[after.s()]) for n in range(MEMBERS)])
    told = [lines.readline().split() for _ in range(KILLED_AFTER)]
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    start("heir")

    assert chord.get(PATIENCE) == sum(range(MEMBERS))
    assert [handle.get(PATIENCE) for handle in singles] == [1000 + n for n in range(MEMBERS)]
    while sum(words[0] == "after" for words in told) < MEMBERS or not any(words[0] == "total" for words in told):
        told.append(lines.readline().split())

    runs = Counter((kind, number) for kind, number, _ in told)
    mine = Counter((kind, number) for kind, number, worker in told if worker == "victim")
    everything = {("part", str(n)) for n in (*range(MEMBERS), *range(1000, 1000 + MEMBERS))}
    everything |= {("after", str(1000 + n)) for n in range(MEMBERS)} | {("total", str(MEMBERS))}
    assert set(runs) == everything
    assert all(count <= 2 for count in runs.values())
    assert all(mine[run] == 1 for run, count in runs.items() if count == 2), "twice, and the killed one had it not"
    assert 0 < sum(mine.values()) < len(everything)
    states = server.backend.get_states([handle.uuid for handle in singles])
    assert {state and state.state for state in states} == {State.SUCCESS}
    counts = [server.broker.counts(queue) for queue in server.broker.queues()]
    assert sum(each.pending + each.delayed + each.ending + each.dead + each.held for each in counts) == 0


def test_the_demo_runs_on_it_in_two_processes(url: str, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(20):
        (texts / f"{number}.txt").write_text("one two\nthree\n")

    done = demo(DEMO_PATH=str(texts), REDIS=url)

    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert columns(done.stdout, "all") == ["20", "40", "60", "280"]
    assert "on sqlite://, 2 worker processes" in done.stdout


# -- files that cannot be used -----------------------------------------------------------------------------------------


def test_a_url_that_names_no_file_is_refused(tmp_path: Path) -> None:
    for wrong, word in (
        ("sqlite://tasks.db", "absolute path"),
        ("sqlite:///a.db?mode=ro", "without a query"),
        (f"sqlite://{tmp_path}", "is a folder"),
        (f"sqlite://{tmp_path}/none/tasks.db", "does not exist"),
    ):
        with pytest.raises(ConfigError, match=word), Server(wrong) as server:
            server.broker.queues()


def test_a_file_of_another_kind_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database at all, but long enough to have a head of its own\n" * 20)
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE theirs (a)")
    other.close()

    for name, word in (("text.db", "no SQLite database"), ("other.db", "another program")):
        before = (tmp_path / name).read_bytes()
        with Server(f"sqlite://{tmp_path}/{name}") as server, pytest.raises(ConfigError, match=f"{name}.*{word}"):
            server.broker.queues()
        assert (tmp_path / name).read_bytes() == before


def test_a_file_belongs_to_one_namespace(server: Server, url: str) -> None:
    server.broker.queues()

    with Server(Config(broker=url, namespace="other")) as other, pytest.raises(ConfigError, match=r"'vecna'.*'other'"):
        other.broker.queues()


def test_a_file_that_others_lock_is_waited_for(server: Server, tmp_path: Path, monkeypatch) -> None:
    """A writer that takes its time delays; one that never ends is an outage that may be retried."""
    server.broker.queues()
    monkeypatch.setattr("vecna_sqlite.database._TRIES", 20)
    rival = sqlite3.connect(tmp_path / "tasks.db", isolation_level=None)
    rival.execute("BEGIN IMMEDIATE")

    with pytest.raises(BrokerUnavailable, match=r"tasks\.db is locked"):
        server.broker.enqueue([Message("a", "q", b"")])
    assert server.broker.queues() == [], "who only reads waits for nobody"
    rival.execute("ROLLBACK")
    rival.close()

    assert server.broker.enqueue([Message("a", "q", b"")]) == [True]


def test_a_full_disk_loses_nothing_that_was_accepted(server: Server, tmp_path: Path) -> None:
    server.broker.enqueue([Message("before", "q", b"")])
    size = sum(path.stat().st_size for path in tmp_path.iterdir() if path.is_file())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, hard))
    try:
        with pytest.raises(BrokerUnavailable, match="room on the disk"):
            server.broker.enqueue([Message(f"t{number}", "q", bytes(50_000)) for number in range(10)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)

    assert server.broker.locate(["before"]) != [None]
    assert server.broker.enqueue([Message("after", "q", b"")]) == [True]


def test_the_clock_is_the_one_that_it_was_given(url: str) -> None:
    with Server(url) as server:
        assert connect(url, Config(broker=url), server.clock).clock is server.clock
