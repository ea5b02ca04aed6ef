"""What a run makes of what a task does."""

import asyncio
import contextvars
import datetime as dt
import math
from typing import Any, NamedTuple

import pytest

from tests.unit.app.worker.wiring import TestWiring, run_all, step
from vecna.app.context import TaskContext, current_task
from vecna.app.delivery_run import RunHooks
from vecna.app.delivery_values import CANCELED, TIMEOUT
from vecna.domain.errors import InvalidArgument, RetryTaskLater, TaskCanceled, TaskTimeout
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.ports.values import Standing


@pytest.fixture
def wiring() -> TestWiring:
    return TestWiring.make()


def outcome_of(wiring: TestWiring, fn: Any, *args: object, **options: Any) -> Any:
    """The state of one task after one run of it."""
    wiring.registry.add("fn", fn, {})
    signature: Signature = Signature("fn", args, **options)
    wiring.send(signature)
    deliveries = wiring.deliveries()
    runnable, ended = deliveries.admit(deliveries.lease("vecna_tasks", 10))
    if runnable and runnable[0].task.is_async:  # type: ignore[union-attr]
        asyncio.run(_arun(deliveries, runnable))
        deliveries.finish([*runnable, *ended])
    else:
        deliveries.finish([*run_all(deliveries, runnable), *ended])
    return wiring.state(signature.uuid)


async def _arun(deliveries, items):
    for item in items:
        assert await deliveries.arun(item)


class Pair(NamedTuple):
    left: int
    right: int


async def nothing():
    return None


def annotated() -> int | None:
    return None


@pytest.mark.parametrize(
    ("fn", "value", "results"),
    [
        (lambda: 5, 5, 1),
        (lambda: (1, "two"), (1, "two"), 2),
        (tuple, (), 0),
        (lambda: Pair(1, 2), [1, 2], 1),
        (lambda: None, None, 0),
        (nothing, None, 0),
        (annotated, None, 1),
        (lambda: {"deep": [1, None]}, {"deep": [1, None]}, 1),
    ],
)
def test_the_shape_that_was_returned_is_recorded(wiring, fn, value, results):
    state = outcome_of(wiring, fn)

    assert (state.state, state.value(), len(state.results)) == (State.SUCCESS, value, results)


def fail_with(exc):
    def fn():
        raise exc

    return fn


def afail_with(exc):
    async def fn():
        raise exc

    return fn


@pytest.mark.parametrize("make", [fail_with, afail_with])
@pytest.mark.parametrize(
    ("cls", "args"),
    [
        (RuntimeError, ["boom"]),
        (SystemExit, [3]),
        (KeyboardInterrupt, []),
        (GeneratorExit, []),
        (RecursionError, ["deep"]),
        (MemoryError, []),
        (asyncio.CancelledError, []),
        (BaseExceptionGroup, ["several", [SystemExit(1), ValueError("x")]]),
    ],
)
def test_whatever_a_task_raises_is_its_failure_and_nobody_elses(wiring, make, cls, args):
    state = outcome_of(wiring, make(cls(*args)))

    assert state.is_failure
    assert state.error.startswith(cls.__qualname__)
    assert state.error_type == f"{cls.__module__}.{cls.__qualname__}"
    assert "in fn" in state.traceback
    assert "vecna/app/" not in state.traceback


def test_endless_recursion_is_a_failure_with_a_bounded_traceback(wiring):
    def fn(n=0):
        return fn(n + 1)

    state = outcome_of(wiring, fn)

    assert state.error.startswith("RecursionError")
    assert len(state.traceback.encode()) <= 32 * 1024


class Broken(Exception):
    def __str__(self):
        raise ValueError("no text")


def test_an_error_whose_text_cannot_be_made_is_still_a_failure(wiring):
    state = outcome_of(wiring, fail_with(Broken()))

    assert "Broken" in state.error
    assert "ValueError" in state.error


def test_texts_of_errors_are_bounded_and_valid_unicode_with_head_and_tail(wiring):
    state = outcome_of(wiring, fail_with(RuntimeError("head \ud800" + "x" * 100_000 + " tail")))

    assert len(state.error.encode()) <= 8 * 1024
    assert state.error.startswith("RuntimeError: head ")
    assert state.error.endswith(" tail")
    assert len(state.traceback.encode()) <= 32 * 1024
    assert wiring.broker.get_dead_tasks("vecna_tasks") == []


