"""The parts of a worker, each by itself."""

import logging
import threading
from collections import deque
from functools import partial
from queue import Queue
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.app.doubles import no_thread
from tests.unit.app.worker.wiring import TestWiring
from vecna.adapters.clock import ManualClock
from vecna.app.delivery_values import Item
from vecna.app.worker.capacity import MOST_UNRECORDED, Capacity
from vecna.app.worker.doorbell import Doorbell
from vecna.app.worker.flusher import MOST_BYTES, MOST_ITEMS, RECORDING, Flusher
from vecna.app.worker.handlers import Handlers, Reporter
from vecna.app.worker.intake import Intake
from vecna.app.worker.outage import LONGEST_PAUSE, Outage
from vecna.app.worker.pace import Pace
from vecna.app.worker.slots import Slots
from vecna.app.worker.timers import Timers
from vecna.domain.arg import TaskResult
from vecna.domain.decide import Succeeded
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.ports.broker import Waiter
from vecna.ports.leaving import Leaving

QUEUE = "vecna_tasks"
PATIENCE = 20.0


# -- pace --------------------------------------------------------------------------------------------------------------


def test_of_an_unknown_task_one_is_taken_for_each_slot():
    pace = Pace()
    pace.saw("q", ["new", "new"])

    assert (pace.unhindered("new"), pace.weight("new"), pace.per_slot("q"), pace.per_slot("other")) == (None, 1, 1, 1)


def test_of_short_tasks_ten_milliseconds_worth_are_taken():
    pace = Pace()
    for _ in range(10):
        pace.learn("short", 0.001)
        pace.learn("long", 5.0)
    pace.saw("q", ["short"] * 10)
    assert (pace.is_short("short"), pace.is_short("long")) == (True, False)
    assert pace.per_slot("q") == pytest.approx(10)

    pace.saw("q", ["short", "long"])
    assert pace.per_slot("q") == pytest.approx(1 / 0.55)
    pace.saw("q", ["long"])
    assert pace.per_slot("q") == 1


def test_the_average_moves_but_one_odd_run_does_not_turn_it_over():
    pace = Pace()
    for _ in range(200):
        pace.learn("task", 0.0001)
    pace.learn("task", 0.05)
    assert pace.is_short("task")

    for _ in range(100):
        pace.learn("task", 0.05)
    assert not pace.is_short("task")


def test_no_more_is_held_than_comes_to_its_end_in_a_moment():
    pace = Pace()
    assert (pace.most(3), pace.most(1000)) == (30, 100)

    for number in range(100):
        pace.ended(100, number * 0.01)  # 10,000 a second
    assert pace.most(10) == pytest.approx(250, rel=0.1)

    pace.ended(1, 50.0)  # after a silence that says nothing about the speed
    assert pace.most(10) == pytest.approx(250, rel=0.1)


# -- timers ------------------------------------------------------------------------------------------------------------


def test_timers_act_in_the_order_of_their_moments():
    sooner: list[int] = []
    timers = Timers(lambda: sooner.append(1))
    acted: list[str] = []
    for moment, name in [(5, "c"), (1, "a"), (9, "d"), (1, "b")]:
        timers.at(moment, partial(acted.append, name))

    assert (len(sooner), timers.next()) == (2, 1)
    for act in timers.take_due(5):
        act()
    assert (acted, timers.next()) == (["a", "b", "c"], 9)


def test_timers_that_were_dropped_neither_act_nor_pile_up():
    timers = Timers(lambda: None)
    acted: list[int] = []
    entries = [timers.at(1000.0 + number, partial(acted.append, number)) for number in range(1000)]
    for entry in entries[1:]:
        timers.drop(entry)
        timers.drop(entry)

    assert len(timers) <= 200
    for act in timers.take_due(5000.0):
        act()
    assert (acted, len(timers)) == ([0], 0)
    timers.drop(entries[0])


# -- outage ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def outage(caplog) -> Outage:
    caplog.set_level(logging.INFO, "vecna")
    return Outage("w1", ManualClock(), Random(1), lost.append)


lost: list[Exception] = []
AWAY = BrokerUnavailable("away")


@pytest.fixture(autouse=True)
def _nothing_lost():
    lost.clear()


