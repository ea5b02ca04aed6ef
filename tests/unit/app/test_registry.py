import functools
import threading
from typing import Any

import pytest

from vecna.app.context import TaskContext
from vecna.app.registry import Registry
from vecna.app.task import Task
from vecna.bootstrap import Server
from vecna.domain.errors import InvalidSignature, TaskAlreadyRegistered, TaskNotRegistered


def add(a: int, b: int) -> int:
    return a + b


def version(number: int) -> Any:
    """The same function, defined anew, as by a reload or in a notebook."""

    def job() -> int:
        return number

    return job


def test_the_decorator_works_with_and_without_parentheses() -> None:
    registry = Registry()

    assert registry.task(add).name == "add"
    assert registry.task()(add).name == "add"
    assert registry.task(name="sum", queue="math")(add).set_options == {"queue": "math"}
    assert registry.names() == ["add", "sum"]


def test_register_task_takes_name_function_and_options() -> None:
    server = Server("memory://")

    task = server.register_task("add", add, retry_count=3)

    assert isinstance(task, Task)
    assert task.fn is add
    assert task.set_options == {"retry_count": 3}
    assert server.is_task_registered("add")
    assert not server.is_task_registered("sub")
    assert server.registered_task_names() == ["add"]
    assert server.get_registered_task("add") is task


def test_register_tasks_registers_all_or_none() -> None:
    registry = Registry()
    registry.register_task("b", add)

    with pytest.raises(TaskAlreadyRegistered):
        registry.register_tasks({"a": version(1), "b": version(2)})

    assert registry.names() == ["b"]
    assert list(registry.register_tasks({"c": add, "d": add})) == ["c", "d"]


def test_an_unknown_task_is_an_error_that_names_the_known_ones() -> None:
    registry = Registry()

    with pytest.raises(TaskNotRegistered, match="'x'; registered are: none at all"):
        registry.get_registered_task("x")
    registry.task(add)
    with pytest.raises(TaskNotRegistered, match="'x'; registered are: add"):
        registry.get_registered_task("x")


def test_the_same_function_again_replaces_and_another_one_is_refused() -> None:
    registry = Registry()
    registry.task(version(1))

    registry.task(version(2))

    assert registry.get_registered_task("job")() == 2
    with pytest.raises(TaskAlreadyRegistered, match=r"test_registry\.add too: pass name="):
        registry.register_task("job", add)
    assert registry.get_registered_task("job")() == 2


def test_partials_need_a_name_and_are_told_apart_as_objects() -> None:
    registry = Registry()
    increment = functools.partial(add, 1)

    with pytest.raises(TypeError, match="pass name="):
        registry.task(increment)
    assert registry.register_task("increment", increment)(2) == 3
    registry.register_task("increment", increment)
    with pytest.raises(TaskAlreadyRegistered):
        registry.register_task("increment", functools.partial(add, 1))


def test_a_task_can_be_registered_with_another_server() -> None:
    first, second = Server("memory://"), Server("memory://")
    task = first.register_task("add", add)

    again = second.register_task("sum", task)

    assert again.fn is add
    again.send(1, 2)
    assert [signature.name for signature in second.get_pending_tasks()] == ["sum"]
    assert first.get_pending_tasks() == []


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", 5])
def test_a_bad_name_is_refused(name: Any) -> None:
    with pytest.raises(InvalidSignature, match="a task's name"):
        Registry().register_task(name, add)


@pytest.mark.parametrize("options", [{"qeue": "x"}, {"priority": 10}, {"queue": "a b"}, {"retry_count": -1}])
def test_bad_options_are_refused(options: Any) -> None:
    registry = Registry()

    with pytest.raises(InvalidSignature):
        registry.register_task("add", add, **options)
    assert registry.names() == []


def test_what_is_no_task_is_refused() -> None:
    def numbers() -> Any:
        yield 1

    async def more_numbers() -> Any:
        yield 1

    registry = Registry()
    for function in (5, numbers, more_numbers):
        with pytest.raises(TypeError, match="task 'x'"):
            registry.register_task("x", function)  # type: ignore[arg-type]


def in_second_place(a: int, ctx: TaskContext) -> None: ...
def by_keyword(*, ctx: TaskContext) -> None: ...
def optional(ctx: TaskContext | None) -> None: ...
def in_a_list(ctx: list[TaskContext]) -> None: ...
def variadic(*ctx: TaskContext) -> None: ...
def two(ctx: TaskContext, more: TaskContext) -> None: ...
def as_text(a: int, ctx: "TaskContext") -> None: ...
def unresolved(a: int, ctx: "elsewhere.TaskContext") -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    "function", [in_second_place, by_keyword, optional, in_a_list, variadic, two, as_text, unresolved]
)
def test_a_context_elsewhere_than_first_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match=r"must be the first positional parameter.*current_task\(\)"):
        Registry().register_task("x", function)


def test_tasks_of_a_registry_belong_to_the_server_that_includes_it() -> None:
    registry, server = Registry(), Server("memory://")
    early = registry.task(add)
    with pytest.raises(TaskNotRegistered, match=r"call server\.include\(registry\)"):
        early.send(1, 2)

    server.include(registry)
    late = registry.register_task("late", add)

    assert server.registered_task_names() == ["add", "late"]
    assert late.send(1, 2).get_state().task_name == "late"
    assert early.send(1, 2).is_new


def test_registries_nest_and_refuse_circles() -> None:
    inner, outer, server = Registry(), Registry(), Server("memory://")
    outer.include(inner)
    server.include(outer)

    inner.task(add).send(1, 2)

    assert server.registered_task_names() == ["add"]
    with pytest.raises(ValueError, match="cannot include itself"):
        inner.include(outer)
    with pytest.raises(ValueError, match="cannot include itself"):
        inner.include(inner)


def test_a_conflict_leaves_both_sides_as_they_were() -> None:
    inner, outer = Registry(), Registry()
    outer.register_task("job", add)
    inner.register_tasks({"a": add, "job": version(1)})

    with pytest.raises(TaskAlreadyRegistered):
        outer.include(inner)
    assert outer.names() == ["job"]
    inner.register_task("b", add)
    assert outer.names() == ["job"]


def test_a_late_conflict_registers_nowhere() -> None:
    inner, outer = Registry(), Registry()
    outer.register_task("job", add)
    outer.include(inner)

    with pytest.raises(TaskAlreadyRegistered):
        inner.register_task("job", version(1))

    assert inner.names() == []


def test_the_last_server_that_included_a_registry_sends() -> None:
    registry, first, second = Registry(), Server("memory://"), Server("memory://")
    task = registry.task(add)
    first.include(registry)
    second.include(registry)
    task.send(1, 2)
    first.include(registry)
    task.send(1, 2)

    assert len(first.get_pending_tasks()) == len(second.get_pending_tasks()) == 1


def test_threads_may_register_at_once() -> None:
    registry, outer = Registry(), Registry()
    outer.include(registry)
    start = threading.Barrier(8)

    def register(number: int) -> None:
        start.wait()
        for index in range(50):
            registry.register_task(f"task-{number}-{index}", add)

    threads = [threading.Thread(target=register, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(registry.names()) == len(outer.names()) == 400
