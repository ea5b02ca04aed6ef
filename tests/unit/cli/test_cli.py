import gc
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vecna.bootstrap import Server
from vecna.cli import main
from vecna.cli import worker as command
from vecna.domain.errors import BrokerUnavailable, WorkerAborted

MODULE = """
from vecna.bootstrap import Server

class Box:
    server = Server("memory://inner")

server = Server("memory://")
box = Box()
number = 7
"""

Run = Callable[..., tuple[int, str, str]]


class StubWorker:
    """Stands in for the worker, which has tests of its own: only how it is made and launched matters here."""

    made: list[dict[str, Any]]
    ends_with: BaseException | None = None

    def launch(self) -> None:
        if StubWorker.ends_with is not None:
            raise StubWorker.ends_with


@pytest.fixture(autouse=True)
def _stub_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    StubWorker.made, StubWorker.ends_with = [], None

    def new_worker(server: Server, name: str, concurrency: int = 0, queues: Any = None) -> StubWorker:
        StubWorker.made.append({"server": server, "name": name, "concurrency": concurrency, "queues": queues})
        return StubWorker()

    monkeypatch.setattr(Server, "new_worker", new_worker)


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    root, vecna = logging.getLogger(), logging.getLogger("vecna")
    before = (root.level, root.handlers[:], vecna.level)
    yield
    root.setLevel(before[0])
    for handler in root.handlers[:]:
        if handler not in before[1]:
            root.removeHandler(handler)
    vecna.setLevel(before[2])


