import asyncio
import contextvars
import inspect
import subprocess
import sys
import threading
from typing import Any

import pytest

import vecna
from vecna.app.results import AsyncResult
from vecna.app.task import Task
from vecna.app.twins import Pool, Twinned, blocking, twin
from vecna.bootstrap import Server


class Thing(Twinned):
    def __init__(self) -> None:
        self.io = Pool()

    @property
    def _pool(self) -> Pool:
        return self.io

    @blocking
    def look(self, at: int, *, closely: bool = False) -> tuple[int, bool, str]:
        """Look."""
        return at, closely, threading.current_thread().name

    look_async = twin(look)


def io_calls(cls: type) -> dict[str, Any]:
    """The blocking methods of a class."""
    members = inspect.getmembers(cls, inspect.isfunction)
    return {name: member for name, member in members if "blocking.<locals>" in member.__code__.co_qualname}


@pytest.mark.parametrize("cls", [Server, AsyncResult, Task])
def test_every_blocking_call_has_a_twin(cls: type) -> None:
    calls = io_calls(cls)

    assert calls
    for name, call in calls.items():
        other = getattr(cls, f"{name}_async", None)
        assert inspect.iscoroutinefunction(other), f"{cls.__name__}.{name} has no twin"
        assert str(inspect.signature(other)).split(" -> ")[0] == str(inspect.signature(call)).split(" -> ")[0]


@pytest.mark.parametrize("cls", [Server, AsyncResult, Task])
def test_what_does_io_is_marked(cls: type) -> None:
    """A method that has a twin and blocks warns of it; closing is the exception: it comes when all is over."""
    for name in dir(cls):
        if name.endswith("_async") and name != "close_async":
            assert name.removesuffix("_async") in io_calls(cls)


async def test_a_twin_runs_elsewhere_with_the_same_arguments_and_context() -> None:
    thing = Thing()

    at, closely, thread = await thing.look_async(1, closely=True)

    assert (at, closely) == (1, True)
    assert thread.startswith("vecna-io")
    assert Thing.look_async.__name__ == "look_async"
    assert (Thing.look_async.__doc__ or "").startswith("As `look`, without blocking the event loop.\n\nLook.")
    thing.io.close()


async def test_the_callers_context_goes_along() -> None:
    variable = contextvars.ContextVar("variable", default=0)
    pool = Pool()
    variable.set(5)

    assert await pool.run(variable.get) == 5
    pool.close()


async def test_a_pool_is_a_few_threads_however_many_call_and_opens_again() -> None:
    pool = Pool()
    threads = set(await asyncio.gather(*[pool.run(threading.current_thread) for _ in range(200)]))
    assert 1 <= len(threads) <= 8

    pool.close()
    pool.close()
    assert not threads.intersection(threading.enumerate())
    assert await pool.run(lambda: 5) == 5
    pool.close()


async def test_what_the_call_raises_the_twin_raises() -> None:
    pool = Pool()

    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        await pool.run(fail)
    pool.close()


def test_every_public_name_is_there() -> None:
    assert sorted(vecna.__all__) == list(vecna.__all__)
    for name in vecna.__all__:
        assert getattr(vecna, name).__doc__, f"vecna.{name} has no docstring"
    assert set(vecna.__all__) <= set(dir(vecna))
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        vecna.Nonsense  # noqa: B018


def test_the_import_loads_next_to_nothing_and_a_server_no_driver() -> None:
    program = """
import sys, vecna
print(sorted({"attrs", "msgspec", "asyncio", "redis", "cattrs"} & sys.modules.keys()))
server = vecna.Server("memory://")
@server.task
def add(a: int, b: int) -> int: return a + b
add.send(1, 2).get_state()
print(sorted({"asyncio", "redis", "cattrs", "opentelemetry"} & sys.modules.keys()))
"""

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert run.stdout.splitlines() == ["[]", "[]"]
