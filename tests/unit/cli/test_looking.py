"""Commands that look into a real server, and stop what is there. No worker serves it unless a test starts one."""

import contextlib
import datetime as dt
import io
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vecna import AsyncResult, Config, Server, Signature, TaskFailed, UnknownSchedule
from vecna.cli import main
from vecna.domain.presence import RunningTask, WorkerRecord

MODULE = """
import vecna

server = vecna.Server(vecna.Config(broker={url!r}, namespace={namespace!r}))
inside = vecna.Server("memory://")
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server(redis_url: str, namespace: str) -> Iterator[Server]:
    with Server(Config(broker=redis_url, namespace=namespace, max_deliveries=1)) as server:

        @server.task
        def add(a: int, b: int) -> int:
            return a + b

        @server.task
        def fail(text: str) -> None:
            raise ValueError(text)

        yield server


@pytest.fixture
def run(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Run]:
    """Runs the command line, configured by the environment; gives exit status, output and errors."""
    monkeypatch.setenv("VECNA_BROKER", redis_url)
    monkeypatch.setenv("VECNA_NAMESPACE", namespace)
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("vecna")
    level = logger.level

    def run(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(args)
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    yield run
    logger.setLevel(level)


def json_of(run: Run, *args: str) -> Any:
    status, out, err = run(*args, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def ended(server: Server, signature: Signature) -> str:
    """Send a task, have a worker bring it to its end; its id."""
    return served(server, server.send_task(signature))


def dead(server: Server, signature: Signature) -> str:
    """Send a task, and have it become a dead letter, as one does whose worker has died; its id."""
    result = server.send_task(signature)
    a_moment = dt.timedelta(milliseconds=1)
    server.broker.lease(result.queue, 1, worker="dies", call=1, duration=a_moment, max_deliveries=1)
    return served(server, result)


def served(server: Server, result: AsyncResult[Any]) -> str:
    with server.new_worker("w-1", 1), contextlib.suppress(TaskFailed):
        result.get(timeout=30)
    return result.uuid


# -- queues and tasks ------------------------------------------------------------------------------------------------


def test_queues_are_counted(server: Server, run: Run) -> None:
    server.send_tasks([Signature("add", [1, 2]), Signature("add", [1, 2], delay=60), Signature("add", queue="slow")])

    status, out, err = run("queues")
    assert (status, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["QUEUE", "PENDING", "DELAYED", "LEASED", "ENDING", "DEAD", "HELD"],
        ["slow", "1", "0", "0", "0", "0", "0"],
        ["vecna_tasks", "1", "1", "0", "0", "0", "0"],
    ]
    assert json_of(run, "queues")[1] == {
        "queue": "vecna_tasks", "pending": 1, "delayed": 1, "leased": 0, "ending": 0, "dead": 0, "held": 0,
    }  # fmt: skip


def test_an_empty_listing_prints_nothing_to_programs_and_says_so_to_people(server: Server, run: Run) -> None:
    assert run("queues") == (0, "", "no queue has ever held a task here\n")
    assert json_of(run, "tasks", "dead") == []
    assert run("periodic", "list") == (0, "", "there is no schedule\n")


def test_pending_tasks_are_listed_without_their_arguments_unless_asked_for(server: Server, run: Run) -> None:
    sent = server.send_tasks([Signature("add", ["hush"], kwargs={"b": 2}, code="mine"), Signature("add", priority=9)])

    status, out, _ = run("tasks", "pending")
    assert status == 0
    assert [line.split() for line in out.splitlines()] == [
        ["UUID", "NAME", "QUEUE", "PRIORITY", "CODE"],
        [sent[1].uuid, "add", "vecna_tasks", "9", "-"],
        [sent[0].uuid, "add", "vecna_tasks", "0", "mine"],
    ]
    assert "hush" not in out
    assert '["hush"]  {"b": 2}' in run("tasks", "pending", "--args")[1]
    shown = json_of(run, "tasks", "pending", "--args")[1]
    assert (shown["uuid"], shown["args"], shown["kwargs"]) == (sent[0].uuid, ["hush"], {"b": 2})


def test_a_listing_is_cut_off_and_says_so(server: Server, run: Run) -> None:
    server.send_tasks([Signature("add", queue=queue) for queue in ("a", "a", "b")])

    status, out, err = run("tasks", "pending", "--queue", "a", "--queue", "b", "--limit", "1")
    assert (status, len(out.splitlines())) == (0, 3)
    assert err == "queue a has more that is pending: only the first 1 are shown (--limit)\n"
    assert [each["queue"] for each in json_of(run, "tasks", "pending", "--all-queues")] == ["a", "a", "b"]
    assert run("tasks", "pending", "--all-queues", "--queue", "a")[0] == 2


def test_delayed_tasks_are_listed_by_when_they_are_due(server: Server, run: Run) -> None:
    due = dt.datetime(2100, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    server.send_tasks([Signature("add", eta=due), Signature("add", delay=60)])

    out = run("tasks", "delayed")[1].splitlines()
    assert out[0].endswith("DUE_AT")
    assert out[2].endswith("2100-01-02 03:04:05Z")
    assert json_of(run, "tasks", "delayed")[1]["due_at"] == "2100-01-02T03:04:05+00:00"


def test_dead_tasks_are_listed_with_the_reason_on_one_line(server: Server, run: Run) -> None:
    uuid = dead(server, Signature("add", ["a\nsecond \x1b[31mline"]))

    status, out, err = run("tasks", "dead", "--args")
    assert (status, err, len(out.splitlines())) == (0, "", 2)
    assert out.splitlines()[1].startswith(uuid)
    assert "its worker died or went silent 1 times while it held the task" in out
    assert r"a\nsecond \u001b[31mline" in out
    (shown,) = json_of(run, "tasks", "dead", "--args")
    assert (shown["uuid"], shown["name"], shown["args"]) == (uuid, "add", ["a\nsecond \x1b[31mline"])
    assert json_of(run, "task", "show", uuid)["stands"] == "dead letter"


# -- one task --------------------------------------------------------------------------------------------------------


def test_a_task_is_shown_where_it_stands(server: Server, run: Run) -> None:
    server.send_task(Signature("add", ["hush"], uuid="t-1", code="mine", queue="slow"))
    server.send_task(Signature("add", uuid="t-2", delay=60))
    server.send_task(Signature("add", uuid="t-3", on_success=Signature("add", uuid="t-4")))

    status, out, err = run("task", "show", "t-1")
    assert (status, err) == (0, "")
    shown = dict(line.split(None, 1) for line in out.splitlines())
    assert shown.pop("created_at")
    assert shown == {
        "uuid": "t-1", "name": "add", "state": "PENDING", "stands": "pending", "queue": "slow", "code": "mine",
    }  # fmt: skip
    assert json_of(run, "task", "show", "t-1", "--args")["args"] == ["hush"]
    assert json_of(run, "task", "show", "t-2")["stands"] == "delayed"
    assert json_of(run, "task", "show", "t-4")["stands"] == "waits for the end of task t-3"


def test_what_has_ended_is_shown_with_its_result_or_error(server: Server, run: Run) -> None:
    good = ended(server, Signature("add", [1, 2]))
    bad = ended(server, Signature("fail", ["x" * 2000]))

    shown = json_of(run, "task", "show", good)
    assert (shown["state"], shown["result"], shown["stands"], shown["worker"]) == ("SUCCESS", 3, "over", "w-1")
    _, out, _ = run("task", "show", bad, "--args")
    assert "FAILURE" in out
    assert "not known: they are kept only as long" in out
    assert f"ValueError: {'x' * 400}" in out
    assert "…" in out
    assert "raise ValueError(text)" in out
    assert "x" * 2000 in json_of(run, "task", "show", bad)["error"]


def test_an_unknown_id_is_one_line(server: Server, run: Run) -> None:
    for command in (["show"], ["cancel"]):
        status, out, err = run("task", *command, "nowhere")
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("vecna: ")
        assert "nowhere" in err
    assert run("task", "show", "no such")[0] == 2


def test_a_task_is_cancelled(server: Server, run: Run) -> None:
    done = ended(server, Signature("add", [1, 2]))
    server.send_tasks([Signature("add", uuid="t-2"), Signature("add", uuid="t-3"), Signature("add", code="mine")])

    assert run("task", "cancel", "t-2") == (0, "t-2  cancelled: it will not start\n", "")
    assert server.result("t-2").get_state().is_canceled
    status, out, err = run("task", "cancel", "t-3", done)
    assert (status, out) == (1, "t-3  cancelled: it will not start\n")
    assert err == f"vecna: task {done} has finished\n"
    assert run("task", "cancel", "--code", "mine")[0] == 0
    assert server.get_pending_tasks() == []


def test_a_dead_task_is_run_again(server: Server, run: Run) -> None:
    uuid = dead(server, Signature("add", [1, 2]))

    status, out, err = run("task", "retry", uuid)
    assert (status, err) == (0, "")
    (waiting,) = server.get_pending_tasks()
    assert out == f"{uuid}  runs again as {waiting.uuid}\n"
    assert json_of(run, "task", "show", waiting.uuid)["retry_of"] == uuid
    assert json_of(run, "tasks", "dead") == []
    status, out, err = run("task", "retry", uuid)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"vecna: no dead letter has the id {uuid}")


# -- emptying a queue -----------------------------------------------------------------------------------------------


def test_a_queue_is_purged_when_it_was_said_so(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    server.send_tasks([Signature("add", uuid="t-1"), Signature("add", delay=60)])

    status, out, err = run("purge", "vecna_tasks")
    assert (status, out) == (2, "")
    assert err.startswith("vecna: 2 tasks wait in queue vecna_tasks: where nobody can be asked, say --yes")
    assert len(server.get_pending_tasks()) == 1
    assert run("purge", "vecna_tasks", "--yes") == (0, "2 tasks of queue vecna_tasks were stopped\n", "")
    assert server.result("t-1").get_state().is_canceled
    assert run("purge", "vecna_tasks")[:2] == (0, "0 tasks of queue vecna_tasks were stopped\n")
    assert run("purge", "nowhere", "--yes") == (1, "", "vecna: there is no queue nowhere; known are: vecna_tasks\n")


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 1), ("", 1)])
def test_a_purge_asks(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str, left: int) -> None:
    server.send_task(Signature("add"))
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))

    status, _, err = run("purge", "vecna_tasks")

    assert status == (1 if left else 0)
    assert "Stop all 1 tasks that wait in queue vecna_tasks? [y/N]" in err
    assert len(server.get_pending_tasks()) == left


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# -- workers --------------------------------------------------------------------------------------------------------


def test_workers_are_listed(server: Server, run: Run) -> None:
    assert run("workers") == (0, "", "no worker is there\n")
    begun = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    running = tuple([RunningTask(f"t-{number}", "add", "mail", begun) for number in range(5)])
    noted = WorkerRecord("u-1", "mail-1", ("mail", "bulk"), 0, begun, "host", 42, held=7, running=running)
    server.broker.note_worker(noted, dt.timedelta(minutes=1))

    status, out, err = run("workers")
    assert (status, err) == (0, "")
    assert out.splitlines()[1].split("  ")[:2] == ["mail-1", "mail,bulk"]
    assert "add t-0, add t-1, add t-2, 2 more" in out
    (shown,) = json_of(run, "workers")
    assert (shown["concurrency"], shown["held"], shown["started_at"]) == (0, 7, begun.isoformat())
    assert [each["uuid"] for each in shown["running"]] == [f"t-{number}" for number in range(5)]


# -- schedules -------------------------------------------------------------------------------------------------------


def test_schedules_are_listed_and_acted_on(server: Server, run: Run) -> None:
    server.send_periodic_task("0 6 * * *", Signature("add", [1, 2]), code="report", timezone="Europe/Berlin")

    (listed,) = json_of(run, "periodic", "list")
    assert (listed["code"], listed["spec"], listed["timezone"], listed["paused"]) == (
        "report", "0 6 * * *", "Europe/Berlin", False,
    )  # fmt: skip
    assert run("periodic", "pause", "report") == (0, "schedule report is paused\n", "")
    assert json_of(run, "periodic", "list")[0]["next_fire_at"] is None
    assert run("periodic", "resume", "report")[0] == 0
    status, out, _ = run("periodic", "trigger", "report")
    assert status == 0
    assert [each.uuid for each in server.get_pending_tasks()] == [out.strip()]
    status, out, _ = run("periodic", "cancel", "report")
    assert (status, out.startswith("schedule report is removed; of what it has sent, 1 will not start")) == (0, True)
    with pytest.raises(UnknownSchedule):
        server.get_schedule("report")
    for action in ("cancel", "trigger", "pause", "resume"):
        status, out, err = run("periodic", action, "report")
        assert (status, out, err.count("\n"), "report" in err) == (1, "", 1, True)


# -- which server ----------------------------------------------------------------------------------------------------


def test_a_server_is_named_by_app_broker_config_or_environment(
    server: Server, run: Run, redis_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.send_task(Signature("add"))
    (tmp_path / "some_app.py").write_text(MODULE.format(url=redis_url, namespace=namespace))
    (tmp_path / "c.yml").write_text(f"broker: {redis_url}\nnamespace: {namespace}\n")
    monkeypatch.setattr(sys, "path", sys.path[:])

    expected = run("queues")
    assert expected[0] == 0
    monkeypatch.delenv("VECNA_BROKER")
    assert run("queues", "--broker", redis_url) == expected
    monkeypatch.delenv("VECNA_NAMESPACE")
    assert run("queues", "--config", "c.yml") == expected
    assert run("queues", "--app", "some_app:server") == expected

    status, out, err = run("queues")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert all(way in err for way in ("--app", "--broker", "--config", "VECNA_BROKER"))
    status, _, err = run("queues", "--app", "some_app:inside")
    assert (status, err.startswith("vecna: what a memory:// server holds")) == (2, True)
    status, _, err = run("queues", "--broker", "nonsense")
    assert (status, "--broker" in err, "VECNA_BROKER" in err) == (2, True, False)
    assert run("queues", "--config", "nowhere.yml")[0] == 2
    assert run("queues", "--config", "c.yml", "--broker", redis_url)[0] == 2


@pytest.mark.parametrize(
    "args", [["queues"], ["tasks", "dead"], ["task", "retry", "x"], ["task", "cancel", "x"], ["periodic", "list"]]
)
def test_a_broker_that_is_away_is_one_line(run: Run, args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("VECNA_BROKER", f"redis://:hush@127.0.0.1:{free.getsockname()[1]}/0")
    status, out, err = run(*args, "--timeout", "0.1")

    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("vecna: ")
    assert "127.0.0.1" in err
    assert "hush" not in err


def test_a_broker_that_does_not_answer_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("VECNA_BROKER", f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        status, out, err = run("queues", "--timeout", "0.1")

    assert (status, out, err.count("\n")) == (1, "", 1)


def test_a_pipe_that_is_closed_early_ends_it_quietly(server: Server, run: Run) -> None:
    server.send_tasks([Signature("add") for _ in range(2000)])
    command = [sys.executable, "-m", "vecna", "tasks", "pending", "--limit", "2000", "--json"]
    # Unbuffered, Python itself would swallow the error.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 1
