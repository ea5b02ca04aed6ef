"""The thread of a worker that looks after schedules."""

import datetime as dt
import logging
import threading
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests.unit.app.worker.wiring import TestWiring
from vecna.adapters.clock import SystemClock
from vecna.app.config import Config
from vecna.app.context import TaskContext
from vecna.app.schedule_draft import Draft
from vecna.app.when import When
from vecna.app.worker import Worker
from vecna.app.worker.outage import Outage
from vecna.app.worker.scheduling import Scheduling
from vecna.bootstrap import Server
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.schedule import template
from vecna.domain.signature import Signature
from vecna.domain.workflow import Group

pytestmark = pytest.mark.slow  # left out by `make unit`

PATIENCE = 20.0
SECOND = dt.timedelta(seconds=1)


class Runs:
    """Due times and lateness of what has run."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.seen: list[tuple[dt.datetime, dt.timedelta]] = []

    def __call__(self, ctx: TaskContext) -> None:
        assert ctx.due_at is not None
        with self._changed:
            self.seen.append((ctx.due_at, ctx.now() - ctx.due_at))
            self._changed.notify_all()

    def until(self, true: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(true, PATIENCE), self.seen


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture
def server(runs: Runs) -> Server:
    server = Server("memory://")
    server.register_task("tick", runs)
    return server


def test_a_worker_fires_what_is_due_until_it_is_cancelled(server, runs):
    with server.new_worker("w", 2):
        schedule = server.send_periodic_task("@every 1s", Signature("tick"), code="c")
        runs.until(lambda: len(runs.seen) == 3)
        answer = schedule.cancel()
        count = len(runs.seen)
        # Another schedule's runs show that the time of the first one has come and gone.
        server.send_periodic_task("@every 1s", Signature("tick"), code="other")
        other = [due for due, _ in runs.seen]
        runs.until(lambda: len(runs.seen) == count + 2)
        ids = [each.uuid for each in server.get_pending_tasks()]
        server.cancel("other")

    assert answer.schedules == ("c",)
    assert [due - runs.seen[0][0] for due, _ in runs.seen[:3]] == [number * SECOND for number in range(3)]
    assert len(other) == count
    assert not [uuid for uuid in ids if uuid.startswith("c@")]


def test_an_idle_worker_is_on_time(server, runs):
    server.send_periodic_task("@every 1s", Signature("tick"), code="c")
    with server.new_worker("w", 2):
        runs.until(lambda: len(runs.seen) == 3)

    assert min(late for _, late in runs.seen) < dt.timedelta(milliseconds=50)


def test_several_workers_in_one_process_fire_each_once(server, runs):
    server.send_periodic_task("@every 1s", Signature("tick"), code="c", missed="all")
    workers = [server.new_worker(f"w{number}", 1) for number in range(4)]
    for worker in workers:
        worker.start()
    runs.until(lambda: len(runs.seen) == 3)
    for worker in workers:
        worker.quit()

    dues = [due for due, _ in runs.seen]
    assert [due - dues[0] for due in sorted(dues)[:3]] == [number * SECOND for number in range(3)]
    assert len(set(dues)) == len(dues)


def test_it_stores_declared_schedules_when_it_starts(server, runs):
    server.periodic("@every 1s", code="own")(server.get_registered_task("tick"))
    assert server.schedules() == []
    with server.new_worker("w", 1):
        runs.until(lambda: runs.seen)

    assert [schedule.code for schedule in server.schedules()] == ["own"]


#: Whoever is not told finds nothing before the test has given up.
PATIENT: dict[str, Any] = {"poll_interval": 3600, "lease": 3600}


@pytest.fixture
def patient(runs: Runs) -> Server:
    server = Server(Config(broker="memory://", default_queue="own", **PATIENT))
    server.register_task("tick", runs)
    return server


def _looked_twice(server: Server) -> threading.Event:
    """Set when a worker has looked for schedules for the second time: after that it relies on being told."""
    broker: Any = server.broker
    looked, due, twice = iter((False, True)), broker.due_schedules, threading.Event()

    def call(limit=100):
        answer = due(limit)
        if limit and next(looked, True):
            twice.set()
        return answer

    broker.due_schedules = call
    return twice


def test_a_worker_is_told_of_a_schedule_when_it_is_stored_and_when_it_is_resumed(patient, runs):
    idle = _looked_twice(patient)
    with patient.new_worker("w", 2):
        assert idle.wait(PATIENCE)
        schedule = patient.send_periodic_task("@every 1s", Signature("tick"), code="c")
        runs.until(lambda: runs.seen)
        schedule.pause()
        count = len(runs.seen)
        schedule.resume()
        runs.until(lambda: len(runs.seen) > count + 1)
        patient.cancel("c")


def test_a_workflow_tells_the_workers_of_its_first_queue(patient, runs):
    idle = _looked_twice(patient)
    with patient.new_worker("w", 2, queues=["parts"]):
        assert idle.wait(PATIENCE)
        patient.send_periodic_group("@every 1s", Group([Signature("tick", queue="parts")]), code="c")
        runs.until(lambda: runs.seen)
        patient.cancel("c")


def test_a_worker_without_room_looks_by_itself(patient, runs):
    """It does not wait at the doorbell, and its next lease would take the ring away."""
    gate, begun = threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        gate.wait(PATIENCE)

    patient.register_task("block", block)
    fired = threading.Event()
    broker: Any = patient.broker
    fire = broker.fire

    def told(calls):
        answers = fire(calls)
        fired.set()
        return answers

    broker.fire = told
    idle = _looked_twice(patient)
    with patient.new_worker("w", 1):
        assert idle.wait(PATIENCE)
        patient.send_task(Signature("block"))
        assert begun.wait(PATIENCE)
        patient.send_periodic_task("@every 1s", Signature("tick"), code="c")
        assert fired.wait(PATIENCE)
        gate.set()
        patient.cancel("c")


def test_with_a_broker_that_cannot_ring_it_is_found_after_the_poll_interval(runs, monkeypatch):
    server = Server(Config(broker="memory://", poll_interval=2))
    server.register_task("tick", runs)
    monkeypatch.setattr("vecna.app.schedule_book.Ringing", type("Nobody", (), {}))
    idle = _looked_twice(server)
    with server.new_worker("w", 2):
        assert idle.wait(PATIENCE)
        server.send_periodic_task("@every 1s", Signature("tick"), code="c")
        runs.until(lambda: runs.seen)
        server.cancel("c")


def test_an_idle_worker_hardly_looks():
    """Measured by the looks of one that is told nothing."""
    patient, restless = TestWiring.real(**PATIENT), TestWiring.real(**PATIENT)
    with Worker(patient, "w", 1), Loop(restless):
        restless.until(lambda: restless.broker.calls.count("due_schedules") >= 6)  # five seconds

    assert 1 <= patient.broker.calls.count("due_schedules") <= 3


def test_a_setting_turns_the_firing_off(runs):
    quiet = Server(Config(broker="memory://schedules-off", schedules=False))
    loud = Server("memory://schedules-off")
    for each in (quiet, loud):
        each.register_task("tick", runs)
    quiet.periodic("@every 1s", code="own")(quiet.get_registered_task("tick"))
    stored = threading.Event()
    broker: Any = quiet.broker
    put = broker.put_schedule

    def told(*args):
        answer = put(*args)
        stored.set()
        return answer

    broker.put_schedule = told
    asked = threading.Event()
    broker.due_schedules = _noting(broker.due_schedules, asked)
    with quiet.new_worker("quiet", 1):
        assert stored.wait(PATIENCE)
        asked.clear()
        with loud.new_worker("loud", 1, queues=["elsewhere"]):
            runs.until(lambda: runs.seen)  # fired by the one, run by the other

    assert not asked.is_set()


def _noting(method, event):
    def call(limit=100):
        if limit:
            event.set()
        return method(limit)

    return call


# -- on its own --------------------------------------------------------------------------------------------------------


def put(wiring: TestWiring, code: str = "c") -> None:
    """Store a schedule that is due every second."""
    content = template(Signature("tick"))
    draft = Draft(code, "task", When.of("@every 1s", missed="all"), content)
    wiring.broker.put_schedule(draft.record(wiring.clock.now()))


class Loop:
    """The loop in a thread of its own."""

    def __init__(self, wiring: TestWiring) -> None:
        self.lost: list[Exception] = []
        self.outage = Outage("w", wiring.clock, Random(1), self.lost.append)
        self.scheduling = Scheduling(wiring, self.outage)
        self.thread = threading.Thread(target=self.scheduling.loop)

    def __enter__(self) -> "Loop":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.scheduling.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def fired(wiring: TestWiring) -> int:
    return wiring.broker._port.counts("vecna_tasks").pending


@pytest.mark.parametrize("fault", [BrokerUnavailable("away"), RuntimeError("a fault of the adapter")])
def test_it_goes_on_after_whatever_a_port_raises(fault, caplog):
    wiring = TestWiring.real()
    wiring.registry.add("tick", lambda: None, {})
    put(wiring)
    failures = iter([fault] * 3)
    due = wiring.broker._port.due_schedules
    failed = threading.Event()

    def flaky(limit=100):
        error = next(failures, None)
        if error is not None:
            raise error
        failed.set()
        return due(limit)

    wiring.broker._port.due_schedules = flaky
    with caplog.at_level(logging.INFO, "vecna"), Loop(wiring) as loop:
        assert failed.wait(PATIENCE)
        wiring.until(lambda: fired(wiring) >= 2)

    assert len(loop.lost) <= 1
    assert len([line for line in caplog.records if line.levelno >= logging.WARNING]) == 1


def test_what_it_could_not_store_at_first_it_stores_when_the_broker_is_there():
    wiring = TestWiring.real()
    calls: list[float] = []
    stored = threading.Event()

    def store():
        calls.append(SystemClock().monotonic())
        if len(calls) < 3:
            raise BrokerUnavailable("away")
        stored.set()

    wiring = Storing(**{name: getattr(wiring, name) for name in ("config", "clock", "broker", "backend", "called")})
    wiring.store = store
    with Loop(wiring):
        assert stored.wait(PATIENCE)
        wiring.until(lambda: "due_schedules" in wiring.broker.calls)

    assert len(calls) == 3
    assert wiring.begun == 1  # three attempts of one call


class Storing(TestWiring):
    """Parts whose declared schedules are stored by the test."""

    __test__ = False
    store: Callable[[], None]
    begun = 0

    def storing_periodic_tasks(self) -> Callable[[], None]:
        self.begun += 1
        return self.store


def test_with_nothing_planned_it_asks_about_once_a_second():
    wiring = TestWiring.real()
    clock = SystemClock()
    with Loop(wiring):
        began = clock.monotonic()
        wiring.until(lambda: wiring.broker.calls.count("due_schedules") >= 3)
        took = clock.monotonic() - began
        asked = list(wiring.broker.calls)

    assert took > 1.9
    assert asked.count("relay_schedules") == 0  # the look says that nothing waits


def test_a_worker_that_stops_leaves_no_thread():
    server = Server("memory://")
    worker = server.new_worker("gone", 1)
    assert isinstance(worker, Worker)
    worker.start()
    assert [thread for thread in threading.enumerate() if thread.name == "vecna-gone-schedules"]
    worker.quit()

    assert not [thread for thread in threading.enumerate() if thread.name == "vecna-gone-schedules"]
