import asyncio
import datetime as dt
import gc
import threading
import weakref
from typing import Any

import attrs
import pytest

from tests.unit.app.doubles import CountingBackend, drain, end, logged, server_with
from vecna.adapters.clock import ManualClock, SystemClock
from vecna.adapters.memory import MemoryBackend, MemoryBroker
from vecna.app.context import TaskContext, running_task
from vecna.app.results import AsyncResult
from vecna.bootstrap import Server
from vecna.domain.arg import TaskResult
from vecna.domain.errors import (
    BrokerUnavailable,
    InvalidArgument,
    ResultTimeout,
    TaskCanceled,
    TaskFailed,
    UnknownTask,
)
from vecna.domain.signature import Signature
from vecna.domain.state import State, TaskState
from vecna.ports.backend import Listener
from vecna.ports.values import Place

pytestmark = pytest.mark.slow  # left out by `make unit`


@attrs.frozen
class Money:
    amount: int
    when: dt.date


def pay(amount: int) -> Money:
    return Money(amount, dt.date(2026, 1, 31))


def both() -> tuple[dt.date, int]:
    return dt.date(2026, 1, 31), 1


def untyped(a):
    return a


@pytest.fixture
def server() -> Server:
    server = Server("memory://")
    server.register_tasks({"pay": pay, "both": both, "untyped": untyped})
    return server


def send(server: Server, name: str = "untyped") -> AsyncResult[Any]:
    return server.send_task(Signature(name, [1]))


def in_thread(function: Any, *args: Any, **kwargs: Any) -> "Call":
    call = Call(function, args, kwargs)
    call.start()
    return call


class Call(threading.Thread):
    """A call in a thread of its own, and what became of it."""

    def __init__(self, function: Any, args: Any, kwargs: Any) -> None:
        super().__init__(daemon=True)
        self._call = (function, args, kwargs)
        self.returned: Any = None
        self.raised: BaseException | None = None

    def run(self) -> None:
        function, args, kwargs = self._call
        try:
            self.returned = function(*args, **kwargs)
        except BaseException as exc:
            self.raised = exc

    def result(self) -> Any:
        self.join(timeout=30)
        assert not self.is_alive()
        if self.raised is not None:
            raise self.raised
        return self.returned


def waiting(server: Server) -> int:
    return len(server.waiting_room._awaited)


def test_a_state_goes_from_pending_to_its_end(server: Server) -> None:
    handle = send(server)

    state = handle.get_state()
    assert (state.state, state.task_name, state.is_completed) == (State.PENDING, "untyped", False)
    assert state.created_at is not None
    assert handle.touch() is None
    assert handle.touch("not yet") == "not yet"

    end(server, handle.uuid, state=State.STARTED)
    assert handle.get_state().state is State.STARTED
    assert handle.touch("not yet") == "not yet"

    end(server, handle.uuid, 5)
    assert handle.get_state().is_success
    assert handle.touch("not yet") == 5
    assert handle.get() == 5


def test_a_failure_is_raised_with_all_that_is_known(server: Server) -> None:
    handle = send(server)
    end(
        server, handle.uuid, state=State.FAILURE, error="RuntimeError: boom", error_type="RuntimeError",
        traceback="Traceback ...",
    )  # fmt: skip

    for call in (handle.get, handle.touch):
        with pytest.raises(TaskFailed, match=f"task {handle.uuid} failed: RuntimeError: boom") as caught:
            call()
        failure = caught.value
        assert (failure.task_uuid, failure.error) == (handle.uuid, "RuntimeError: boom")
        assert (failure.error_type, failure.traceback) == ("RuntimeError", "Traceback ...")


def test_a_cancelled_task_says_why(server: Server) -> None:
    handle = send(server)
    end(server, handle.uuid, state=State.CANCELED, error="expired")

    for call in (handle.get, handle.touch):
        with pytest.raises(TaskCanceled, match=rf"task {handle.uuid} \(untyped\) was canceled: expired"):
            call()


def test_an_unknown_id_is_an_error_everywhere(server: Server) -> None:
    handle = server.result("never-sent")

    for call in (handle.get, handle.touch, handle.get_state):
        with pytest.raises(UnknownTask, match="task never-sent is known to neither broker nor result backend"):
            call()
    assert handle.signature is None
    assert not handle.is_new
    with pytest.raises(InvalidArgument, match="task id"):
        server.result("no id")


