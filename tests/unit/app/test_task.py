import asyncio
import datetime as dt
import functools
import inspect
import uuid
from typing import Any

import attrs
import pytest

from vecna.adapters.clock import ManualClock
from vecna.app.arguments import bind, to_results
from vecna.app.context import TaskContext, running_task
from vecna.app.registry import Registry
from vecna.app.task import AnyTask
from vecna.bootstrap import Server
from vecna.domain.arg import Arg, TaskResult
from vecna.domain.decide import Succeeded
from vecna.domain.errors import InvalidArgument, InvalidSignature
from vecna.domain.signature import Signature

registry = Registry()


@registry.task
def add(a: int, b: int = 10, *, c: int = 100) -> int:
    """Add up."""
    return a + b + c


@registry.task
def report(ctx: TaskContext, days: int) -> tuple[str, int]:
    return ctx.signature.name, days


@registry.task
async def fetch(url: str) -> str:
    await asyncio.sleep(0)  # noqa: TID251  # gives the loop a turn, takes no time
    return url


@registry.task
def rest(first: int, /, *others: dt.date, last: int, **named: uuid.UUID) -> None: ...


def test_a_task_looks_like_its_function() -> None:
    assert add.__name__ == "add"
    assert add.__doc__ == "Add up."
    assert str(inspect.signature(add)) == "(a: int, b: int = 10, *, c: int = 100) -> int"
    assert str(inspect.signature(report)) == "(days: int) -> tuple[str, int]"
    assert repr(add) == "<Task add>"
    assert (add.is_async, fetch.is_async) == (False, True)
    assert (add.takes_context, report.takes_context) == (False, True)


def test_a_plain_call_runs_here() -> None:
    assert add(1) == 111
    assert asyncio.run(fetch("x")) == "x"


def test_a_plain_call_fills_in_a_context() -> None:
    assert report(3) == ("report", 3)


def test_a_plain_call_inside_a_task_gets_the_context_of_that_task() -> None:
    outer = TaskContext(Signature("outer"), ManualClock())
    token = running_task.set(outer)
    try:
        assert report(3) == ("outer", 3)
    finally:
        running_task.reset(token)


def test_the_context_of_a_plain_call_has_the_time_of_the_server() -> None:
    clock = ManualClock()
    server = Server("memory://", clock=clock)

    @server.task
    def when(ctx: TaskContext, what: object) -> dt.datetime:
        ctx.progress(1, 2)
        ctx.raise_if_canceled()
        return ctx.now()

    assert when(object()) == clock.now()  # what cannot travel can be passed all the same


def test_callables_of_every_kind_are_seen_through() -> None:
    class Job:
        async def __call__(self, a: "uuid.UUID") -> None: ...

        def method(self, a: "uuid.UUID") -> None: ...

    @functools.wraps(fetch.fn)
    def wrapped(*args: Any) -> Any:
        return fetch.fn(*args)

    tasks = Registry()
    instance = tasks.register_task("instance", Job())
    method = tasks.register_task("method", Job().method)
    partial = tasks.register_task("partial", functools.partial(fetch.fn))
    around = tasks.register_task("around", wrapped)

    assert [task.is_async for task in (instance, method, partial, around)] == [True, False, True, True]
    key = uuid.UUID(int=1)
    for task in (instance, method):
        assert bind(task, task.signature(key)) == ([key], {})


def test_signature_is_the_complete_call() -> None:
    signature = add.signature(1, b=2)

    assert signature.name == "add"
    assert [arg.value for arg in signature.args] == [1]
    assert {name: arg.value for name, arg in signature.kwargs.items()} == {"b": 2}
    assert signature.set_options == {}
    assert add.signature(1).uuid != add.signature(1).uuid


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, r"add\(\): missing a required argument: 'a'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"a": 1}, "multiple values for argument 'a'"),
        ((1,), {"d": 1}, "unexpected keyword argument 'd'"),
    ],
)
def test_wrong_calls_are_type_errors_before_anything_is_sent(args: Any, kwargs: Any, message: str) -> None:
    server = Server("memory://")
    task: AnyTask = server.register_task("add", add)

    for call in (task.send, task.signature):
        with pytest.raises(TypeError, match=message):
            call(*args, **kwargs)
    with pytest.raises(TypeError, match=message):
        asyncio.run(task.send_async(*args, **kwargs))
    assert server.get_pending_tasks() == []