@pytest.fixture(autouse=True)
def _collector_restored() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs the command line in a folder with `app/tasks.py`; gives exit status, output and errors."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("")
    (tmp_path / "app" / "tasks.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    known = set(sys.modules)

    def run(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(args)
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    yield run
    for name in set(sys.modules) - known:
        if name.split(".")[0] == "app":
            del sys.modules[name]


def test_a_worker_is_made_of_the_options(run: Run) -> None:
    status, out, err = run("worker", "app.tasks:server", "--name", "n", "--queues", "a, b", "--concurrency", "3")

    assert (status, out, err) == (0, "", "")
    (made,) = StubWorker.made
    assert made["server"] is sys.modules["app.tasks"].server
    assert (made["name"], made["concurrency"], made["queues"]) == ("n", 3, ["a", "b"])


def test_left_out_options_have_their_defaults(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_cores", lambda: 3)
    monkeypatch.setattr("socket.gethostname", lambda: "-my host")
    monkeypatch.setattr("os.getpid", lambda: 42)
    assert run("worker", "app.tasks:server")[0] == 0

    (made,) = StubWorker.made
    assert (made["name"], made["concurrency"], made["queues"]) == ("my-host-42", 6, None)


def test_concurrency_0_means_no_limit_and_is_passed_on(run: Run) -> None:
    assert run("worker", "app.tasks:server", "--concurrency", "0")[0] == 0

    assert StubWorker.made[0]["concurrency"] == 0


def test_a_group_is_made_of_the_options(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_cores", lambda: 4)
    groups: list[tuple[Any, ...]] = []

    def new_worker_group(_: Server, *args: Any, **more: Any) -> StubWorker:
        groups.append((*args, more))
        return StubWorker()

    monkeypatch.setattr(Server, "new_worker_group", new_worker_group)
    assert run("worker", "app.tasks:server", "--name", "n", "--processes", "3")[0] == 0
    assert run("worker", "app.tasks:server", "--name", "n", "--processes", "1", "--concurrency", "0")[0] == 0

    more = {"target": "app.tasks:server", "log_level": "info"}
    assert groups == [("n", 3, 3, None, more), ("n", 1, 0, None, more)]  # twice the cores, over all processes


def test_a_group_on_memory_is_refused(run: Run) -> None:
    status, _, err = run("worker", "app.tasks:server", "--processes", "2")

    assert status == 2
    assert err.startswith("vecna: a worker group has several processes, and memory:// is inside of one: configure")


def test_nothing_is_collected_while_modules_are_loaded(run: Run, tmp_path: Path) -> None:
    (tmp_path / "app" / "looking.py").write_text("import gc\nfrom app.tasks import *\nseen = gc.get_threshold()\n")
    gc.set_threshold(700, 10, 10)
    assert run("worker", "app.looking:server")[0] == 0

    assert sys.modules["app.looking"].seen == (100_000, 10, 10)
    assert gc.get_threshold() == (10_000, 10, 10)


def test_what_the_program_says_of_collections_while_it_is_loaded_stands(run: Run, tmp_path: Path) -> None:
    (tmp_path / "app" / "setting.py").write_text("import gc\nfrom app.tasks import *\ngc.set_threshold(800, 5, 5)\n")
    gc.set_threshold(700, 10, 10)
    assert run("worker", "app.setting:server")[0] == 0

    assert gc.get_threshold() == (800, 5, 5)
    assert gc.get_freeze_count() == 0


def test_garbage_is_collected_less_often_unless_the_program_has_said_how_often(run: Run) -> None:
    gc.set_threshold(700, 10, 10)
    run("worker", "app.tasks:server")
    assert gc.get_threshold() == (10_000, 10, 10)
    assert gc.get_freeze_count() > 0

    gc.set_threshold(50_000, 20, 20)
    run("worker", "app.tasks:server")
    assert gc.get_threshold() == (50_000, 20, 20)


def test_the_server_may_be_an_attribute_of_an_attribute(run: Run) -> None:
    assert run("worker", "app.tasks:box.server")[0] == 0

    assert StubWorker.made[0]["server"] is sys.modules["app.tasks"].Box.server


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["app.tasks"], "write it as module:name, e.g. app.tasks:server, not 'app.tasks'"),
        (["app.tasks:"], "write it as module:name"),
        ([":server"], "write it as module:name"),
        (["app.tasks:server:x"], "write it as module:name"),
        (["app-tasks:server"], "write it as module:name"),
        (["app/tasks.py:server"], "not 'app/tasks.py:server': a module, no file: app.tasks:server"),
        (["nothing.here:server"], "there is no module 'nothing' here"),
        (["app.nothing:server"], "there is no module 'app.nothing' here"),
        (["app.tasks.deeper:server"], "there is no module 'app.tasks.deeper' here"),
        (["app.tasks:sever"], "app.tasks has no 'sever': did you mean app.tasks:server?"),
        (["app.tasks:xyzzy"], "app.tasks has no 'xyzzy': did you mean app.tasks:server?"),
        (["app.tasks:box.nothing"], "app.tasks has no 'box.nothing'"),
        (["app.tasks:number"], "app.tasks:number is no vecna.Server, but of type int: did you mean app.tasks:server?"),
        (["app.tasks:server", "--queues", "a,,b"], "a name is missing in 'a,,b': write --queues a,b"),
        (["app.tasks:server", "--concurrency", "many"], "'many' is not a valid integer"),
        (["app.tasks:server", "--concurrency", "-1"], "-1 is not in the range x>=0"),
        (["app.tasks:server", "--processes", "0"], "0 is not in the range x>=1"),
        (["app.tasks:server", "--log-level", "loud"], "'loud' is not one of"),
        (["app.tasks:server", "--nothing"], "No such option '--nothing'"),
        ([], "Missing argument 'MODULE:SERVER'"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(run: Run, args: list[str], message: str) -> None:
    status, out, err = run("worker", *args)

    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("vecna: ")
    assert message in err
    assert StubWorker.made == []


def test_an_error_inside_the_users_module_shows_its_traceback_and_nothing_of_ours(run: Run, tmp_path: Path) -> None:
    (tmp_path / "app" / "broken.py").write_text("import json\nimport app.deeper\n")
    (tmp_path / "app" / "deeper.py").write_text("def fail():\n    raise KeyError('their own')\n\nfail()\n")
    status, _, err = run("worker", "app.broken:server")

    assert status == 1
    assert err.startswith("Traceback")
    assert "KeyError: 'their own'" in err
    assert "vecna/cli" not in err
    assert "importlib/__init__" not in err
    assert err.splitlines()[1].strip().startswith(f'File "{tmp_path}/app/broken.py", line 2')
    assert err.splitlines()[-1] == "vecna: importing app.broken failed, see above"


def test_a_module_that_the_users_module_does_not_find_is_their_traceback(run: Run, tmp_path: Path) -> None:
    (tmp_path / "app" / "broken.py").write_text("import not_installed\n")
    status, _, err = run("worker", "app.broken:server")

    assert status == 1
    assert "ModuleNotFoundError: No module named 'not_installed'" in err
    assert "vecna/cli" not in err


def test_a_syntax_error_is_their_traceback(run: Run, tmp_path: Path) -> None:
    (tmp_path / "app" / "broken.py").write_text("x = = 1\n")
    status, _, err = run("worker", "app.broken:server")

    assert status == 1
    assert "SyntaxError" in err
    assert "broken.py" in err


def test_a_server_that_is_not_configured_is_one_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VECNA_BROKER", raising=False)
    (tmp_path / "app" / "empty.py").write_text("from vecna.bootstrap import Server\nserver = Server()\n")
    status, _, err = run("worker", "app.empty:server")

    assert status == 2
    assert err.startswith("vecna: app.empty: no broker is configured: set VECNA_BROKER")
    assert err.count("\n") == 1


def test_an_aborted_worker_ends_with_1(run: Run) -> None:
    StubWorker.ends_with = WorkerAborted("2 tasks were handed back")

    assert run("worker", "app.tasks:server") == (1, "", "vecna: 2 tasks were handed back\n")


def test_an_error_of_the_store_is_one_line_and_status_1(run: Run) -> None:
    StubWorker.ends_with = BrokerUnavailable("redis://localhost:6379: too old,\n  needs 7.0")

    assert run("worker", "app.tasks:server") == (1, "", "vecna: redis://localhost:6379: too old, needs 7.0\n")


def test_an_interrupt_where_nobody_handles_it_ends_with_130(run: Run) -> None:
    StubWorker.ends_with = KeyboardInterrupt()

    assert run("worker", "app.tasks:server") == (130, "", "\nvecna: interrupted\n")  # below the ^C


def test_the_level_of_logging_can_be_chosen(run: Run) -> None:
    assert run("worker", "app.tasks:server")[0] == 0
    assert logging.getLogger("vecna").getEffectiveLevel() == logging.INFO
    assert run("worker", "app.tasks:server", "--log-level", "DEBUG")[0] == 0
    assert logging.getLogger("vecna").getEffectiveLevel() == logging.DEBUG


def test_a_worker_loads_no_other_command_and_no_other_adapter() -> None:
    program = """
import sys
from vecna.cli import main
sys.argv = ["vecna", "worker", "--help"]
try:
    main()
except SystemExit:
    print("loaded:", sorted(name for name in sys.modules if name.startswith("vecna.")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    loaded = done.stdout.rpartition("loaded:")[2]
    assert "'vecna.cli.worker'" in loaded
    assert "vecna.app" not in loaded
    assert "vecna.adapters" not in loaded


def test_all_commands_are_listed(run: Run) -> None:
    _, out, _ = run("--help")

    listed = out.partition("Commands:")[2].split("\n")
    names = [line.split()[0] for line in listed if line.strip()]
    assert names == ["periodic", "purge", "queues", "task", "tasks", "worker", "workers"]


def test_help_and_version_are_printed(run: Run) -> None:
    status, out, _ = run("worker", "--help")
    assert status == 0
    assert all(
        word in out for word in ("MODULE:SERVER", "--name", "--queues", "--concurrency", "--processes", "--log-level")
    )
    assert "--supervised" not in out

    status, out, _ = run("--version")
    assert status == 0
    assert out.startswith("vecna")


def test_alone_it_prints_its_commands(run: Run) -> None:
    _, out, err = run()

    assert "worker" in out + err


def test_an_unknown_command_is_one_line(run: Run) -> None:
    status, _, err = run("wroker")

    assert status == 2
    assert err.startswith("vecna: No such command 'wroker'")
    assert err.count("\n") == 1
