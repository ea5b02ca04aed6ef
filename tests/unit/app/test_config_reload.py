import gc
import logging
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from vecna.adapters.clock import ManualClock
from vecna.app.config import Config
from vecna.app.config_reload import PERIOD, SETTLE, Reloader

URL = "redis://localhost:6379/0"
SECRET = "c4n4ry"
TIMEOUT = 10.0


class SteppedClock(ManualClock):
    """Each wait is announced, and lasts until `step` or until its event is set."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: queue.Queue[float | None] = queue.Queue()
        self._steps: queue.Queue[None] = queue.Queue()

    def wait(self, event: threading.Event, timeout: float | None = None) -> bool:
        self.waits.put(timeout)
        while not event.is_set():
            try:
                self._steps.get(timeout=0.01)
            except queue.Empty:
                continue
            return event.is_set()
        return True

    def next_wait(self) -> float | None:
        return self.waits.get(timeout=TIMEOUT)

    def step(self) -> None:
        self._steps.put(None)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yml"


@pytest.fixture
def load(file: Path, clock: SteppedClock) -> Iterator[Callable[[str], Config]]:
    """Writes the file and reads it, to be read again whenever the clock is stepped."""
    made: list[Config] = []

    def load(text: str) -> Config:
        file.write_text(text)
        made.append(Config.from_yaml(file, reload=True, clock=clock))
        return made[-1]

    yield load
    for config in made:
        config.close()


def reloader_of(config: Config) -> Reloader:
    assert config._reloader is not None
    return config._reloader


def lines(caplog: pytest.LogCaptureFixture, file: Path) -> list[str]:
    return [record.getMessage().replace(str(file), "FILE") for record in caplog.records]


def test_a_changed_file_is_applied_after_ten_seconds(
    load: Callable[[str], Config], file: Path, clock: SteppedClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = load(f"broker: {URL}\n")
    assert clock.next_wait() == PERIOD == 10

    file.write_text(f"broker: {URL}\nresults_expire_in: 60\nsend_timeout: 5\n")
    assert config.results_expire_in == 3600
    clock.step()
    assert clock.next_wait() == SETTLE
    clock.step()
    assert clock.next_wait() == PERIOD

    assert (config.results_expire_in, config.send_timeout) == (60, 5)
    assert lines(caplog, file) == ["FILE: read again; changed: results_expire_in, send_timeout"]


def test_an_unchanged_file_changes_nothing(
    load: Callable[[str], Config], clock: SteppedClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = load(f"broker: {URL}\npoll_interval: 40\n")
    before = attrs.evolve(config)
    for _ in range(3):
        assert clock.next_wait() == PERIOD
        clock.step()
    clock.next_wait()

    assert config == before
    assert caplog.records == []


def test_a_file_that_is_being_written_is_left_until_it_is_settled(
    load: Callable[[str], Config], file: Path, clock: SteppedClock
) -> None:
    config = load(f"broker: {URL}\n")
    clock.next_wait()
    file.write_text(f"broker: {URL}\npoll_interval: 3")  # the writer has come so far
    clock.step()
    assert clock.next_wait() == SETTLE
    file.write_text(f"broker: {URL}\npoll_interval: 300\n")
    clock.step()
    assert clock.next_wait() == PERIOD
    assert config.poll_interval == 5

    clock.step()
    assert clock.next_wait() == SETTLE
    clock.step()
    assert clock.next_wait() == PERIOD

    assert config.poll_interval == 300


def test_what_needs_a_restart_is_logged_once_and_kept(
    load: Callable[[str], Config], file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = load(f"broker: {URL}\n")
    text = f"""