def test_pauses_grow_to_their_limit_with_jitter(outage):
    pauses = [outage.failed("a", AWAY) for _ in range(12)]

    for number, pause in enumerate(pauses):
        whole = min(0.1 * 2**number, LONGEST_PAUSE)
        assert whole / 2 <= pause <= whole
    outage.ok("a")
    assert outage.failed("a", AWAY) <= 0.1


def test_an_outage_has_one_line_and_its_end_one_however_many_notice(outage, caplog):
    for source in ("a", "b", "a"):
        outage.failed(source, AWAY)
    outage.failed("late", AWAY, idle=True)
    outage.ok("a")
    assert len(caplog.records) == 1
    outage.ok("b")
    outage.ok("late")

    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert lost == [AWAY]


def test_who_waits_out_a_pause_is_woken_by_who_gets_through(outage):
    event = threading.Event()
    outage.wakes(event)
    outage.failed("a", AWAY)
    outage.failed("b", AWAY)
    outage.ok("unconcerned")
    assert (event.is_set(), outage.recoveries) == (False, 0)

    outage.ok("b")

    assert (event.is_set(), outage.recoveries, outage.is_failing("a")) == (True, 1, True)


def test_a_fault_is_logged_once_with_its_traceback_and_is_no_outage(outage, caplog):
    for _ in range(3):
        outage.failed("a", ValueError("fault"))
    outage.failed("b", AWAY)
    outage.ok("b")

    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING", "INFO"]
    assert lost == [AWAY]


# -- slots -------------------------------------------------------------------------------------------------------------


class Crew:
    """Slots whose runs end when the test says so."""

    def __init__(self, wiring: TestWiring, limit: int, most_threads: int = 100) -> None:
        async def coroutine():
            pass

        wiring.registry.add("function", lambda: None, {})
        wiring.registry.add("coroutine", coroutine, {})
        self._wiring = wiring
        self._deliveries = wiring.deliveries()
        self.pace = Pace()
        self.started: list[Item] = []
        self.can_start = True
        self.changed = threading.Condition()
        self.running: dict[str, threading.Event] = {}
        self._over = False
        self.slots = Slots(limit, most_threads, self.pace, self._run, self._start, "w1")

    def _start(self, items: list[Item]) -> bool:
        if self.can_start:
            self.started.extend(items)
        return self.can_start

    def items(self, name: str, count: int) -> list[Item]:
        self._wiring.send(*[Signature(name) for _ in range(count)])
        runnable, _ = self._deliveries.admit(self._deliveries.lease(QUEUE, count))
        return runnable

    def _run(self, item: Item) -> None:
        event = threading.Event()
        with self.changed:
            if self._over:
                return
            self.running[item.uuid] = event
            self.changed.notify_all()
        assert event.wait(PATIENCE)
        with self.changed:
            del self.running[item.uuid]
            self.changed.notify_all()

    def until(self, running: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.running) == running, PATIENCE), len(self.running)

    def end(self, *items: Item) -> None:
        for item in items:
            self.running[item.uuid].set()

    def close(self) -> None:
        """End all runs, and those that would begin: none may fail in the middle of another test."""
        with self.changed:
            self._over = True
            for event in self.running.values():
                event.set()
        self.slots.stop()


@pytest.fixture
def wiring() -> TestWiring:
    return TestWiring.make()


def test_threads_grow_on_demand_up_to_the_limit_and_are_used_again(wiring):
    crew = Crew(wiring, limit=3)
    first = crew.items("function", 2)
    crew.slots.put(first)
    crew.until(running=2)
    more = crew.items("function", 4)
    crew.slots.put(more)
    crew.until(running=3)
    crew.end(*first)
    crew.until(running=3)
    assert crew.slots._threads == 3
    threads = [thread for thread in threading.enumerate() if thread.name == "vecna-w1-tasks"]

    for item in more:
        with crew.changed:
            assert crew.changed.wait_for(partial(crew.running.__contains__, item.uuid), PATIENCE)
        crew.end(item)
    crew.until(running=0)
    crew.close()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_batch_of_known_short_tasks_wakes_no_more_threads_than_it_is_worth(wiring):
    crew = Crew(wiring, limit=10)
    for _ in range(20):
        crew.pace.learn("function", 0.0001)

    crew.slots.put(crew.items("function", 30))
    crew.until(running=1)

    assert crew.slots._threads == 1
    crew.slots.poke()  # they should have been through by now
    crew.until(running=10)
    crew.close()


