"""Worker groups as real processes on a real Redis: children and supervisors are killed, stopped, held up."""

import datetime as dt
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_worker_processes import LEASE, PATIENCE, QUEUE, ROOT, Scene, WorkerProcess, where
from vecna.domain.errors import TaskFailed
from vecna.domain.signature import Signature
from vecna.ports.values import Standing


class GroupProcess(WorkerProcess):
    """`vecna worker --processes N`: the supervisor; what its children log comes the same way."""

    target = "tests.faults.group_app:server"
    options = ("--processes", "2")

    def until_lines(self, text: str, count: int) -> None:
        """Wait for so many lines, whoever of the group writes them: also when the supervisor is dead."""
        with self._news:
            found = self._news.wait_for(lambda: sum(text in line for line in self.lines) >= count, PATIENCE)
        assert found, self.lines

    def pid(self, child: str) -> int:
        """The process of a child, the latest of that name."""
        self.until_line(f"worker {child} is process")
        (*_, line) = [line for line in self.lines if f"worker {child} is process" in line]
        return int(line.rpartition(" ")[2])

    def close(self) -> None:
        children = [int(line.rpartition(" ")[2]) for line in self.lines if " is process " in line]
        super().close()
        for child in children:
            if _leads_a_session(child):
                os.kill(child, signal.SIGKILL)


def _leads_a_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


class GroupOfOne(GroupProcess):
    options = ("--processes", "1")


class GroupScene(Scene):
    """A scene with groups in it."""

    def group(self, kind: type[GroupProcess] = GroupProcess, concurrency: int = 1, **settings: Any) -> GroupProcess:
        group = kind(self.url, self.control, self.namespace, "g", concurrency, **settings)
        self.workers.append(group)
        return group


