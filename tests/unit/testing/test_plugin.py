"""The pytest plugin, in runs of pytest as users have them: in a folder of their own, warnings are errors."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SERVER = """
import datetime as dt
from vecna import Server, TaskContext
server = Server("redis://nowhere.invalid:1/0")

@server.task(retry_count=1)
def welcome(address: str) -> str:
    return f"sent to {address}"

@server.task
async def awelcome(address: str) -> str:
    return f"sent to {address}"

@server.task
def today() -> str:
    return str(dt.date.today())
"""

pytestmark = pytest.mark.slow  # left out by `make unit`

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs pytest in a folder with `app/tasks.py` and the given tests; pyproject.toml has these settings."""

    def run(tests: str, *arguments: str, settings: str = "", **files: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "tasks.py").write_text(SERVER)
        (tmp_path / "test_it.py").write_text(tests)
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        (tmp_path / "pyproject.toml").write_text(
            '[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib", "--strict-markers", "--strict-config", '
            f'"-p", "no:cacheprovider"]\nfilterwarnings = ["error"]\n'
            f'asyncio_mode = "auto"\nasyncio_default_fixture_loop_scope = "function"\n{settings}'
        )
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.getenv("PYTHONPATH", ""),
        }
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


NAMED = 'vecna_server = "app.tasks:server"\n'

SYNC = """
import datetime as dt
import pytest
from app.tasks import server, today, welcome, awelcome

def test_signup(harness):
    r = welcome.send("ada@example.org")
    harness.run()
    assert r.get() == "sent to ada@example.org"
    assert harness.executed("welcome") == 1

def test_begins_anew(harness, vecna_clock):
    assert harness.sent() == []
    assert vecna_clock is harness.clock
    assert vecna_clock.now() == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

@pytest.mark.vecna(now=dt.datetime(2030, 1, 1, tzinfo=dt.UTC), raise_errors=False)
class TestMarked:
    @pytest.mark.vecna(travel="time-machine", seed=7)
    def test_options(self, harness):
        r = today.send()
        harness.fail_next("welcome", OSError(), times=2)
        welcome.send("x")
        harness.run()
        assert r.get() == "2030-01-01"
        harness.advance(days=1)
        assert str(dt.date.today()) == "2030-01-02"

@pytest.mark.parametrize("number", range(20))
def test_in_any_process(harness, number):
    welcome.send(str(number))
    assert harness.run() == 1

def test_the_ports_are_back():
    assert not server._opened
"""

ASYNC = """
import pytest
from app.tasks import awelcome, welcome

async def test_async(harness):
    first, second = await welcome.send_async("a"), await awelcome.send_async("b")
    await harness.advance_async(hours=1, minutes=-1)
    assert await first == "sent to a"
    assert await second == "sent to b"

async def test_sync_calls_in_an_async_test(harness):
    result = await awelcome.send_async("b")
    harness.run()
    assert await result == "sent to b"
"""


def test_it_works_in_sync_and_async_tests_and_over_processes(run: Run) -> None:
    done = run(SYNC, "-n", "2", settings=NAMED, test_async=ASYNC)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "26 passed" in done.stdout


FAILING = """
import pytest
from app.tasks import server, welcome

def test_fails(harness):
    welcome.send("ada")
    harness.fail_next(welcome, OSError("the mail server is away"), times=2)
    harness.advance(minutes=1)

def test_after_it():
    assert not server._opened
    assert not server.clock.virtual
"""


def test_a_failing_task_is_shown_and_the_server_restored(run: Run) -> None:
    done = run(FAILING, settings=NAMED)
    assert "1 failed, 1 passed" in done.stdout
    assert "E       OSError: the mail server is away" in done.stdout
    # The test, and where it came from; nothing of the engine between them.
    assert len(re.findall(r"^\S+\.py:\d+: ?", done.stdout, re.MULTILINE)) <= 2, done.stdout


OVERRIDDEN = """
import pytest
from vecna import Server

@pytest.fixture
def vecna_server():
    server = Server("memory://")
    server.register_task("seven", lambda: 7)
    return server

def test_it(harness, vecna_server):
    r = vecna_server.get_registered_task("seven").send()
    harness.run()
    assert r.get() == 7
"""


def test_a_fixture_takes_the_place_of_the_setting(run: Run) -> None:
    done = run(OVERRIDDEN)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("", 'set vecna_server = "app.module:server" in the pytest settings'),
        (
            'vecna_server = "app.tasks:sever"\n',
            "vecna_server: app.tasks has no 'sever': did you mean app.tasks:server?",
        ),
        ('vecna_server = "app.task:server"\n', "vecna_server: there is no module 'app.task' here"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_said(run: Run, settings: str, message: str) -> None:
    done = run("def test_it(harness): ...", settings=settings)
    assert done.returncode == 1
    assert message in done.stdout


def test_a_wrong_marker_is_said(run: Run) -> None:
    done = run("import pytest\n@pytest.mark.vecna(sed=1)\ndef test_it(harness): ...", settings=NAMED)
    assert "the marker vecna takes the keywords now, seed, raise_errors, travel" in done.stdout


LIGHT = """
import sys

def test_nothing_of_vecna_is_loaded():
    loaded = {name for name in sys.modules if name.startswith("vecna")}
    assert loaded == {"vecna", "vecna.testing", "vecna.testing.plugin"}
"""


def test_runs_that_do_not_use_it_hardly_notice(run: Run) -> None:
    done = run(LIGHT)
    assert done.returncode == 0, done.stdout


DJANGO = """
import asyncio
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from django.contrib.auth.models import User
from django.db import transaction
from django.test import TestCase
from vecna import Server
from vecna.testing import Harness

server = Server("redis://nowhere.invalid:1/0")

@server.task
def rename(key: int, name: str) -> None:
    User.objects.filter(pk=key).update(first_name=name)

@server.task
async def arename(key: int, name: str) -> None:
    await User.objects.filter(pk=key).aupdate(first_name=name)


class SignUp(TestCase):
    def setUp(self):
        self.harness = Harness(server)
        self.addCleanup(self.harness.close)
        self.user = User.objects.create(username="ada")

    def test_a_task_sees_the_transaction_of_the_test(self):
        with self.captureOnCommitCallbacks(execute=True):
            transaction.on_commit(lambda: rename.send(self.user.pk, "Ada"))
        self.harness.run()
        self.user.refresh_from_db()
        self.assertEqual(self.user.first_name, "Ada")

    async def test_async(self):
        await arename.send_async(self.user.pk, "Ada")
        await self.harness.run_async()
        await self.user.arefresh_from_db()
        self.assertEqual(self.user.first_name, "Ada")

    def test_the_next_test_begins_anew(self):
        self.assertEqual(self.harness.sent(), [])
        self.harness.assert_not_sent("rename")


if __name__ == "__main__":
    from django.test.runner import DiscoverRunner
    import sys
    sys.exit(DiscoverRunner(verbosity=0).run_tests(["__main__"]))
"""


def test_djangos_testcase_works_without_pytest(tmp_path: Path) -> None:
    """The harness needs no pytest: it is as good as not installed here."""
    (tmp_path / "pytest.py").write_text("raise ImportError('not here')")
    (tmp_path / "signup.py").write_text(DJANGO)
    done = subprocess.run(
        [sys.executable, "-W", "error", "signup.py"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran 3 tests" in done.stderr
