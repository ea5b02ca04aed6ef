"""A worker with its real threads, on memory."""

import asyncio
import contextlib
import contextvars
import logging
import os
import signal
import threading
from typing import Any

import pytest

from tests.unit.app.worker.wiring import TestWiring
from vecna import log
from vecna.app.context import TaskContext, current_task
from vecna.app.worker import Worker
from vecna.app.worker.signals import Signals
from vecna.app.worker.slots import Slots
from vecna.domain.errors import BrokerUnavailable, InvalidArgument, WorkerAborted
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.ports.values import Standing

pytestmark = pytest.mark.slow  # left out by `make unit`

QUEUE = "vecna_tasks"
PATIENCE = 20.0


@pytest.fixture
def wiring() -> TestWiring:
    return TestWiring.real(lease=2, heartbeat=0.05)


class Opening(threading.Event):
    """An event that coroutines can wait for, too."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._awaiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def set(self) -> None:
        super().set()
        with self._lock:
            for loop, event in self._awaiting:
                with contextlib.suppress(RuntimeError):  # it is closed: its coroutines were cancelled
                    loop.call_soon_threadsafe(event.set)

    async def awaited(self) -> None:
        event = asyncio.Event()
        with self._lock:
            if self.is_set():
                return
            self._awaiting.append((asyncio.get_running_loop(), event))
        await event.wait()


class Gate:
    """Tasks that wait at it, functions and coroutines, and how many do."""

    def __init__(self) -> None:
        self.open = Opening()
        self._changed = threading.Condition()
        self.inside = 0
        self.most = 0
        self.through = 0

    def __call__(self) -> None:
        self._enter()
        assert self.open.wait(PATIENCE)
        self._leave()

    async def wait(self) -> None:
        self._enter()
        await self.open.awaited()
        self._leave()

    def _enter(self) -> None:
        with self._changed:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self._changed.notify_all()

    def _leave(self) -> None:
        with self._changed:
            self.inside -= 1
            self.through += 1
            self._changed.notify_all()

    def until(self, inside: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.inside >= inside, PATIENCE)


def make(wiring: TestWiring, concurrency: int = 4, **more: Any) -> Worker:
    return Worker(wiring, "w1", concurrency, **more)


def signatures(name: str, count: int, **options: Any) -> list[Signature]:
    return [Signature(name, uuid=f"{name}-{number}", **options) for number in range(count)]


# -- running -----------------------------------------------------------------------------------------------------------


async def double(n: int) -> int:
    await asyncio.tasks.sleep(0)
    return 2 * n


def test_functions_and_coroutines_run_to_their_results(wiring):
    wiring.registry.add("add", lambda a, b: a + b, {})
    wiring.registry.add("double", double, {})
    tasks = [Signature("add", [n, 1]) for n in range(50)] + [Signature("double", [n]) for n in range(50)]
    wiring.send(*tasks[:60])

    with make(wiring):
        wiring.send(*tasks[60:])
        wiring.until_ended(*[task.uuid for task in tasks])

    values = [wiring.state(task.uuid).value() for task in tasks]
    assert values == [n + 1 for n in range(50)] + [2 * n for n in range(50)]
    counts = wiring.broker.counts(QUEUE)
    assert (counts.pending, counts.leased) == (0, 0)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_concurrency_bounds_functions_and_coroutines_together(wiring, concurrency):
    gate = Gate()
    wiring.registry.add("function", gate, {})
    wiring.registry.add("coroutine", gate.wait, {})
    tasks = [*signatures("function", 4), *signatures("coroutine", 4)]
    wiring.send(*tasks)

    with make(wiring, concurrency):
        gate.until(inside=concurrency)
        gate.open.set()
        wiring.until_ended(*[task.uuid for task in tasks])

    assert (gate.most, gate.through) == (concurrency, 8)


def test_without_a_limit_any_number_of_coroutines_runs_but_functions_only_as_threads_are_allowed():
    wiring = TestWiring.real(max_threads=2)
    gate, functions = Gate(), Gate()
    wiring.registry.add("function", functions, {})
    wiring.registry.add("coroutine", gate.wait, {})
    tasks = [*signatures("function", 4), *signatures("coroutine", 300)]
    wiring.send(*tasks[4:])

    with make(wiring, 0):
        gate.until(inside=300)
        wiring.send(*tasks[:4])
        functions.until(inside=2)
        gate.open.set()
        functions.open.set()
        wiring.until_ended(*[task.uuid for task in tasks])

    assert (gate.most, functions.most) == (300, 2)


def test_coroutines_have_context_variables_of_their_own(wiring):
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    seen: list[Any] = []

    async def look(ctx: TaskContext):
        seen.append((variable.get(), current_task() is ctx))
        variable.set(1)

    wiring.registry.add("look", look, {})
    tasks = signatures("look", 20)
    wiring.send(*tasks)
    with make(wiring, 1):
        wiring.until_ended(*[task.uuid for task in tasks])

    assert seen == [(0, True)] * 20


def test_one_kind_does_not_starve_the_other(wiring):
    busy, other = threading.Event(), threading.Event()

    def function():
        wiring.send(Signature("function"))  # there is always another one
        busy.set()

    async def coroutine():
        other.set()

    wiring.registry.add("function", function, {})
    wiring.registry.add("coroutine", coroutine, {})
    wiring.send(Signature("function"))

    with make(wiring, 1):
        assert busy.wait(PATIENCE)
        wiring.send(Signature("coroutine"))

        assert other.wait(PATIENCE)


def test_a_task_registered_while_the_worker_runs_is_run(wiring):
    with make(wiring):
        wiring.registry.add("late", lambda: "ran", {})
        wiring.send(Signature("late", uuid="t1"))

        assert wiring.until_ended("t1") == [State.SUCCESS]


def test_several_queues_are_served_in_turn(wiring):
    order: list[str] = []
    done = threading.Event()

    def note(queue: str):
        order.append(queue)
        if len(order) == 30:
            done.set()

    wiring.registry.add("note", note, {})
    for queue in ("a", "b", "c"):
        wiring.send(*[Signature("note", [queue], queue=queue) for _ in range(10)])

    with make(wiring, 1, queues=["a", "b", "c"]):
        assert done.wait(PATIENCE)

    assert set(order[:6]) == {"a", "b", "c"}


def test_a_delayed_task_starts_at_its_time_without_being_woken(wiring):
    started: list[Any] = []
    done = threading.Event()

    def note(ctx: TaskContext):
        assert ctx.due_at is not None
        started.append((ctx.now() - ctx.due_at).total_seconds())
        if len(started) == 20:
            done.set()

    wiring.registry.add("note", note, {})
    with make(wiring):
        wiring.send(*[Signature("note", delay=0.05 + 0.02 * number) for number in range(20)])
        assert done.wait(PATIENCE)

    assert min(started) >= 0
    assert sorted(started)[10] < 0.02  # 2 ms on an idle machine; here others may be at work


# -- taking no more than can start -------------------------------------------------------------------------------------


def test_a_long_task_keeps_no_work_from_other_workers(wiring):
    gate, ran = Gate(), threading.Event()
    wiring.registry.add("long", gate, {})
    wiring.registry.add("short", ran.set, {})
    wiring.send(Signature("long"))

    with make(wiring, 1):
        gate.until(inside=1)
        wiring.send(Signature("short", uuid="s1"))
        with Worker(wiring, "w2", 1):
            assert ran.wait(PATIENCE)
        gate.open.set()
        wiring.until_ended("s1")

    assert wiring.state("s1").worker == "w2"


def test_what_cannot_start_although_it_was_to_be_short_goes_back_uncounted(wiring):
    gate = Gate()
    stuck = threading.Event()

    def quick(number: int):
        if stuck.is_set():
            gate()

    wiring.registry.add("quick", quick, {})
    learn = [Signature("quick", [n]) for n in range(50)]
    wiring.send(*learn)
    with make(wiring, 2):
        wiring.until_ended(*[task.uuid for task in learn])
        stuck.set()  # from now on they take their time
        tasks = [Signature("quick", [n]) for n in range(20)]
        wiring.send(*tasks)
        gate.until(inside=2)
        wiring.until(lambda: wiring.broker._port.counts(QUEUE).pending == 18)
        places = wiring.broker.locate([task.uuid for task in tasks])
        assert sum(place.standing is Standing.LEASED for place in places) == 2
        gate.open.set()
        wiring.until_ended(*[task.uuid for task in tasks])

    assert {wiring.state(task.uuid).attempt for task in tasks} == {1}


def test_a_pre_consume_handler_that_refuses_leaves_the_work_in_the_queue(wiring):
    asked = threading.Event()
    may = threading.Event()
    workers = []

    def handler(worker):
        workers.append(worker)
        asked.set()
        return may.is_set()

    wiring.registry.add("note", lambda: None, {})
    wiring.send(Signature("note", uuid="t1"))
    worker = make(wiring)
    worker.set_pre_consume_handler(handler)
    with worker:
        assert asked.wait(PATIENCE)
        assert wiring.broker.counts(QUEUE).pending == 1
        may.set()
        wiring.until_ended("t1")

    assert set(workers) == {worker}


# -- states on the way -------------------------------------------------------------------------------------------------


def test_a_run_that_takes_a_while_is_seen_as_started_with_its_progress(wiring):
    gate = Gate()
    go = threading.Event()

    def work(ctx: TaskContext):
        gate()
        ctx.progress(1, 2)
        assert go.wait(PATIENCE)

    wiring.registry.add("work", work, {})
    wiring.send(Signature("work", uuid="t1"))
    read = wiring.backend._port.get_state

    with make(wiring):
        wiring.until(lambda: (state := read("t1")) and state.state is State.STARTED)
        assert (wiring.state("t1").worker, wiring.state("t1").attempt) == ("w1", 1)
        gate.open.set()
        wiring.until(lambda: read("t1").progress == (1, 2))
        assert wiring.state("t1").state is State.STARTED
        go.set()
        wiring.until_ended("t1")

    assert wiring.state("t1").progress == (1, 2)


def test_progress_never_blocks_and_is_not_written_each_time(wiring):
    done = threading.Event()

    def work(ctx: TaskContext):
        for number in range(10_000):
            ctx.progress(number, 10_000)
        done.set()

    wiring.registry.add("work", work, {})
    wiring.send(Signature("work", uuid="t1"))
    with make(wiring):
        wiring.until_ended("t1")

    assert wiring.state("t1").progress == (9999, 10_000)
    assert wiring.backend.calls.count("put_states") < 50


def test_states_that_the_end_overtakes_are_not_written(wiring):
    written: list[State] = []
    put = wiring.backend._port.put_states

    def spy(states):
        written.extend(state.state for state in states)
        return put(states)

    wiring.backend._port.put_states = spy
    wiring.registry.add("note", lambda: None, {})
    with make(wiring):
        for number in range(5):
            wiring.send(Signature("note", uuid=f"t{number}"))
            wiring.until_ended(f"t{number}")

    assert written.count(State.SUCCESS) == 5
    assert len(written) <= 7  # the machine may stand still for a moment


# -- time limits -------------------------------------------------------------------------------------------------------


def test_a_coroutine_that_runs_over_its_time_is_cancelled(wiring):
    ended = threading.Event()

    async def slow():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    wiring.registry.add("slow", slow, {"timeout": 0.05})
    wiring.send(Signature("slow", uuid="t1"))
    with make(wiring):
        assert wiring.until_ended("t1") == [State.FAILURE]
        assert ended.wait(PATIENCE)

    assert wiring.state("t1").error.startswith("TaskTimeout")


def test_a_function_that_runs_over_its_time_is_told_and_its_slot_stays_taken(wiring, caplog):
    gate, told = Gate(), threading.Event()
    contexts: list[TaskContext] = []

    def slow(ctx: TaskContext):
        contexts.append(ctx)
        gate()
        told.set()
        return "too late"

    wiring.registry.add("slow", slow, {"timeout": 0.05, "retry_count": 1, "retry_timeout": 1000})
    wiring.registry.add("work", gate, {})
    wiring.send(Signature("slow", uuid="t1"))
    read = wiring.backend._port.get_state
    with make(wiring, 2):
        wiring.until(lambda: (state := read("t1")) and state.state is State.RETRY)  # recorded at once
        assert wiring.state("t1").error.startswith("TaskTimeout")
        assert contexts[0].canceled
        wiring.send(*signatures("work", 3))
        gate.until(inside=2)  # one of the two slots is left
        wiring.until(lambda: wiring.broker._port.counts(QUEUE).pending == 2)
        gate.open.set()
        wiring.until_ended("work-0", "work-1", "work-2")
        assert told.wait(PATIENCE)

    assert gate.most == 2
    assert wiring.state("t1").state is State.RETRY
    assert "ran over its timeout" in caplog.text


def test_a_worker_whose_slots_are_all_given_up_stops_with_an_error(wiring):
    release = threading.Event()
    wiring.registry.add("stuck", lambda: release.wait(PATIENCE), {"timeout": 0.02})
    wiring.send(Signature("stuck", uuid="t1"), Signature("stuck", uuid="t2"), Signature("stuck", uuid="t3"))

    with pytest.raises(WorkerAborted, match="all 2 slots"):
        make(wiring, 2).launch()

    release.set()
    assert wiring.states("t1", "t2") == [State.FAILURE] * 2
    assert wiring.broker.counts(QUEUE).pending == 1


def test_a_task_that_blocks_the_loop_is_given_up_in_the_end(wiring):
    release = threading.Event()

    async def blocks():
        release.wait(PATIENCE)

    wiring.registry.add("blocks", blocks, {"timeout": 0.05})
    wiring.send(Signature("blocks", uuid="t1"))
    with make(wiring):
        assert wiring.until_ended("t1") == [State.FAILURE]
        release.set()


def test_limits_of_tasks_that_ended_in_time_do_not_pile_up(wiring):
    wiring.registry.add("quick", lambda: None, {"timeout": 3600})
    wiring.registry.add("aquick", double, {"timeout": 3600})
    tasks = [Signature("quick") for _ in range(300)] + [Signature("aquick", [1]) for _ in range(300)]
    wiring.send(*tasks)
    worker = make(wiring)
    with worker:
        wiring.until_ended(*[task.uuid for task in tasks])
        assert worker._engine is not None
        assert len(worker._engine._heartbeat.timers) <= 400
        assert len(worker._engine._heartbeat._limits) <= 4  # a run may be coming back just now


def test_no_work_is_taken_while_ends_cannot_be_recorded(wiring):
    gate = Gate()
    wiring.registry.add("work", gate, {})
    wiring.send(*signatures("work", 2))
    with make(wiring, 4):
        gate.until(inside=2)
        wiring.backend.down = True
        gate.open.set()
        wiring.until(lambda: wiring.backend.calls.count("put_states") > 1)
        wiring.send(Signature("work", uuid="new"))
        wiring.until(lambda: wiring.backend.calls.count("put_states") > 3)
        pending = wiring.broker._port.counts(QUEUE).pending
        wiring.backend.down = False
        assert pending == 1
        assert wiring.until_ended("new", "work-0", "work-1") == [State.SUCCESS] * 3


# -- cancelling --------------------------------------------------------------------------------------------------------


def test_a_running_coroutine_is_cancelled_by_the_next_heartbeat(wiring):
    running = threading.Event()

    async def wait():
        running.set()
        await asyncio.get_running_loop().create_future()

    wiring.registry.add("wait", wait, {"retry_count": 3})
    wiring.send(Signature("wait", uuid="t1"))
    with make(wiring):
        assert running.wait(PATIENCE)
        wiring.broker.cancel(QUEUE, ["t1"])

        assert wiring.until_ended("t1") == [State.CANCELED]


def test_a_running_function_is_told_and_ends_as_canceled_if_it_heeds(wiring):
    running = threading.Event()

    def wait(ctx: TaskContext):
        running.set()
        while True:
            ctx.raise_if_canceled()
            threading.Event().wait(0.001)

    wiring.registry.add("wait", wait, {})
    wiring.send(Signature("wait", uuid="t1"))
    with make(wiring):
        assert running.wait(PATIENCE)
        wiring.broker.cancel(QUEUE, ["t1"])

        assert wiring.until_ended("t1") == [State.CANCELED]


def test_a_running_function_that_returns_all_the_same_succeeds_but_causes_nothing(wiring):
    gate = Gate()
    wiring.registry.add("work", gate, {})
    wiring.send(Signature("work", uuid="t1", on_success=[Signature("work", uuid="t2")]))
    with make(wiring):
        gate.until(inside=1)
        wiring.broker.cancel(QUEUE, ["t1"])
        gate.open.set()

        assert wiring.until_ended("t1", "t2") == [State.SUCCESS, State.CANCELED]

    assert gate.through == 1


# -- stopping ----------------------------------------------------------------------------------------------------------


def test_quit_waits_for_what_runs_and_says_that_all_has_finished(wiring):
    gate = Gate()
    wiring.registry.add("work", gate, {})
    wiring.send(*signatures("work", 2))
    worker = make(wiring, 1)
    worker.start()
    gate.until(inside=1)
    threading.Timer(0.05, gate.open.set).start()

    assert worker.quit() is True

    assert wiring.state("work-0").is_success
    assert gate.through == 1
    assert wiring.broker.counts(QUEUE).pending == 1
    assert not worker.is_running


def test_once_it_says_that_it_stops_nothing_more_starts(wiring, monkeypatch):
    """Whoever reads the line may let go of what runs: what waits behind it must not start in its place."""
    calls: list[str] = []
    close = Slots.close

    def closing(slots):
        calls.append("closed")
        close(slots)

    def saying(message, **_):
        if "stops on" in message:
            calls.append("said")

    monkeypatch.setattr(Slots, "close", closing)
    monkeypatch.setattr(log, "info", saying)
    with Signals(handle=False) as orders:
        orders.count, orders.latest = 1, "a test"
        make(wiring).serve(orders)

    assert calls[:2] == ["closed", "said"]


@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_quit_hands_back_what_does_not_finish_in_time(wiring, kind):
    gate = Gate()
    contexts: list[TaskContext] = []

    def function(ctx: TaskContext):
        contexts.append(ctx)
        gate()

    async def coroutine(ctx: TaskContext):
        contexts.append(ctx)
        await gate.wait()

    wiring.registry.add("work", function if kind == "function" else coroutine, {})
    wiring.send(Signature("work", uuid="t1"))
    worker = make(wiring)
    worker.start()
    gate.until(inside=1)

    assert worker.quit(timeout=0.01) is False

    assert contexts[0].canceled
    (place,) = wiring.broker.locate(["t1"])
    assert (place.standing, place.attempts.repeats) == (Standing.PENDING, 0)
    gate.open.set()
    with Worker(wiring, "w2", 1):
        assert wiring.until_ended("t1") == [State.SUCCESS]
    assert wiring.state("t1").worker == "w2"


def test_double_calls_are_harmless_and_a_worker_can_start_again(wiring):
    wiring.registry.add("note", lambda: None, {})
    worker = make(wiring)
    assert worker.quit() is True
    worker.start()
    worker.start()
    wiring.send(Signature("note", uuid="t1"))
    wiring.until_ended("t1")
    assert worker.quit() is True
    assert worker.quit() is True

    wiring.send(Signature("note", uuid="t2"))
    with worker:
        wiring.until_ended("t2")


def test_quit_from_several_threads_at_once_is_harmless(wiring):
    gate = Gate()
    wiring.registry.add("work", gate, {})
    wiring.send(Signature("work", uuid="t1"))
    worker = make(wiring)
    worker.start()
    gate.until(inside=1)
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.append(worker.quit())) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.open.set()
    for thread in threads:
        thread.join(PATIENCE)

    assert answers == [True] * 4


def test_no_thread_of_a_stopped_worker_is_left(wiring):
    wiring.registry.add("note", lambda: None, {})
    wiring.registry.add("double", double, {})
    wiring.send(Signature("note", uuid="t1"), Signature("double", [1], uuid="t2"))
    before = set(threading.enumerate())
    with make(wiring):
        wiring.until_ended("t1", "t2")

    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
    assert set(threading.enumerate()) <= before


def _handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_finishes_what_runs_and_returns(wiring, number):
    gate = Gate()

    def work():
        os.kill(os.getpid(), number)
        threading.Timer(0.05, gate.open.set).start()
        gate()

    wiring.registry.add("work", work, {})
    wiring.send(*signatures("work", 2))
    before = _handlers()

    make(wiring, 1).launch()

    assert wiring.state("work-0").is_success
    assert wiring.broker.counts(QUEUE).pending == 1
    assert _handlers() == before


def test_the_second_signal_hands_back_what_has_not_finished_and_raises(wiring):
    gate = Gate()

    def work():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        gate()

    wiring.registry.add("work", work, {})
    wiring.send(Signature("work", uuid="t1"))
    before = _handlers()

    with pytest.raises(WorkerAborted, match="second signal"):
        make(wiring, 1).launch()

    gate.open.set()
    (place,) = wiring.broker.locate(["t1"])
    assert (place.standing, place.attempts.repeats) == (Standing.PENDING, 0)
    assert _handlers() == before


def test_after_the_shutdown_timeout_what_has_not_finished_is_handed_back():
    wiring = TestWiring.real(shutdown_timeout=0.05)
    gate = Gate()

    def work():
        os.kill(os.getpid(), signal.SIGTERM)
        gate()

    wiring.registry.add("work", work, {})
    wiring.send(Signature("work", uuid="t1"))

    with pytest.raises(WorkerAborted, match="shutdown_timeout"):
        make(wiring, 1).launch()

    gate.open.set()
    assert wiring.broker.counts(QUEUE).pending == 1


def test_quit_elsewhere_ends_launch(wiring):
    worker = make(wiring)
    wiring.registry.add("stop", lambda: threading.Thread(target=worker.quit).start(), {})
    wiring.send(Signature("stop", uuid="t1"))

    worker.launch()

    assert wiring.state("t1").is_success


def test_launch_leaves_signals_alone_when_told_so_and_outside_the_main_thread(wiring):
    seen: list[Any] = []

    def look():
        seen.append(_handlers())
        threading.Thread(target=worker.quit).start()

    wiring.registry.add("look", look, {})
    before = _handlers()
    for config in (wiring.config, TestWiring.real(no_unix_signals=True).config):
        wiring.config = config
        worker = make(wiring)
        wiring.send(Signature("look"))
        if config.no_unix_signals:
            worker.launch()
        else:
            thread = threading.Thread(target=worker.launch)
            thread.start()
            thread.join(PATIENCE)

    assert seen == [before, before]


# -- errors and handlers -----------------------------------------------------------------------------------------------


def _boom():
    raise RuntimeError("boom")


def test_a_final_failure_is_one_log_line_with_its_traceback(wiring, caplog):
    wiring.registry.add("fail", _boom, {"retry_count": 1, "retry_timeout": 0})
    wiring.send(Signature("fail", ["secret"][:0], uuid="t1"))
    with make(wiring):
        wiring.until_ended("t1")

    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "fail t1" in errors[0].message
    assert "in _boom" in caplog.text


def test_the_error_handler_replaces_the_log_line_and_may_raise(wiring, caplog):
    told: list[Any] = []

    def handler(signature, exc):
        told.append((signature.uuid, type(exc), str(exc)))
        raise SystemExit("handler")

    wiring.registry.add("fail", _boom, {})
    wiring.send(Signature("fail", uuid="t1", on_error=[Signature("note", uuid="t2")]), Signature("fail", uuid="t3"))
    wiring.registry.add("note", lambda text: text, {})
    worker = make(wiring)
    worker.set_error_handler(handler)
    with worker:
        wiring.until_ended("t1", "t2", "t3")

    assert sorted(told) == [("t1", RuntimeError, "boom"), ("t3", RuntimeError, "boom")]
    assert wiring.state("t2").value() == "RuntimeError: boom"
    assert "has failed for good" not in caplog.text


def test_an_error_handler_that_hangs_holds_nothing_up(wiring):
    release = threading.Event()
    wiring.registry.add("fail", _boom, {})
    wiring.registry.add("note", lambda: None, {})
    wiring.send(Signature("fail", uuid="t1"))
    worker = make(wiring)
    worker.set_error_handler(lambda *_: release.wait(PATIENCE))
    with worker:
        wiring.until_ended("t1")
        wiring.send(Signature("note", uuid="t2"))
        assert wiring.until_ended("t2") == [State.SUCCESS]
        release.set()


def test_pre_and_post_task_handlers_run_around_each_run(wiring):
    order: list[Any] = []

    def fail():
        order.append("run")
        _boom()

    wiring.registry.add("fail", fail, {"retry_count": 0})
    wiring.send(Signature("fail", uuid="t1"))
    worker = make(wiring)
    worker.set_pre_task_handler(lambda signature: order.append(("before", signature.uuid)))
    worker.set_post_task_handler(lambda signature: order.append(("after", signature.uuid)))
    with worker:
        wiring.until_ended("t1")

    assert order == [("before", "t1"), "run", ("after", "t1")]


def test_system_exit_in_what_a_coroutine_leaves_behind_does_not_end_the_loop(wiring, caplog):
    async def leaves():
        async def child():
            raise SystemExit("child")

        child_task = asyncio.get_running_loop().create_task(child())
        await asyncio.tasks.sleep(0.01)
        assert isinstance(child_task.exception(), SystemExit)

    wiring.registry.add("leaves", leaves, {})
    wiring.registry.add("double", double, {})
    wiring.send(Signature("leaves", uuid="t1"), Signature("double", [2], uuid="t2"))
    with make(wiring):
        assert wiring.until_ended("t1", "t2") == [State.SUCCESS] * 2

    assert "SystemExit" in caplog.text


# -- the broker goes away ----------------------------------------------------------------------------------------------


def test_an_outage_is_survived_with_one_line_each_and_nothing_is_lost(wiring, caplog):
    caplog.set_level(logging.INFO, "vecna")
    gate = Gate()
    told: list[Any] = []
    lost = threading.Event()

    def handler(signature, exc):
        told.append((signature, type(exc)))
        lost.set()

    wiring.registry.add("work", gate, {})
    wiring.send(*signatures("work", 3))
    worker = make(wiring)
    worker.set_error_handler(handler)
    with worker:
        gate.until(inside=3)
        wiring.broker.down = wiring.backend.down = True
        gate.open.set()  # what ends meanwhile is kept
        assert lost.wait(PATIENCE)
        wiring.until(lambda: wiring.backend.calls.count("put_states") > 3)
        assert gate.through == 3
        wiring.broker.down = wiring.backend.down = False
        wiring.until_ended("work-0", "work-1", "work-2")
        wiring.send(Signature("work", uuid="after"))
        wiring.until_ended("after")

    assert told == [(None, BrokerUnavailable)]
    assert len([record for record in caplog.records if "cannot reach the broker" in record.message]) == 1
    assert len([record for record in caplog.records if "reaches the broker again" in record.message]) == 1
    assert gate.through == 4


def test_a_broker_that_is_away_is_not_asked_in_a_spin():
    wiring = TestWiring.real(
        lease=2, heartbeat=0.5
    )  # the first sweep, which tries several things, comes after the test
    wiring.registry.add("note", lambda: None, {})
    calls = 13  # of at most three threads: one has made five, and has paused 0.05 + 0.1 + 0.2 + 0.4 s at least
    with make(wiring):
        wiring.until(lambda: "lease" in wiring.broker.calls)
        wiring.broker.down = wiring.backend.down = True
        wiring.broker.calls.clear()
        since = wiring.clock.monotonic()
        wiring.until(lambda: len(wiring.broker.calls) + len(wiring.backend.calls) >= calls)
        took = wiring.clock.monotonic() - since
        wiring.broker.down = wiring.backend.down = False

    assert took >= 0.7


def test_a_port_that_raises_something_else_stops_nobody(wiring, caplog):
    faults = iter([ValueError("a fault of an adapter")])
    lease = wiring.broker._port.lease

    def broken(queue, *args, **kwargs):
        for fault in faults:
            raise fault
        return lease(queue, *args, **kwargs)

    wiring.broker._port.lease = broken
    wiring.registry.add("note", lambda: None, {})
    wiring.send(Signature("note", uuid="t1"))
    with make(wiring):
        assert wiring.until_ended("t1") == [State.SUCCESS]

    assert "a fault of an adapter" in caplog.text


def test_one_item_that_cannot_be_recorded_does_not_hold_up_the_others(wiring, caplog):
    put = wiring.backend._port.put_states

    def picky(states):
        if any(state.task_uuid == "bad" and state.is_completed for state in states):
            raise ValueError("cannot store this one")
        return put(states)

    wiring.backend._port.put_states = picky
    wiring.registry.add("note", lambda: None, {})
    tasks = [Signature("note", uuid=uuid) for uuid in ("t1", "bad", "t2")]
    wiring.send(*tasks)
    with make(wiring):
        assert wiring.until_ended("t1", "t2") == [State.SUCCESS] * 2
        wiring.send(Signature("note", uuid="t3"))
        assert wiring.until_ended("t3") == [State.SUCCESS]


# -- what a worker refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "worker name"),
        ({"name": "a b"}, "worker name"),
        ({"concurrency": -1}, "concurrency"),
        ({"concurrency": True}, "concurrency"),
        ({"concurrency": 2.0}, "concurrency"),
        ({"queues": "a"}, "queues="),
        ({"queues": []}, "at least one"),
        ({"queues": ["a", "{b}"]}, "queue name"),
    ],
)
def test_a_worker_refuses_what_it_cannot_be(wiring, arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        Worker(wiring, **{"name": "w1", **arguments})


@pytest.mark.parametrize(
    "setter", ["set_error_handler", "set_pre_task_handler", "set_post_task_handler", "set_pre_consume_handler"]
)
def test_a_handler_must_be_a_function(wiring, setter):
    with pytest.raises(InvalidArgument, match=setter):
        getattr(make(wiring), setter)("no function")