@pytest.fixture
def scene(redis_url: str, namespace: str) -> Iterator[GroupScene]:
    scene = GroupScene(redis_url, namespace)
    yield scene
    scene.close()


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    """A pipe for a `clutch`, which lets go when it is written to."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    # Both ends: neither side waits for the other to open it.
    end = os.open(path, os.O_RDWR)
    yield path
    os.close(end)


def let_go(pipe: Path) -> None:
    with pipe.open("wb") as end:
        end.write(b"!")


def test_what_a_killed_child_ran_runs_elsewhere_and_the_child_is_replaced(scene):
    group = scene.group(lease=1000)  # nobody waits for that to run out
    handles = scene.send("hold", 2)
    running = {worker: number for number, worker, _ in (scene.running(), scene.running())}
    assert set(running) == {"g.1", "g.2"}
    os.kill(group.pid("g.1"), signal.SIGKILL)

    number, worker, delivery = scene.running()  # g.2 has its only slot full: it is the new g.1 that runs it
    scene.go(2)

    assert (number, worker, delivery) == (running["g.1"], "g.1", 2)
    assert {handle.get(timeout=PATIENCE) for handle in handles} == {"g.1", "g.2"}
    assert "killed by SIGKILL" in group.until_line("worker g.1 has died")
    group.signal(signal.SIGTERM)
    assert group.ended() == 0


def test_a_task_that_kills_its_child_each_time_becomes_a_dead_letter_and_the_others_run(scene):
    group = scene.group(GroupOfOne, lease=1000, max_deliveries=2)
    (bad,) = scene.send("poison", 1)

    with pytest.raises(TaskFailed, match="died or went silent 2 times"):
        bad.get(timeout=PATIENCE)
    assert scene.send("work", 1)[0].get(timeout=PATIENCE) == 0
    group.until_lines("worker g.1 has died", 2)


def test_children_finish_what_runs_and_end_when_their_supervisor_was_killed(scene):
    group = scene.group()
    handles = scene.send("hold", 3)
    scene.running()
    scene.running()
    group.signal(signal.SIGKILL)
    group.until_lines("stops on the end of its supervisor", 2)
    scene.go(2)

    assert group.ended() == -signal.SIGKILL  # and the log has come to its end: nobody is left to write
    assert [where(scene, handle) for handle in handles].count(None) == 2
    assert [where(scene, handle) for handle in handles].count(Standing.PENDING) == 1


def test_sigterm_to_all_of_the_group_finishes_what_runs(scene):
    group = scene.group()
    handles = scene.send("hold", 3)
    scene.running()
    scene.running()
    for pid in (group.process.pid, group.pid("g.1"), group.pid("g.2")):  # as an init system does it
        os.kill(pid, signal.SIGTERM)
    group.until_lines("stops on an order of its supervisor", 2)
    scene.go(2)

    assert group.ended() == 0
    assert [where(scene, handle) for handle in handles].count(Standing.PENDING) == 1
    assert not any("Traceback" in line for line in group.lines), group.lines


def test_a_second_signal_hands_back_at_once_and_exits_with_1(scene):
    group = scene.group()
    handles = scene.send("hold", 2)
    scene.running()
    scene.running()
    group.signal(signal.SIGINT)
    group.until_line("stops on SIGINT")
    group.signal(signal.SIGINT)

    assert group.ended() == 1
    assert [where(scene, handle) for handle in handles] == [Standing.PENDING] * 2
    assert group.lines[-1].startswith("vecna: worker group g was stopped")
    duration = dt.timedelta(seconds=LEASE)
    lease = scene.server.broker.lease(QUEUE, 2, worker="other", call=1, duration=duration, max_deliveries=5)
    assert [delivery.crashes for delivery in lease.deliveries] == [0, 0]  # handed back: nothing was counted


def test_a_task_that_holds_the_interpreter_for_longer_than_its_lease_keeps_it(scene, pipe):
    group = scene.group()
    handle = scene.server.send_task(Signature("clutch", [str(pipe)]))
    _, worker, _ = scene.running()
    group.until_line(f"worker {worker} was not heard for")  # that is said when the lease is over
    # Leasing ends what has run out.
    assert scene.send("work", 1)[0].get(timeout=PATIENCE) == 0
    assert where(scene, handle) is Standing.LEASED
    let_go(pipe)

    assert handle.get(timeout=PATIENCE) == f"{worker} 1"
    assert not any("has lost the lease" in line for line in group.lines), group.lines


def test_a_run_over_its_hard_limit_costs_its_process_and_counts_as_a_crash(scene, pipe):
    group = scene.group(GroupOfOne, hard_timeout=1)
    stuck = scene.server.send_task(Signature("clutch", [str(pipe)]))
    assert scene.running()[2] == 1

    group.until_line("over its hard limit is clutch")
    group.until_line("worker g.1 has died")  # it might read with its last breath
    let_go(pipe)
    _, worker, delivery = scene.running()

    assert delivery == 2
    assert stuck.get(timeout=PATIENCE) == f"{worker} 2"


def test_a_program_can_run_a_group_itself(scene, monkeypatch):
    for name, value in {"BROKER": scene.url, "NAMESPACE": scene.namespace}.items():
        monkeypatch.setenv(f"VECNA_{name}", value)
    monkeypatch.setenv("CONTROL", scene.control)
    monkeypatch.chdir(ROOT)
    group = scene.server.new_worker_group("g", 1, concurrency=0, target="tests.faults.group_app:server")
    with group:
        assert scene.send("work", 1)[0].get(timeout=PATIENCE) == 0
        (handle,) = scene.send("hold", 1)
        assert scene.running() == (0, "g.1", 1)
        assert not group.quit(timeout=0)
        assert not group.is_running

    assert where(scene, handle) is Standing.PENDING
    assert group.quit()


def test_a_module_that_only_children_cannot_import_ends_the_group_with_one_line(scene, monkeypatch):
    monkeypatch.setenv("BROKEN", "in children")
    monkeypatch.setattr(GroupProcess, "awaited", "starts 1 process")
    group = scene.group(GroupOfOne)

    assert group.ended() == 1
    assert "end before they serve (exit code 1)" in group.lines[-1]
    assert group.lines[-1].startswith("vecna: worker group g stops")
    assert any("nothing to be done" in line for line in group.lines)