broker: redis://:{SECRET}@other
namespace: other
default_queue: other
no_unix_signals: true
redis: {{max_active: 5, max_idle: 5}}
lease: 60
poll_interval: 9
"""
    file.write_text(text)
    assert reloader_of(config).look() is True
    file.write_text(f"{text}\n# edited\n")
    assert reloader_of(config).look() is False

    assert (config.broker, config.lock, config.result_backend) == (URL, URL, URL)
    assert (config.namespace, config.default_queue, config.no_unix_signals) == ("vecna", "vecna_tasks", False)
    assert config.redis.max_active == 100
    assert (config.lease, config.heartbeat, config.poll_interval) == (30, 10, 9)
    assert lines(caplog, file) == [
        "FILE: broker, lock, result_backend, default_queue, redis.max_active, no_unix_signals, namespace, "
        "lease, heartbeat "
        "cannot change while running; restart to apply it"
    ]


def test_another_value_that_needs_a_restart_is_logged_again(
    load: Callable[[str], Config], file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = load(f"broker: {URL}\n")
    for name in ("a", "b", "b"):
        file.write_text(f"broker: {URL}\nnamespace: {name}\n# {len(caplog.records)}")
        reloader_of(config).look()

    assert len(caplog.records) == 2


def test_a_bad_file_keeps_the_last_good_settings_and_is_logged_once_per_error(
    load: Callable[[str], Config], file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = load(f"broker: {URL}\npoll_interval: 40\n")
    bad = [
        f"broker: {URL}\npoll_interval: x\n",
        f"broker: {URL}\npoll_interval: x\n",
        f"broker: {URL}\npoll_interval: [\n",
        f"broker: {URL}\npoll_interval: x\n# again\n",
        f"broker: :{SECRET}@h\n",
    ]
    for text in bad:
        file.write_text(text)
        assert reloader_of(config).look() is False
    assert config.poll_interval == 40
    file.write_text(f"broker: {URL}\npoll_interval: 50\n")
    assert reloader_of(config).look() is True

    assert config.poll_interval == 50
    assert lines(caplog, file) == [
        "FILE, line 2: poll_interval must be a number of seconds, above 0, not 'x' (str); "
        "the settings from before stay in force",
        "FILE, line 3: is not YAML: expected the node content, but found ...; the settings from before stay in force",
        "FILE, line 1: broker has no scheme: write a URL such as redis://localhost:6379/0 or memory://; "
        "the settings from before stay in force",
        "FILE: is good again",
        "FILE: read again; changed: poll_interval",
    ]


def test_an_error_that_comes_back_after_a_good_file_is_logged_again(
    load: Callable[[str], Config], file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = load(f"broker: {URL}\n")
    for text in ("poll_interval: 1", f"broker: {URL}\n", "poll_interval: 1"):
        file.write_text(text)
        reloader_of(config).look()

    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_a_file_that_vanishes_and_returns_is_logged_once_each(
    load: Callable[[str], Config], file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    text = f"broker: {URL}\npoll_interval: 40\n"
    config = load(text)
    file.unlink()
    reloader_of(config).look()
    reloader_of(config).look()
    file.write_text(text)
    reloader_of(config).look()
    reloader_of(config).look()

    assert config.poll_interval == 40
    assert lines(caplog, file) == [
        "FILE: cannot be read: No such file or directory; the settings from before stay in force",
        "FILE: is good again",
    ]


def test_the_thread_goes_on_after_a_bad_file(load: Callable[[str], Config], file: Path, clock: SteppedClock) -> None:
    config = load(f"broker: {URL}\n")
    clock.next_wait()
    file.unlink()
    clock.step()
    assert clock.next_wait() == PERIOD
    file.write_text(f"broker: {URL}\npoll_interval: 50\n")
    clock.step()
    assert clock.next_wait() == SETTLE
    clock.step()
    clock.next_wait()

    assert config.poll_interval == 50


def test_a_setting_taken_out_of_the_file_returns_to_its_default(load: Callable[[str], Config], file: Path) -> None:
    config = load(f"broker: {URL}\npoll_interval: 40\npark_limit: 3\n")
    file.write_text(f"broker: {URL}\n")
    reloader_of(config).look()

    assert (config.poll_interval, config.park_limit) == (5, None)


def test_all_changes_appear_in_one_step(load: Callable[[str], Config], file: Path) -> None:
    config = load(f"broker: {URL}\npark_limit: 0\nmax_deliveries: 1\n")
    seen: set[tuple[int, int]] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            state = vars(config)  # one reading
            seen.add((state["park_limit"], state["max_deliveries"]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for limit in (1, 2, 3, 4) * 5:
        file.write_text(f"broker: {URL}\npark_limit: {limit}\nmax_deliveries: {limit + 1}\n")
        reloader_of(config).look()
    stop.set()
    watcher.join(TIMEOUT)

    assert seen <= {(limit, limit + 1) for limit in range(5)}
    assert len(seen) > 1


def test_close_ends_the_thread_and_may_be_repeated(load: Callable[[str], Config], file: Path) -> None:
    config = load(f"broker: {URL}\n")
    thread = reloader_of(config)._thread
    assert thread.is_alive()
    assert thread.daemon
    config.close()
    config.close()

    assert not thread.is_alive()
    file.write_text(f"broker: {URL}\npoll_interval: 50\n")
    assert reloader_of(config).look() is False


def test_the_thread_ends_when_nobody_holds_the_settings(file: Path) -> None:
    file.write_text(f"broker: {URL}\n")
    config = Config.from_yaml(file, reload=True)
    thread = reloader_of(config)._thread
    del config
    gc.collect()
    thread.join(TIMEOUT)

    assert not thread.is_alive()


def test_without_reload_there_is_no_thread(file: Path) -> None:
    file.write_text(f"broker: {URL}\n")
    before = threading.active_count()
    config = Config.from_yaml(file)

    assert threading.active_count() == before
    assert config._reloader is None


FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of forking with threads
from pathlib import Path
from vecna.app.config import Config
file = Path(sys.argv[1])
config = Config.from_yaml(file, reload=True)
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
assert config._reloader._thread.is_alive()
file.write_text(file.read_text() + "poll_interval: 50\\n")
assert config._reloader.look()
assert config.poll_interval == 50
config.close()
os._exit(0)
"""


def test_a_forked_child_has_a_thread_of_its_own(file: Path) -> None:
    file.write_text(f"broker: {URL}\n")
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(file)], check=False, capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")