def test_tasks_that_only_look_long_since_others_hinder_them_get_no_more_threads(wiring):
    """They wait for the interpreter, and more threads make them wait longer: the quick ones among them tell."""
    crew = Crew(wiring, limit=10)
    for number in range(200):
        crew.pace.learn("function", 0.005 if number % 4 else 0.00002)
    assert crew.pace.weight("function") > 0.3  # as much as one that takes its time

    crew.slots.put(crew.items("function", 30))
    crew.until(running=1)

    assert crew.slots._threads == 1
    crew.close()


def test_tasks_that_take_their_time_each_get_a_thread(wiring):
    crew = Crew(wiring, limit=10)
    for _ in range(200):
        crew.pace.learn("function", 0.00002)
    for _ in range(600):
        crew.pace.learn("function", 0.005)  # not any more

    crew.slots.put(crew.items("function", 10))
    crew.until(running=10)

    crew.close()


def test_threads_may_take_what_is_being_looked_at(wiring, monkeypatch):
    """They take it without a lock; whoever looks must not stumble, or the worker would stop taking work."""
    crew = Crew(wiring, limit=1, most_threads=1)
    crew.slots.put(crew.items("function", 1))
    crew.until(running=1)
    unhindered = crew.pace.unhindered

    def taken_meanwhile(name):
        crew.slots._functions.popleft()
        return unhindered(name)

    with monkeypatch.context() as patch:
        patch.setattr(crew.pace, "unhindered", taken_meanwhile)
        crew.slots.put(crew.items("function", 3))
    assert len(crew.slots._functions) == 2

    class TakenMeanwhile(deque):
        def __bool__(self):
            return True  # as it was when it was asked

    monkeypatch.setattr(crew.slots, "_functions", TakenMeanwhile())
    assert crew.slots.oldest() is None
    crew.close()


def test_functions_and_coroutines_share_the_slots(wiring):
    crew = Crew(wiring, limit=2)
    coroutines = crew.items("coroutine", 3)
    crew.slots.put(coroutines)
    assert crew.started == coroutines[:2]
    functions = crew.items("function", 1)
    crew.slots.put(functions)
    assert crew.running == {}

    assert crew.slots.coroutines_ended(1) == []  # the function's turn: neither kind may starve the other
    crew.until(running=1)
    crew.end(*functions)
    crew.until(running=0)
    with crew.changed:
        assert crew.changed.wait_for(lambda: crew.started == coroutines, PATIENCE)
    crew.close()


@pytest.mark.parametrize("limit", [1, 0])
def test_coroutines_that_cannot_be_started_wait_in_their_order(wiring, limit):
    crew = Crew(wiring, limit, most_threads=1)
    crew.can_start = False
    coroutines, functions = crew.items("coroutine", 3), crew.items("function", 2)
    crew.slots.put(functions[:1])
    crew.until(running=1)
    crew.slots.put(coroutines)
    crew.end(functions[0])  # its thread finds that it cannot start them either, and goes on
    crew.until(running=0)
    crew.slots.put(functions[1:])
    crew.until(running=1)
    crew.end(functions[1])
    crew.until(running=0)
    assert crew.slots._threads == 1

    crew.can_start = True
    crew.slots.poke()
    while len(crew.started) < 3 and limit:
        crew.started += crew.slots.coroutines_ended(1)

    assert crew.started == coroutines
    crew.close()


def test_coroutines_that_cannot_be_started_when_it_is_closed_are_handed_back(wiring):
    crew = Crew(wiring, limit=2)
    coroutines = crew.items("coroutine", 2)

    def closed_meanwhile(_: list[Item]) -> bool:
        crew.slots.close()
        return False

    crew.slots._start = closed_meanwhile

    crew.slots.put(coroutines)

    assert crew.slots.take_late(0.0) == coroutines
    crew.close()


def test_without_a_limit_all_coroutines_start_and_functions_have_the_threads(wiring):
    crew = Crew(wiring, limit=0, most_threads=2)
    crew.slots.put(crew.items("coroutine", 50))
    crew.slots.put(crew.items("function", 3))

    crew.until(running=2)

    assert len(crew.started) == 50
    crew.close()