@pytest.mark.parametrize("value", [object(), math.nan, {1, "x", object()}, "\ud800", 1j, "x" * 300_000])
def test_a_result_that_cannot_travel_or_is_too_large_fails_without_retry(wiring, value):
    state = outcome_of(wiring, lambda: value, retry_count=3)

    assert (state.state, state.attempt) == (State.FAILURE, 1)
    assert state.error.startswith("InvalidArgument: the result of fn ")


def test_a_failure_is_retried_as_often_as_allowed_and_then_final(wiring):
    attempts = []

    def fn(ctx: TaskContext):
        attempts.append((ctx.attempt, ctx.delivery))
        raise RuntimeError("boom")

    state = outcome_of(wiring, fn, retry_count=2)
    assert (state.state, state.error, state.finished_at) == (State.RETRY, "RuntimeError: boom", None)
    for wait in (1, 2):
        wiring.clock.advance(wait - 0.001)
        assert step(wiring.deliveries()) == []
        wiring.clock.advance(0.001)
        step(wiring.deliveries())

    assert attempts == [(1, 1), (2, 1), (3, 1)]
    final = wiring.state(state.task_uuid)
    assert (final.state, final.attempt) == (State.FAILURE, 3)


def test_invalid_argument_raised_by_the_task_itself_is_an_ordinary_failure(wiring):
    state = outcome_of(wiring, fail_with(InvalidArgument("mine")), retry_count=1)

    assert state.state is State.RETRY


@pytest.mark.parametrize("delay", [dt.timedelta(seconds=90), 90, 90.0])
def test_retry_task_later_waits_without_using_up_retries(wiring, delay):
    state = outcome_of(wiring, fail_with(RetryTaskLater("busy", delay)))

    (place,) = wiring.broker.locate([state.task_uuid])
    assert (state.state, state.error) == (State.RETRY, "RetryTaskLater: busy")
    assert place.due_at == wiring.clock.now() + dt.timedelta(seconds=90)
    assert (place.attempts.retries, place.attempts.repeats) == (0, 1)


@pytest.mark.parametrize("delay", [-5, dt.timedelta.max])
def test_a_delay_that_lies_behind_or_beyond_all_time_is_cut(wiring, delay):
    state = outcome_of(wiring, fail_with(RetryTaskLater("busy", delay)))

    (place,) = wiring.broker.locate([state.task_uuid])
    assert place.standing is (Standing.DELAYED if delay == dt.timedelta.max else Standing.PENDING)


class LaterWithout(RetryTaskLater):
    def __init__(self) -> None:
        Exception.__init__(self, "not now")


class LaterByNumber(RetryTaskLater):
    def __init__(self) -> None:
        super().__init__("not now", 5)
        self.delay = 5  # type: ignore[assignment]  # that is the fault


class LaterByFault(RetryTaskLater):
    def __init__(self) -> None:
        Exception.__init__(self, "not now")

    def __getattribute__(self, name: str) -> Any:
        if name == "delay":
            raise SystemExit("no delay")
        return super().__getattribute__(name)


@pytest.mark.parametrize("make", [fail_with, afail_with])
@pytest.mark.parametrize(
    ("later", "error"),
    [
        (LaterWithout, "RetryTaskLater.delay must be a timedelta, and LaterWithout has none"),
        (LaterByNumber, "RetryTaskLater.delay must be a timedelta, and LaterByNumber has one of type int"),
        (LaterByFault, "SystemExit: no delay"),
    ],
)
def test_a_delay_that_is_none_fails_the_task_and_says_so(wiring, make, later, error):
    """It would have no outcome else, and be held for ever."""
    state = outcome_of(wiring, make(later()))

    assert state.state is State.FAILURE
    assert error in state.error
    assert "in fn" in state.traceback  # where it was raised


@pytest.mark.parametrize("make", [fail_with, afail_with])
def test_task_canceled_raised_by_a_task_ends_it_as_canceled(wiring, make):
    state = outcome_of(wiring, make(TaskCanceled("not needed any more")), retry_count=3)

    assert (state.state, state.error) == (State.CANCELED, "TaskCanceled: not needed any more")


# -- the context -------------------------------------------------------------------------------------------------------