def test_a_handle_from_an_id_rebuilds_by_the_recorded_name(server: Server) -> None:
    handle = send(server, "pay")
    end(server, handle.uuid, {"amount": 3, "when": "2026-01-31"}, name="pay")

    assert server.result(handle.uuid).get() == Money(3, dt.date(2026, 1, 31))
    assert handle.get() == Money(3, dt.date(2026, 1, 31))


def test_several_results_one_and_none_keep_their_shape(server: Server) -> None:
    several, one, none = send(server, "both"), send(server), send(server)
    server.backend.put_states(
        [
            TaskState(
                task_uuid=several.uuid, state=State.SUCCESS, several=True,
                results=(TaskResult("string", "2026-01-31"), TaskResult("int64", 1)),
            ),
            TaskState(task_uuid=one.uuid, state=State.SUCCESS, results=(TaskResult("json", None),)),
            TaskState(task_uuid=none.uuid, state=State.SUCCESS),
        ]
    )  # fmt: skip

    assert several.get() == (dt.date(2026, 1, 31), 1)
    assert one.get() is None
    assert none.get() is None


def test_a_result_that_does_not_fit_its_annotation_is_named(server: Server) -> None:
    handle = send(server, "pay")
    end(server, handle.uuid, "s3cr3t")

    with pytest.raises(InvalidArgument, match=r"what pay\(\) returned does not fit its return annotation") as caught:
        handle.get()
    assert "s3cr3t" not in str(caught.value)


def test_where_the_task_is_not_registered_results_are_plain() -> None:
    server = Server("memory://")
    handle = send(server, "pay")
    end(server, handle.uuid, {"amount": 3, "when": "2026-01-31"}, name="pay")

    assert handle.get() == {"amount": 3, "when": "2026-01-31"}


def test_get_waits_until_the_end(server: Server) -> None:
    handles = [send(server) for _ in range(20)]
    calls = [in_thread(handle.get, timeout=30) for handle in handles]

    for number, handle in enumerate(handles):
        end(server, handle.uuid, number)

    assert [call.result() for call in calls] == list(range(20))
    assert waiting(server) == 0


def test_many_may_wait_for_one(server: Server) -> None:
    handle = send(server)
    calls = [in_thread(handle.get, timeout=30) for _ in range(10)]

    end(server, handle.uuid, state=State.FAILURE, error="ValueError: no")

    errors = []
    for call in calls:
        with pytest.raises(TaskFailed) as caught:
            call.result()
        errors.append(caught.value)
    assert len({id(error) for error in errors}) == 10


@pytest.mark.parametrize("timeout", [0, 0.01, dt.timedelta(milliseconds=10)])
def test_a_timeout_leaves_the_task_and_nothing_else_behind(server: Server, timeout: Any) -> None:
    handle = send(server)

    with pytest.raises(ResultTimeout, match=rf"task {handle.uuid} \(untyped\) did not end within 0(\.01)? s; it goes"):
        handle.get(timeout)
    with pytest.raises(TimeoutError):
        handle.get(timeout)

    assert waiting(server) == 0
    assert handle.get_state().state is State.PENDING


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5", True])
def test_a_timeout_that_is_none_is_refused(server: Server, timeout: Any) -> None:
    with pytest.raises(InvalidArgument, match="timeout"):
        send(server).get(timeout)


def test_waiting_inside_a_task_is_refused(server: Server) -> None:
    handle = send(server)
    end(server, handle.uuid, 1)
    token = running_task.set(TaskContext(Signature("outer"), ManualClock()))
    try:
        with pytest.raises(RuntimeError, match=r"task outer waits for the result of task .* Use on_success"):
            handle.get()
        with pytest.raises(RuntimeError, match="task outer waits"):
            asyncio.run(handle.get_async())
        assert handle.touch() == 1
        assert handle.get_state().is_success
    finally:
        running_task.reset(token)


def test_with_a_virtual_clock_an_unfinished_task_is_named_at_once() -> None:
    server = Server("memory://", clock=ManualClock())
    handle = server.send_task(Signature("a", delay=5))

    with pytest.raises(
        ResultTimeout,
        match=r"task .* \(a\) is PENDING, delayed in queue 'vecna_tasks' until 2026-01-01T00:00:05\+00:00 "
        r"\(advance\(seconds=5\)\), and the clock stands still: call run\(\).*advance",
    ):
        handle.get()
    with pytest.raises(ResultTimeout, match="call run"):
        asyncio.run(handle.get_async(timeout=100))
    with pytest.raises(UnknownTask):
        server.result("never-sent").get()
    end(server, handle.uuid, 5)
    assert handle.get() == 5
    assert asyncio.run(handle.get_async()) == 5