def test_what_waits_for_too_long_is_taken_out_in_its_order(wiring):
    crew = Crew(wiring, limit=1)
    items = crew.items("function", 4)
    for number, item in enumerate(items):
        item.since = float(number)
    crew.slots.put(items)
    crew.until(running=1)

    assert crew.slots.oldest() == 1.0
    assert crew.slots.take_late(2.0) == items[1:3]
    assert crew.slots.oldest() == 3.0
    assert crew.slots.take_late(9.0) == items[3:]
    crew.end(items[0])
    crew.close()


def test_what_is_closed_starts_nothing_more(wiring):
    """Also not what waits, or comes, in the moment until the intake hands it back."""
    crew = Crew(wiring, limit=1)
    items = [*crew.items("function", 2), *crew.items("coroutine", 1)]
    crew.slots.put(items)
    crew.until(running=1)
    late = crew.items("function", 1)

    crew.slots.close()
    crew.slots.put(late)
    crew.end(items[0])
    crew.until(running=0)
    crew.slots.poke()

    assert crew.slots.coroutines_ended(0) == [] == crew.started
    assert crew.slots.take_late(0.0) == [*items[1:], *late]
    assert crew.slots.take_late(float("inf")) == []
    crew.close()


def test_a_run_counts_as_long_until_it_has_ended(wiring):
    crew = Crew(wiring, limit=4)
    items = crew.items("function", 3)
    for moment, item in zip([0.0, 0.005, 1.0], items, strict=True):
        item.started = moment
        crew.slots.started(item)
    items[1].ended = True

    assert crew.slots.long_running(0.009) == 0
    assert crew.slots.long_running(0.5) == 1
    assert [item.long for item in items] == [True, False, False]
    items[0].ended = True
    assert crew.slots.long_running(0.5) == 0
    assert crew.slots.long_running(2.0) == 1


# -- error handler -----------------------------------------------------------------------------------------------------


def test_what_there_was_no_thread_to_report_is_reported_with_the_next(monkeypatch, caplog):
    told: Queue[object] = Queue()
    handlers = Handlers()
    handlers.error = lambda _, exc: told.put(exc)
    reporter = Reporter("w1", handlers)
    no_thread(monkeypatch, "-reports")
    first, second = BrokerUnavailable("first"), BrokerUnavailable("second")

    reporter.broker_lost(first)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    reporter.broker_lost(second)

    assert [told.get(timeout=PATIENCE) for _ in range(2)] == [first, second]
    reporter.stop(PATIENCE)


# -- flusher -----------------------------------------------------------------------------------------------------------