def test_the_context_tells_what_runs(wiring):
    seen = []

    def fn(ctx: TaskContext, n: int):
        seen.append((ctx, n))
        assert current_task() is ctx
        ctx.raise_if_canceled()

    due = wiring.clock.now() + dt.timedelta(seconds=5)
    signature: Signature = Signature("fn", [4], uuid="t1", eta=due, timeout=7, spec="@every 1h", code="hourly")
    wiring.registry.add("fn", fn, {})
    wiring.send(signature)
    wiring.clock.advance(6)

    step(wiring.deliveries("w1"))

    ((ctx, n),) = seen
    assert n == 4
    assert (ctx.signature.uuid, ctx.attempt, ctx.delivery, ctx.worker) == ("t1", 1, 1, "w1")
    assert (ctx.canceled, ctx.due_at, ctx.schedule_code) == (False, due, "hourly")
    assert (ctx.now(), ctx.deadline) == (wiring.clock.now(), wiring.clock.now() + dt.timedelta(seconds=7))
    assert wiring.state("t1").is_success
    assert current_task() is None


def test_the_context_counts_deliveries_after_crashes(wiring):
    seen = []

    def fn(ctx: TaskContext):
        seen.append(ctx.delivery)

    wiring.registry.add("fn", fn, {})
    wiring.send(Signature("fn"))
    wiring.deliveries("dies").lease("vecna_tasks", 10)
    for _ in range(4):
        wiring.clock.advance(10)
        step(wiring.deliveries("w2"))

    assert seen == [2]


def test_each_run_has_context_variables_of_its_own(wiring):
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    seen = []

    def fn():
        seen.append(variable.get())
        variable.set(1)

    wiring.registry.add("fn", fn, {})
    wiring.send(Signature("fn"), Signature("fn"))
    variable.set(5)

    step(wiring.deliveries())

    assert seen == [0, 0]
    assert variable.get() == 5


def test_progress_is_reported_and_recorded_with_the_end(wiring):
    reported = []

    def progressed(item):
        reported.append(item.context.last_progress)

    def fn(ctx: TaskContext):
        ctx.progress(1, 3)
        ctx.progress(2.5, 3)

    wiring.registry.add("fn", fn, {})
    wiring.send(Signature("fn", uuid="t1"))

    step(wiring.deliveries(hooks=RunHooks(progressed=progressed)))

    assert reported == [(1, 3), (2.5, 3)]
    assert wiring.state("t1").progress == (2.5, 3)


@pytest.mark.parametrize("numbers", [("1", 2), (None, 1), (math.nan, 1), (1, math.inf), (10**400, 1), (True, 1)])
def test_progress_takes_numbers_only(wiring, numbers):
    def fn(ctx: TaskContext):
        ctx.progress(*numbers)

    assert outcome_of(wiring, fn).error.startswith("InvalidArgument: progress takes two numbers")


# -- being told to stop ------------------------------------------------------------------------------------------------


def test_a_function_that_was_told_to_stop_ends_as_canceled_if_it_heeds(wiring):
    def fn(ctx: TaskContext):
        held.stop(CANCELED)
        assert ctx.canceled
        ctx.raise_if_canceled()

    wiring.registry.add("fn", fn, {"retry_count": 3})
    wiring.send(Signature("fn", uuid="t1"))
    deliveries = wiring.deliveries()
    (held,), _ = deliveries.admit(deliveries.lease("vecna_tasks", 1))
    deliveries.run(held)
    deliveries.finish([held])

    assert (wiring.state("t1").state, wiring.state("t1").error) == (State.CANCELED, "canceled")


async def _cancel_while_it_waits(wiring, reason, fn):
    wiring.registry.add("fn", fn, {"timeout": 5})
    wiring.send(Signature("fn", uuid="t1"))
    deliveries = wiring.deliveries()
    (item,), _ = deliveries.admit(deliveries.lease("vecna_tasks", 1))
    run = asyncio.get_running_loop().create_task(deliveries.arun(item))
    while item.started is None:
        await asyncio.tasks.sleep(0)
    item.stop(reason)
    run.cancel()
    assert await run
    deliveries.finish([item])
    return item, wiring.state("t1")


async def waits():
    await asyncio.get_running_loop().create_future()


async def waits_and_swallows():
    try:
        await waits()
    except asyncio.CancelledError:
        return "swallowed"