def test_s_may_leave_arguments_out_but_not_have_too_many() -> None:
    assert add.s().args == ()
    assert add.s(1, c=2).args == (Arg("int64", 1),)
    with pytest.raises(TypeError, match="too many positional arguments"):
        add.s(1, 2, 3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'd'"):
        add.s(d=1)


def test_options_go_into_the_signature_and_the_later_ones_win() -> None:
    slow = add.options(queue="slow", delay=5, priority=1)
    later = slow.options(eta=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), priority=2)

    assert slow.signature(1).set_options == {"queue": "slow", "delay": dt.timedelta(seconds=5), "priority": 1}
    assert later.s().set_options == {
        "queue": "slow",
        "eta": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "priority": 2,
    }
    assert add.signature(1).set_options == {}
    assert slow(1) == 111
    with pytest.raises(InvalidSignature, match="unknown option 'qeue'"):
        add.options(qeue="x")  # type: ignore[call-arg]
    with pytest.raises(InvalidSignature, match="eta and delay exclude each other"):
        add.options(eta=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), delay=1)


def test_arguments_that_cannot_travel_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="cannot travel"):
        add.signature(object())  # type: ignore[arg-type]


def test_bind_gives_each_parameter_what_it_is_annotated_with() -> None:
    day, key = dt.date(2026, 1, 31), uuid.UUID(int=5)
    sent = Signature("rest", [1, "2026-01-31", "2026-01-31"], kwargs={"last": 2, "key": str(key)})

    assert bind(rest, sent) == ([1, day, day], {"last": 2, "key": key})


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (Signature("rest", kwargs={"last": 2}), r"rest\(\): missing a required argument: 'first'"),
        (Signature("rest", [1]), "missing a required argument: 'last'"),
        (Signature("rest", [1, "x"], kwargs={"last": 2}), "argument 'others' takes a date"),
        (Signature("rest", [1], kwargs={"last": "2"}), "argument 'last' takes an int, not a str"),
        (Signature("rest", [1], kwargs={"last": 2, "key": 3}), "argument 'key' takes a UUID"),
        (Signature("rest", [1], kwargs={"last": 2, "first": 3}), "argument 'first' takes a UUID"),
        (Signature("add", [1], kwargs={"a": 1}), "multiple values for argument 'a'"),
        (Signature("report", [1, 2]), "too many positional arguments"),
    ],
)
def test_arguments_that_do_not_fit_are_named(signature: Signature, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        bind(registry.get_registered_task(signature.name), signature)


def test_the_context_is_no_argument() -> None:
    assert bind(report, Signature("report", [3])) == ([3], {})
    assert bind(report, Signature("report", kwargs={"days": 3})) == ([], {"days": 3})


def test_a_function_that_python_knows_nothing_of_takes_what_comes() -> None:
    task = Registry().register_task("smallest", min)

    assert bind(task, task.signature(3, 1, 2)) == ([3, 1, 2], {})


@attrs.frozen
class Pair:
    left: int
    right: int


def nothing() -> None: ...
def unannotated(): ...
def maybe() -> int | None: ...
def as_text() -> "None": ...


@pytest.mark.parametrize(
    ("function", "returned", "results", "several"),
    [
        (maybe, 1, [TaskResult("int64", 1)], False),
        (maybe, None, [TaskResult("json", None)], False),
        (nothing, None, [], False),
        (unannotated, None, [], False),
        (as_text, None, [], False),
        (nothing, "x", [TaskResult("string", "x")], False),
        (maybe, (1, "x"), [TaskResult("int64", 1), TaskResult("string", "x")], True),
        (maybe, (1,), [TaskResult("int64", 1)], True),
        (maybe, (), [], True),
        (maybe, (None,), [TaskResult("json", None)], True),
        (maybe, [1, 2], [TaskResult("[]int64", [1, 2])], False),
        (maybe, Pair(1, 2), [TaskResult("json", {"left": 1, "right": 2})], False),
    ],
)
def test_what_is_returned_is_several_results_one_or_none(
    function: Any, returned: object, results: list[TaskResult], several: bool
) -> None:
    task = Registry().add("x", function, {})

    assert to_results(task, returned) == Succeeded(tuple(results), several)


@pytest.mark.parametrize("returned", [object(), (1, object()), float("nan"), {1j: 2}])
def test_a_result_that_cannot_travel_is_refused(returned: object) -> None:
    with pytest.raises(InvalidArgument, match="the result of add cannot travel"):
        to_results(add, returned)


def test_a_result_that_is_too_large_is_refused_with_size_and_limit() -> None:
    with pytest.raises(InvalidArgument, match="the result of add has 102 bytes as JSON; the limit is 101"):
        to_results(add, "x" * 100, limit=101)
    assert to_results(add, "x" * 100, limit=102).results[0].type == "string"


def test_a_tuple_that_is_too_long_to_be_results_is_refused() -> None:
    with pytest.raises(
        InvalidArgument, match="add returned a tuple of 10001, which are as many results; at most 10000"
    ):
        to_results(add, (1,) * 10_001)
    assert len(to_results(add, (1,) * 10_000).results) == 10_000