def test_a_task_that_ends_between_two_looks_is_found() -> None:
    backend = MemoryBackend(SystemClock())

    class Ending(MemoryBroker):
        """The task ends, and its message goes, just before the broker is asked where it is."""

        def locate(self, uuids: Any, queues: Any = None) -> list[Place | None]:
            backend.put_states([TaskState(task_uuid=uuids[0], state=State.SUCCESS, results=(TaskResult.of(7),))])
            return [None for _ in uuids]

    server = server_with(broker=Ending(SystemClock()), backend=backend)
    handle = send(server)

    assert handle.get_state().is_success
    assert server.result(handle.uuid).get(timeout=30) == 7


def test_what_is_not_kept_becomes_unknown_to_who_waits(server: Server) -> None:
    handle = server.send_task(Signature("untyped", [1], keep_result=False))
    call = in_thread(handle.get, timeout=30)
    while not waiting(server):
        pass

    drain(server)
    end(server, handle.uuid, 5)
    server.backend.release([handle.uuid], dt.timedelta(0))

    call.join(timeout=30)
    # Either it was read in the moment between, or it is gone.
    assert call.returned == 5 or "keep_result=False" in str(call.raised)


def test_forget_drops_what_is_known(server: Server) -> None:
    handle = send(server)
    end(server, handle.uuid, 5)
    drain(server)

    handle.forget()

    with pytest.raises(UnknownTask):
        handle.get()


class Deaf(MemoryBackend):
    """A backend whose notifications all get lost."""

    def listen(self) -> Listener:
        return DeafListener(super().listen())


class DeafListener(Listener):
    def __init__(self, inner: Listener) -> None:
        self._inner = inner

    def watch(self, uuids: Any) -> None: ...

    def unwatch(self, uuids: Any) -> None: ...

    def poll(self, timeout: float) -> list[str]:
        return self._inner.poll(timeout)

    def wake(self) -> None:
        self._inner.wake()

    def close(self) -> None:
        self._inner.close()


def test_a_lost_notification_is_made_up_for_by_reading_again() -> None:
    server = server_with(backend=Deaf(SystemClock()))
    handle = send(server)
    call = in_thread(handle.get, timeout=60)
    while not waiting(server):
        pass

    end(server, handle.uuid, 5)

    assert call.result() == 5


async def test_awaiting_gives_the_result(server: Server) -> None:
    handle = send(server, "pay")
    waiter = asyncio.ensure_future(handle.get_async(timeout=30))

    end(server, handle.uuid, {"amount": 1, "when": "2026-01-31"})

    assert await waiter == Money(1, dt.date(2026, 1, 31))
    assert await handle == Money(1, dt.date(2026, 1, 31))
    assert await handle.touch_async() == Money(1, dt.date(2026, 1, 31))
    assert (await handle.get_state_async()).is_success
    await handle.forget_async()
    drain(server)
    with pytest.raises(UnknownTask):
        await server.result(handle.uuid)


async def test_awaiting_raises_as_get_does(server: Server) -> None:
    failed, canceled, unfinished = send(server), send(server), send(server)
    end(server, failed.uuid, state=State.FAILURE, error="ValueError: no")
    end(server, canceled.uuid, state=State.CANCELED, error="expired")

    with pytest.raises(TaskFailed, match="ValueError: no"):
        await failed
    with pytest.raises(TaskCanceled, match="expired"):
        await canceled
    with pytest.raises(ResultTimeout, match=r"did not end within 0.01 s"):
        await unfinished.get_async(0.01)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await unfinished


async def test_a_cancelled_await_leaves_nothing_behind(server: Server) -> None:
    handle = send(server)
    waiters = [asyncio.ensure_future(handle.get_async()) for _ in range(3)]
    await asyncio.sleep(0)  # noqa: TID251  # lets them begin, takes no time
    assert waiting(server) == 1
    seen = [weakref.ref(waiter) for waiter in server.waiting_room._awaited[handle.uuid].waiters]

    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)
    del waiters, waiter  # they hold what ended them, and that their frames

    assert waiting(server) == 0
    # A tick of the room's thread later nobody speaks of them any more.
    other = send(server)
    end(server, other.uuid, 1)
    assert await other == 1
    gc.collect()
    assert [ref() for ref in seen] == [None] * 3
    while server.backend._store.listeners:  # type: ignore[attr-defined]  # the room's thread is about to let go
        pass