async def waits_and_breaks():
    try:
        await waits()
    except asyncio.CancelledError:
        raise RuntimeError("while it was cleaning up") from None


async def test_a_coroutine_that_is_cancelled_ends_as_canceled(wiring):
    _, state = await _cancel_while_it_waits(wiring, CANCELED, waits)

    assert (state.state, state.error) == (State.CANCELED, "canceled")


async def test_a_coroutine_that_returns_all_the_same_has_succeeded(wiring):
    _, state = await _cancel_while_it_waits(wiring, CANCELED, waits_and_swallows)

    assert (state.state, state.value()) == (State.SUCCESS, "swallowed")


@pytest.mark.parametrize("fn", [waits, waits_and_swallows, waits_and_breaks])
async def test_a_coroutine_that_ran_over_its_time_fails_as_task_timeout_however_it_takes_it(wiring, fn):
    item, state = await _cancel_while_it_waits(wiring, TIMEOUT, fn)

    assert (state.state, state.error_type) == (State.FAILURE, "vecna.domain.errors.TaskTimeout")
    assert "5 s" in state.error
    assert isinstance(item.exception, TaskTimeout)


def test_only_one_says_how_a_run_with_a_timeout_ended(wiring):
    wiring.registry.add("fn", lambda: "late", {"timeout": 5})
    wiring.send(Signature("fn"))
    deliveries = wiring.deliveries()
    (item,), _ = deliveries.admit(deliveries.lease("vecna_tasks", 1))
    item.task.fn = lambda: item.complete("said by the time limit", None, wiring.clock.now())

    assert deliveries.run(item) is False
    assert item.outcome == "said by the time limit"


# -- hooks and trust ---------------------------------------------------------------------------------------------------


def test_hooks_are_called_around_the_run_and_what_they_raise_changes_nothing(wiring, caplog):
    order = []

    def before(signature):
        order.append(("before", signature.uuid))
        raise SystemExit("before")

    def after(signature):
        order.append(("after", signature.uuid))
        raise RuntimeError("after")

    wiring.registry.add("fn", lambda: order.append(("run", "")), {})
    wiring.send(Signature("fn", uuid="t1"))

    step(wiring.deliveries(hooks=RunHooks(before=before, after=after)))

    assert order == [("before", "t1"), ("run", ""), ("after", "t1")]
    assert wiring.state("t1").is_success
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_what_goes_wrong_around_the_call_fails_the_task(wiring, caplog, kind):
    def started(_):
        raise RuntimeError("no room for its start")

    wiring.registry.add("fn", nothing if kind == "coroutine" else annotated, {})
    wiring.send(Signature("fn", uuid="t1"))
    deliveries = wiring.deliveries(hooks=RunHooks(started=started))
    (item,), _ = deliveries.admit(deliveries.lease("vecna_tasks", 1))

    assert asyncio.run(deliveries.arun(item)) if kind == "coroutine" else deliveries.run(item)

    assert item.ended
    deliveries.finish([item])
    assert (wiring.state("t1").state, wiring.state("t1").error) == (
        State.FAILURE,
        "RuntimeError: no room for its start",
    )
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]


def test_a_run_does_not_start_when_its_lease_is_not_to_be_trusted_any_more(wiring):
    ran = []
    wiring.registry.add("fn", lambda: ran.append(1), {})
    wiring.send(Signature("fn"))
    deliveries = wiring.deliveries()
    (item,), _ = deliveries.admit(deliveries.lease("vecna_tasks", 1))
    wiring.clock.advance(27)  # of 30, with the margin of a tenth

    assert deliveries.run(item) is False
    assert (item.started, ran) == (None, [])

    deliveries.extend()
    assert deliveries.run(item) is True
    assert ran == [1]


def test_trust_is_counted_from_the_first_attempt_of_a_lease_call(wiring):
    wiring.registry.add("fn", lambda: None, {})
    wiring.send(Signature("fn", uuid="t1"))
    deliveries = wiring.deliveries()
    wiring.broker.fail_after("lease")
    with pytest.raises(ConnectionError):
        deliveries.lease("vecna_tasks", 1)
    wiring.clock.advance(20)

    (item,), _ = deliveries.admit(deliveries.lease("vecna_tasks", 1))
    assert item.uuid == "t1"  # the same call again gets what the lost reply held
    wiring.clock.advance(7)

    assert deliveries.run(item) is False