class Flushing:
    """A flusher in a thread of the test."""

    def __init__(self, wiring: TestWiring) -> None:
        wiring.registry.add("seven", lambda: 7, {})
        self.wiring = wiring
        self.deliveries = wiring.deliveries()
        self.outage = Outage("w1", wiring.clock, Random(1), lost.append)
        self.over: list[Item] = []
        self.flusher = Flusher(self.deliveries, self.outage, wiring.clock, self._flushed)
        self._thread = threading.Thread(target=self.flusher.loop, daemon=True)

    def _flushed(self, over: list[Item]) -> None:
        self.over.extend(over)
        with self.wiring.called:
            self.wiring.called.notify_all()

    def items(self, count: int) -> list[Item]:
        self.wiring.send(*[Signature("seven") for _ in range(count)])
        runnable, _ = self.deliveries.admit(self.deliveries.lease(QUEUE, count))
        return runnable

    def run(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.flusher.stop()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@pytest.fixture
def flushing(wiring) -> Flushing:
    return Flushing(wiring)


def test_what_gathers_goes_in_one_flush_of_bounded_size(flushing):
    items = flushing.items(MOST_ITEMS + 100)
    for item in items:
        flushing.deliveries.run(item)
    flushing.flusher.extend(items[1:])
    flushing.flusher.add(items[0])

    flushing.run()
    flushing.stop()

    assert flushing.over == [*items[1:], items[0]]
    assert flushing.wiring.backend.calls.count("put_states") == 2
    assert flushing.deliveries.held == 0


def test_a_flush_of_large_results_is_cut_by_their_size(flushing):
    items = flushing.items(10)
    large = Succeeded((TaskResult("string", "x" * (MOST_BYTES // 4)),))
    for item in items:
        item.complete(large, None, flushing.wiring.clock.now())
    flushing.flusher.extend(items)

    flushing.run()
    flushing.stop()

    assert flushing.wiring.backend.calls.count("put_states") == 3


def test_states_on_the_way_are_held_back_and_left_out_when_the_end_comes_first(flushing):
    slow, quick, waiting = flushing.items(3)
    clock, flusher = flushing.wiring.clock, flushing.flusher
    for item in (slow, quick, waiting):
        item.since = clock.monotonic()
    flusher.expect([slow, quick, waiting])
    assert flusher.next_note() == pytest.approx(clock.monotonic() + 0.010)
    flushing.deliveries.run(quick)
    slow.started, slow.started_at = clock.monotonic(), clock.now()
    clock.advance(0.010)
    flusher.add(quick)

    flushing.run()
    flushing.stop()

    assert flusher.next_note() is None
    assert flushing.wiring.states(slow.uuid, quick.uuid, waiting.uuid) == [State.STARTED, State.SUCCESS, State.RECEIVED]
    assert flushing.wiring.backend.calls.count("put_states") == 1


def test_what_could_not_be_flushed_is_kept_and_tried_again(flushing):
    items = flushing.items(3)
    for item in items:
        flushing.deliveries.run(item)
    flushing.wiring.backend.down = True
    flushing.flusher.extend(items)
    flushing.run()
    flushing.wiring.until(lambda: flushing.wiring.backend.calls.count("put_states") == 1)
    flushing.wiring.backend.down = False
    flushing.wiring.clock.advance(1)
    flushing.stop()

    assert flushing.over == items
    assert lost != []


def test_a_queue_that_cannot_be_settled_holds_up_no_other_and_is_tried_again(flushing, monkeypatch):
    wiring, flusher = flushing.wiring, flushing.flusher
    (good,) = flushing.items(1)
    wiring.send(Signature("seven", queue="bad"))
    (bad,), _ = flushing.deliveries.admit(flushing.deliveries.lease("bad", 1))
    settle, damaged = wiring.broker.settle, ["bad"]

    def refused(queue, *args):
        if queue in damaged:
            raise BrokerUnavailable("something else is under its key")
        return settle(queue, *args)

    monkeypatch.setattr(wiring.broker, "settle", refused)
    for item in (bad, good):
        flushing.deliveries.run(item)
    flusher.extend([bad, good])
    flushing.run()
    wiring.until(lambda: good.over and flusher.away)

    assert (flusher.away, flushing.outage.is_failing(RECORDING)) == ({"bad"}, False)
    (later,) = flushing.items(1)
    flushing.deliveries.run(later)
    flusher.add(later)
    wiring.until(lambda: later.over)
    assert not bad.over

    damaged.clear()
    wiring.clock.advance(10)
    flushing.stop()
    assert (bad.over, flusher.away, flushing.deliveries.held) == (True, frozenset(), 0)


def test_a_flusher_that_gives_up_tries_what_was_set_aside_once_more(flushing, monkeypatch):
    (item,) = flushing.items(1)
    tries = []

    def refused(*_):
        tries.append(1)
        raise BrokerUnavailable("down")

    monkeypatch.setattr(flushing.wiring.broker, "settle", refused)
    flushing.deliveries.run(item)
    flushing.flusher.add(item)
    flushing.run()
    flushing.wiring.until(lambda: flushing.flusher.away)
    flushing.flusher.stop(give_up=True)
    flushing.stop()

    assert (len(tries), item.over) == (2, False)


def test_a_flusher_that_gives_up_ends_without_the_broker(flushing):
    (item,) = flushing.items(1)
    flushing.deliveries.run(item)
    flushing.wiring.backend.down = True
    flushing.flusher.add(item)
    flushing.flusher.stop(give_up=True)

    flushing.run()
    flushing.stop()

    assert (flushing.over, flushing.deliveries.held) == ([], 1)


def test_an_item_handed_over_twice_is_finished_once(flushing):
    (item,) = flushing.items(1)
    flushing.deliveries.run(item)
    flushing.flusher.add(item)
    flushing.flusher.add(item)
    flushing.run()
    flushing.stop()

    assert flushing.over == [item]
    assert flushing.wiring.broker.calls.count("settle") == 1


# -- capacity ----------------------------------------------------------------------------------------------------------


class Load:
    """Capacity over what a crew holds."""

    def __init__(self, wiring: TestWiring, limit: int, most_threads: int = 100) -> None:
        self.crew = Crew(wiring, limit, most_threads)
        self.clock = wiring.clock
        self.capacity = Capacity(self.crew._deliveries, self.crew.slots, self.crew.pace, wiring.clock)

    def room(self, queue: str = QUEUE) -> int:
        self.capacity.measure()
        return self.capacity.room(queue)

    def start(self, *items: Item) -> None:
        for item in items:
            item.started = self.clock.monotonic()
            self.crew.slots.started(item)

    def know(self, name: str, seconds: float) -> None:
        for _ in range(200):
            self.crew.pace.learn(name, seconds)
        self.crew.pace.saw(QUEUE, [name])


def test_there_is_room_for_one_unknown_task_in_each_slot(wiring):
    load = Load(wiring, limit=4)
    assert load.room() == 4

    load.crew.items("function", 3)

    assert load.room() == 1


def test_what_has_ended_but_is_not_recorded_keeps_its_slot(wiring):
    load = Load(wiring, limit=4)
    load.know("function", 1.0)
    items = load.crew.items("function", 4)
    load.start(*items)
    for item in items:
        item.ended = True

    assert load.room() == 0
    load.crew._deliveries.let_go(items[:1])
    assert load.room() == 1


def test_short_tasks_that_wait_to_be_recorded_leave_room_for_more_up_to_a_bound(wiring):
    load = Load(wiring, limit=4)
    load.know("function", 0.000001)
    for number in range(100):
        load.crew.pace.ended(200, number * 0.01)
    most = load.room()

    ended = load.crew.items("function", most)
    assert load.room() == 0
    load.start(*ended)
    for item in ended:
        item.ended = True
    assert load.room() == most

    for item in load.crew.items("function", MOST_UNRECORDED - most):
        load.start(item)
        item.ended = True
    assert load.room() == 0


def test_slots_of_long_tasks_take_nothing_before_them(wiring):
    load = Load(wiring, limit=4)
    load.know("function", 0.0001)
    assert load.room() == 40  # short ones, but at no known speed
    for number in range(100):
        load.crew.pace.ended(100, number * 0.01)
    assert load.room() > 100

    stuck = load.crew.items("function", 4)
    load.start(*stuck)
    load.clock.advance(1)

    assert load.room() == 0


def test_work_is_fetched_for_the_slot_of_a_long_run_that_is_about_to_end(wiring):
    load = Load(wiring, limit=2)
    load.know("function", 0.050)
    load.start(*load.crew.items("function", 2))
    load.clock.advance(0.030)
    assert load.room() == 0
    assert load.crew.slots.next_free == pytest.approx(load.clock.monotonic() + 0.012)

    load.clock.advance(0.013)
    assert load.room() == 2
    load.crew.items("function", 2)
    assert load.room() == 0  # what waits for these slots is there

    load.clock.advance(0.030)  # they take longer than their likes
    assert load.crew.slots.long_running(load.clock.monotonic()) == 2


def test_nothing_is_fetched_for_a_run_of_which_nobody_knows_when_it_ends(wiring):
    load = Load(wiring, limit=1)
    for seconds in (0.02, 0.08) * 20:
        load.crew.pace.learn("function", seconds)
    load.start(*load.crew.items("function", 1))
    load.clock.advance(0.045)

    assert load.room() == 0
    assert load.crew.slots.next_free is None


def test_of_a_batch_that_turns_out_long_the_excess_goes_back(wiring):
    load = Load(wiring, limit=4)
    load.know("function", 0.0001)
    for number in range(100):
        load.crew.pace.ended(100, number * 0.01)
    load.room()
    items = load.crew.items("function", 10)
    for _ in range(1000):
        load.crew.pace.learn("function", 5.0)

    fitting, excess = load.capacity.fit(QUEUE, items)

    assert (fitting, excess) == (items[:4], items[4:])
    assert load.capacity.room(QUEUE) == 0


def test_coroutines_without_a_limit_need_no_slots(wiring):
    load = Load(wiring, limit=0, most_threads=1)
    stuck = load.crew.items("function", 1)
    load.start(*stuck)
    load.clock.advance(1)
    assert load.room("seen") == 1  # to find out what it holds
    load.crew.pace.saw("seen", [], 3)
    assert load.room("seen") == 100

    load.crew.pace.saw("seen", ["function"], 0)
    assert load.room("seen") == 0


# -- intake ------------------------------------------------------------------------------------------------------------


def test_what_is_to_be_written_since_this_round_wakes_the_flusher():
    """Its note came due while a slow lease was under way. Both would sleep: nothing was taken until something ended."""
    woken: list[bool] = []
    intake: Any = SimpleNamespace(
        _clock=SimpleNamespace(monotonic=lambda: 5.0),
        _slots=SimpleNamespace(oldest=lambda: None),
        _flusher=SimpleNamespace(next_note=lambda: 4.999, wake=lambda: woken.append(True)),
        _listen=lambda _: None,
        _open=False,
    )

    assert Intake._until(intake) is None
    assert woken == [True]


# -- doorbell ----------------------------------------------------------------------------------------------------------


def test_a_doorbell_that_was_stopped_ends_though_it_is_disarmed_after_that():
    wiring = TestWiring.real()
    outage = Outage("w", wiring.clock, wiring.random, lambda *_: None)
    doorbell = Doorbell(wiring.broker.waiter(), [QUEUE], wiring.config, wiring.clock, outage, lambda: None)
    doorbell.arm()
    doorbell.stop()
    doorbell.disarm()

    thread = threading.Thread(target=doorbell.loop, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_doorbell_says_when_waiting_has_failed_since_a_ring_may_have_gone_with_it():
    wiring = TestWiring.real()
    outage = Outage("w", wiring.clock, wiring.random, lambda *_: None)
    waiter, failed = wiring.broker.waiter(), [AWAY]
    wait, missed = waiter.wait, threading.Event()

    def flaky(queues, timeout):
        if failed:
            raise failed.pop()
        wait(queues, timeout)

    waiter.wait = flaky
    doorbell = Doorbell(waiter, [QUEUE], wiring.config, wiring.clock, outage, lambda: None, missed=missed.set)
    doorbell.arm()
    thread = threading.Thread(target=doorbell.loop, daemon=True)
    thread.start()
    assert missed.wait(PATIENCE)
    doorbell.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()


class Lingering(Waiter, Leaving):
    """Still asks for work at other queues when a wait is over."""

    def __init__(self, *, took: bool = False) -> None:
        self.took = took
        self.asks = False
        self.did: list[str] = []

    def wait(self, queues, timeout):
        self.did.append("wait")
        self.asks = True

    def wake(self):
        self.did.append("wake")

    def close(self):
        pass

    def lingers(self):
        return self.asks

    def leave(self):
        self.did.append("leave")
        self.asks = False
        return self.took


def _does(waiter: Lingering, *steps: str) -> list[str]:
    """What a doorbell does that is told these things: a step each time that its thread waits to be told something."""
    told = deque([*steps, "stop"])

    def until_told(_: threading.Event) -> None:
        for word in told.popleft().split():
            getattr(doorbell, word)()

    clock: Any = SimpleNamespace(wait=until_told)
    outage: Any = SimpleNamespace(ok=lambda _: None, wakes=lambda _: None)
    config: Any = SimpleNamespace(poll_interval=5.0)
    doorbell = Doorbell(waiter, [QUEUE], config, clock, outage, lambda: waiter.did.append("ring"))
    doorbell.loop()
    return waiter.did


@pytest.mark.parametrize("took", [False, True])
def test_a_full_worker_takes_back_once_what_its_doorbell_still_asks_for(took):
    """And passes on what has come there before."""
    did = _does(Lingering(took=took), "arm", "disarm disarm", "disarm", "arm")

    assert did == ["wait", "ring", "leave", *(["ring"] if took else []), "wait", "ring"]


def test_a_doorbell_that_is_armed_again_keeps_what_it_asks_for():
    assert _does(Lingering(), "arm", "disarm arm", "arm disarm", "disarm arm") == [
        *("wait", "ring", "wait", "ring"),
        *("leave", "wait", "ring"),
    ]


def test_a_doorbell_that_is_disarmed_before_it_waits_does_not():
    assert _does(Lingering(), "arm disarm") == []