async def test_ten_thousand_awaiting_coroutines_cost_one_thread_and_few_reads() -> None:
    backend = CountingBackend()
    server = server_with(backend=backend)
    others = set(threading.enumerate())
    handles = server.send_tasks([Signature("a") for _ in range(10_000)])
    waiters = [asyncio.ensure_future(handle.get_async()) for handle in handles]
    await asyncio.sleep(0)  # noqa: TID251  # lets them begin, takes no time
    assert waiting(server) == 10_000
    assert [thread.name for thread in threading.enumerate() if thread not in others] == ["vecna-results"]

    backend.put_states(
        [
            TaskState(task_uuid=handle.uuid, state=State.SUCCESS, results=(TaskResult.of(number),))
            for number, handle in enumerate(handles)
        ]
    )

    assert await asyncio.gather(*waiters) == list(range(10_000))
    assert waiting(server) == 0
    assert len(backend.reads) < 100
    await server.close_async()
    left = [thread.name for thread in threading.enumerate() if thread not in others]
    assert [name for name in left if name.startswith("vecna")] == []


async def test_a_loop_that_is_gone_hinders_nobody(server: Server) -> None:
    handle = send(server)
    loop = asyncio.new_event_loop()

    def abandon() -> None:
        loop.run_until_complete(asyncio.wait([loop.create_task(handle.get_async())], timeout=0))
        loop.close()

    await asyncio.to_thread(abandon)
    assert waiting(server) == 1
    other = asyncio.ensure_future(handle.get_async())
    await asyncio.sleep(0)  # noqa: TID251  # lets it begin, takes no time
    end(server, handle.uuid, 5)

    assert await other == 5
    assert waiting(server) == 0


def test_an_outage_is_waited_out(server: Server) -> None:
    backend = CountingBackend()
    server = server_with(backend=backend)
    handle = send(server)
    backend.away.set()

    with logged() as lines:
        call = in_thread(handle.get, timeout=60)
        backend.asked_in_vain.wait()
        while not lines.of("warning"):
            pass
        end(server, handle.uuid, 5)
        backend.away.clear()
        assert call.result() == 5
        server.close()

    assert len(lines.of("warning")) == 1
    assert "cannot be reached, waiting for results stands still" in lines.of("warning")[0]


def test_an_outage_that_lasts_is_told() -> None:
    backend = CountingBackend()
    server = server_with(backend=backend, send_timeout=0.01)
    handle = send(server)
    backend.away.set()

    with logged():
        for _ in range(2):
            with pytest.raises(BrokerUnavailable, match="no route to host"):
                handle.get(timeout=60)
        with pytest.raises(BrokerUnavailable):
            asyncio.run(handle.get_async(timeout=60))
        for call in (handle.get_state, handle.touch):
            with pytest.raises(BrokerUnavailable):
                call()
        server.close()


def test_a_fault_in_an_adapter_is_logged_and_told() -> None:
    class Broken(MemoryBackend):
        def get_state(self, uuid: str) -> None: ...

        def get_states(self, uuids: Any) -> Any:
            raise KeyError("oops")

    server = server_with(backend=Broken(SystemClock()), send_timeout=0.01)
    handle = send(server)

    with logged() as lines:
        with pytest.raises(BrokerUnavailable, match="oops"):
            handle.get(timeout=60)
        server.close()
    assert any("oops" in line for line in lines.of("error"))


def test_closing_tells_who_waits(server: Server) -> None:
    handle = send(server)
    calls = [in_thread(handle.get) for _ in range(3)]
    while not waiting(server) or len(server.waiting_room._awaited[handle.uuid].waiters) < 3:
        pass

    server.close()

    for call in calls:
        with pytest.raises(ResultTimeout, match="its server was closed"):
            call.result()
    assert handle.get_state().state is State.PENDING  # a later call opens again
    end(server, handle.uuid, 5)
    assert in_thread(handle.get, timeout=30).result() == 5


async def test_a_blocking_call_on_a_running_loop_is_warned_of_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vecna.app.twins._warned", set())
    with logged() as lines:
        handle = server.get_registered_task("untyped").send(1)
        handle.get_state()
        handle.get_state()
        end(server, handle.uuid, 5)
        handle.get()
        handle.cancel()
        server.queue_counts()
        await handle.get_async()
        await asyncio.to_thread(handle.touch)

    assert [line.split(" blocks")[0] for line in lines.of("warning")] == [
        "Task.send", "AsyncResult.get_state", "AsyncResult.get", "AsyncResult.cancel", "Server.queue_counts",
    ]  # fmt: skip
    assert "use `await ...get_state_async(...)`" in lines.of("warning")[1]
