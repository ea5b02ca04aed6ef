"""Sending from event loops: the same rules as from threads."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry import trace

from tests.unit.app.doubles import FlakyBroker, drain, end, logged, server_with
from vecna.bootstrap import Server
from vecna.domain.errors import BrokerUnavailable, InvalidArgument, InvalidSignature
from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.domain.state import State


class Counting(FlakyBroker):
    """Counts threads, too."""

    def __init__(self, failures: int = 0, *, late: bool = False) -> None:
        super().__init__(failures, late=late)
        self.sizes: list[int] = []

    def enqueue(self, messages: Sequence[Message]) -> list[bool]:
        self.sizes.append(len(messages))
        return super().enqueue(messages)


def names(server: Server) -> list[str]:
    return [signature.name for signature in server.broker.get_pending_tasks("vecna_tasks")]


async def test_a_hundred_at_once_are_one_call() -> None:
    broker = Counting()
    server = server_with(broker=broker)
    task: Any = server.register_task("add", lambda a, b: a + b)

    handles = await asyncio.gather(*[task.send_async(number, 1) for number in range(100)])

    assert broker.sizes == [100]
    assert [handle.is_new for handle in handles] == [True] * 100
    assert [handle.signature.args[0].value for handle in handles] == list(range(100))
    assert {handle.queue for handle in handles} == {"vecna_tasks"}
    await server.close_async()


async def test_a_bad_one_is_refused_by_itself() -> None:
    server = server_with(max_message_size=2000)
    good, large, wrong = Signature("a"), Signature("a", ["x" * 3000]), Signature("a", group_uuid="g")

    found = await asyncio.gather(
        server.send_task_async(good),
        server.send_task_async(large),
        server.send_task_async(wrong),
        server.send_tasks_async([Signature("a"), large]),
        return_exceptions=True,
    )

    assert [type(each).__name__ for each in found[1:]] == ["InvalidArgument", "InvalidSignature", "InvalidArgument"]
    assert isinstance(found[1], InvalidArgument)
    assert isinstance(found[2], InvalidSignature)
    assert names(server) == ["a"]
    await server.close_async()


async def test_an_outage_is_waited_out_by_all_and_told_once() -> None:
    broker = Counting(3, late=True)
    server = server_with(broker=broker)
    with logged() as lines:
        handles = await asyncio.gather(*[server.send_task_async(Signature("a")) for _ in range(20)])

    assert len(names(server)) == len(handles) == 20
    assert len(lines.of("warning")) == 1
    await server.close_async()


async def test_what_cannot_be_sent_in_time_can_be_sent_again() -> None:
    broker = Counting(1000, late=True)
    server = server_with(broker=broker, send_timeout=0.1)
    signatures = [Signature("a"), Signature("b")]
    with logged(), pytest.raises(BrokerUnavailable, match=r"2 task\(s\) could not be sent within 0.1 s") as caught:
        await server.send_tasks_async(signatures)

    assert caught.value.signatures == tuple(signatures)
    assert broker.calls > 1
    broker.failures = 0
    assert [handle.is_new for handle in await server.send_tasks_async(caught.value.signatures)] == [False, False]
    assert names(server) == ["a", "b"]
    await server.close_async()


async def test_what_has_ended_meanwhile_is_not_sent_again() -> None:
    server = server_with()
    signature, other = Signature("a"), Signature("b")
    await server.send_task_async(signature)
    end(server, signature.uuid, 5)
    drain(server)

    again, new = await server.send_tasks_async([signature, other])

    assert (again.is_new, new.is_new) == (False, True)
    assert not (await server.send_task_async(signature)).is_new
    assert await again == 5
    assert names(server) == ["b"]
    await server.close_async()


async def test_callbacks_are_pending_from_then_on() -> None:
    server = server_with()
    callback = Signature("b")
    await server.send_task_async(Signature("a", on_success=[callback]))

    assert (await server.result(callback.uuid).get_state_async()).state is State.PENDING
    await server.close_async()


async def test_closing_the_server_ends_the_attempts() -> None:
    broker = Counting(1_000_000)
    server = server_with(broker=broker, send_timeout=3600)
    with logged():
        sending = asyncio.ensure_future(server.send_task_async(Signature("a")))
        await asyncio.to_thread(broker.failed.wait)
        await server.close_async()
        with pytest.raises(BrokerUnavailable):
            await sending


async def test_a_handler_and_a_large_batch_are_kept_off_the_loop() -> None:
    server = server_with()
    threads: set[str] = set()
    server.set_pre_publish_handler(lambda signature: threads.add(threading.current_thread().name))
    await server.send_task_async(Signature("a"))
    server.set_pre_publish_handler(None)

    assert all(name.startswith("vecna-io") for name in threads)
    assert len(threads) == 1
    handles = await server.send_tasks_async(Signature("a") for _ in range(1_001))
    assert all(handle.is_new for handle in handles)
    assert len(names(server)) == 1_002
    assert await server.send_tasks_async([]) == []
    await server.close_async()


async def test_a_cancelled_send_can_be_sent_again() -> None:
    server = server_with()
    signatures = [Signature("a") for _ in range(50)]
    for turns, signature in enumerate(signatures):
        sending = asyncio.ensure_future(server.send_task_async(signature))
        for _ in range(turns % 6):
            await asyncio.sleep(0)  # noqa: TID251  # takes no time
        sending.cancel()
    await asyncio.gather(*[server.send_task_async(signature) for signature in signatures])

    assert len(names(server)) == 50
    await server.close_async()


async def test_each_send_is_in_the_context_of_its_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes with others in one call has the trace of its own sender."""
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    tracer = provider.get_tracer("test")
    server = server_with()
    parents: dict[str, int] = {}

    async def send(name: str) -> None:
        with tracer.start_as_current_span(name) as span:
            parents[name] = span.get_span_context().trace_id
            await server.send_task_async(Signature(name))

    await asyncio.gather(send("a"), send("b"))

    sent = {each.name: str(each.headers["traceparent"]) for each in server.broker.get_pending_tasks("vecna_tasks")}
    assert {name: int(header.split("-")[1], 16) for name, header in sent.items()} == parents
    await server.close_async()
