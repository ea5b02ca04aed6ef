"""Never run: mypy checks that right calls have the right type, and that wrong ones are errors.

Each wrong call carries the error that a user must get; when it is not an error any more, the comment is one.
"""

import datetime as dt
from collections.abc import Callable, Coroutine
from typing import Any, assert_type

from vecna import AsyncResult, Registry, Schedule, Server, Signature, Task, TaskContext

server = Server("memory://")
registry = Registry()


@server.task
def add(a: int, b: int = 2) -> int:
    return a + b


@server.task(name="math.divide", queue="math", retry_count=3, timeout=dt.timedelta(seconds=5))
def divide(a: float, *, by: float) -> float:
    return a / by


@registry.task
async def fetch(url: str) -> bytes:
    return url.encode()


@registry.task(retry_on=OSError)
async def report(ctx: TaskContext, days: int) -> dict[str, int]:
    ctx.progress(0, days)
    return {}


@server.task
def tell(ctx: TaskContext) -> None:
    ctx.raise_if_canceled()


@server.task
def join(*words: str, **more: int) -> str:
    return " ".join(words)


@server.task
def log(value: object, level: str = "info") -> None:
    """What its first parameter takes includes a context: its calls are not checked."""


def plain(a: int) -> tuple[int, str]:
    return a, str(a)


async def plain_async(ctx: TaskContext, a: int) -> str:
    return str(a)


# -- what is what -----------------------------------------------------------------------------------------------------

assert_type(add(1, 2), int)
assert_type(add.send(1, b=2), AsyncResult[int])
assert_type(add.send(1).get(), int)
assert_type(add.send(1).get(timeout=5), int)
assert_type(add.send(1).touch(), int | None)
assert_type(add.send(1).touch("none"), int | str)
assert_type(add.signature(1, 2), Signature[int])
assert_type(add.s(), Signature[int])
assert_type(add.options(delay=5, queue="slow", priority=9).send(1, 2), AsyncResult[int])
assert_type(server.send_task(add.signature(1)), AsyncResult[int])
assert_type(server.send_tasks([add.signature(1), add.signature(2)]), list[AsyncResult[int]])
assert_type(server.result("id"), AsyncResult[Any])
assert_type(divide.send(1, by=2).get(), float)
assert_type(report.send(3).get(), dict[str, int])
assert_type(tell.send().get(), None)
assert_type(tell(), None)
assert_type(join.send("a", "b", c=1), AsyncResult[str])
assert_type(log.send(1), AsyncResult[None])
assert_type(log.send(value=1, level="debug"), AsyncResult[None])
assert_type(server.register_task("plain", plain, retry_count=3).send(1).get(), tuple[int, str])
assert_type(server.register_task("plain_async", plain_async).send(1).get(), str)
assert_type(server.get_registered_task("add"), Task[..., Any, Any])


assert_type(add.every("@hourly", code="c").send(1, b=2), Schedule)
assert_type(add.options(queue="slow").every(dt.timedelta(hours=1)).send(1), Schedule)
assert_type(server.send_periodic_task("@hourly", add.signature(1), missed="all"), Schedule)
assert_type(server.schedules(), list[Schedule])
assert_type(server.periodic("@hourly", code="c")(tell), Task[[], None, None])
assert_type(server.periodic("@hourly")(add).send(1), AsyncResult[int])


@server.periodic("@hourly", missed="skip")
@server.task
def hourly(ctx: TaskContext) -> int:
    return ctx.attempt


assert_type(hourly(), int)
assert_type(hourly.send(), AsyncResult[int])


async def in_a_coroutine() -> None:
    assert_type(await add.every("@hourly").send_async(1), Schedule)
    assert_type(await server.get_schedule_async("c"), Schedule)
    assert_type(await add.send_async(1), AsyncResult[int])
    assert_type(await add.send(1), int)
    assert_type(await add.send(1).get_async(timeout=1), int)
    assert_type(await fetch("x"), bytes)
    assert_type(await (await fetch.send_async("x")), bytes)
    assert_type(await report(3), dict[str, int])
    assert_type(await server.send_task_async(fetch.signature("x")), AsyncResult[bytes])
    assert_type(await server.send_tasks_async([fetch.signature("x")]), list[AsyncResult[bytes]])
    assert_type(await add.send(1).touch_async(), int | None)
    assert_type((await add.send(1).get_state_async()).is_completed, bool)
    assert_type(await server.get_pending_tasks_async("q", limit=3), list[Signature[Any]])


def coroutine_of_a_plain_call() -> Coroutine[Any, Any, bytes]:
    return fetch("x")


def plain_function_again() -> Callable[..., int]:
    return add.fn


# -- what must be an error --------------------------------------------------------------------------------------------

add()  # type: ignore[call-arg]
add("1")  # type: ignore[arg-type]
add.send()  # type: ignore[call-arg]
add.send("1", 2)  # type: ignore[arg-type]
add.send(1, 2, 3)  # type: ignore[call-arg]
add.send(1, c=2)  # type: ignore[call-arg]
add.signature(1, b="2")  # type: ignore[arg-type]
add.options(priority="high")  # type: ignore[arg-type]
add.options(prority=1)  # type: ignore[call-arg]
add.options(delay=1).send("1")  # type: ignore[arg-type]
divide.send(1, 2)  # type: ignore[call-arg]
divide.send(1, by="2")  # type: ignore[arg-type]
report.send()  # type: ignore[call-arg]
report.send("3")  # type: ignore[arg-type]
tell.send(1)  # type: ignore[call-arg]
join.send(1)  # type: ignore[arg-type]
join.send("a", b="c")  # type: ignore[arg-type]
server.send_task(add)  # type: ignore[arg-type]
server.send_tasks(add.signature(1))  # type: ignore[arg-type]
server.task(queue=3)  # type: ignore[call-overload]
server.task(nane="x")  # type: ignore[call-overload]
server.register_task("plain", plain).send("1")  # type: ignore[arg-type]
server.register_task("plain", plain, retry_count="3")  # type: ignore[call-overload]
add.send(1).get(timeout="5")  # type: ignore[arg-type]
add.every("@hourly").send()  # type: ignore[call-arg]
add.every("@hourly").send("1")  # type: ignore[arg-type]
add.every("@hourly", missed="never")  # type: ignore[arg-type]
add.every(60)  # type: ignore[arg-type]
server.send_periodic_task("@hourly", add)  # type: ignore[arg-type]
server.periodic("@hourly", cod="c")  # type: ignore[call-arg]
wrong: str = add.send(1).get()  # type: ignore[assignment]


async def wrong_in_a_coroutine() -> None:
    await fetch.send_async()  # type: ignore[call-arg]
    await fetch.send_async(1)  # type: ignore[arg-type]
    await report(1, 2)  # type: ignore[call-arg]
    await server.get_pending_tasks_async(limit="3")  # type: ignore[arg-type]
