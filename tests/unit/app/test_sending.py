import asyncio
import datetime as dt
import threading
from typing import Any

import pytest

from tests.unit.app.doubles import CountingBackend, FlakyBroker, drain, end, logged, server_with
from vecna.adapters.clock import ManualClock
from vecna.bootstrap import Server
from vecna.domain.errors import BrokerUnavailable, InvalidArgument, InvalidSignature
from vecna.domain.signature import Signature
from vecna.domain.state import State


def add(a: int, b: int) -> int:
    return a + b


@pytest.fixture
def server() -> Server:
    return Server("memory://")


def names(server: Server, queue: str | None = None) -> list[str]:
    return [signature.name for signature in server.get_pending_tasks(queue)]


def test_a_signature_goes_to_the_default_queue_unless_it_names_one(server: Server) -> None:
    first = server.send_task(Signature("a"))
    second = server.send_task(Signature("b", queue="other"))

    assert (names(server), names(server, "other")) == (["a"], ["b"])
    assert (first.queue, second.queue) == ("vecna_tasks", "other")
    assert first.is_new
    assert second.is_new


def test_options_of_the_registration_fill_in_what_the_signature_leaves_open(server: Server) -> None:
    server.register_task("add", add, queue="math", retry_count=3, priority=1, delay=5)

    sent = server.send_task(Signature("add", [1, 2], priority=7, eta=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)))

    (waiting,) = server.get_pending_tasks("math")
    assert waiting == sent.signature
    assert waiting.set_options == {
        "priority": 7, "eta": dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "queue": "math", "retry_count": 3,
    }  # fmt: skip


def test_options_are_filled_in_for_callbacks_too(server: Server) -> None:
    server.register_task("add", add, queue="math", retry_count=3)
    callback = Signature("add", [1])

    sent = server.send_task(Signature("other", on_success=[callback], on_error=Signature("x", on_success=callback)))

    assert sent.signature is not None
    assert sent.signature.on_success[0].set_options == {"queue": "math", "retry_count": 3}
    assert sent.signature.on_error[0].on_success[0].queue == "math"
    assert sent.signature.on_success[0].uuid == callback.uuid
    assert callback.set_options == {}


def test_a_uuid_is_accepted_once(server: Server) -> None:
    signature = Signature("a")

    first, second = server.send_task(signature), server.send_task(signature)

    assert (first.is_new, second.is_new) == (True, False)
    assert first.uuid == second.uuid
    assert names(server) == ["a"]
    assert server.send_task(signature.clone()).is_new


def test_what_has_ended_is_not_sent_again_while_its_result_exists(server: Server) -> None:
    signature = Signature("a")
    server.send_task(signature)
    end(server, signature.uuid, 5)
    drain(server)

    again = server.send_tasks([Signature("b"), signature, Signature.from_json(signature.to_json())])

    assert [handle.is_new for handle in again] == [True, False, False]
    assert names(server) == ["b"]
    assert again[1].get() == 5
    again[1].forget()
    assert server.send_task(signature).is_new


def test_what_runs_is_not_sent_again(server: Server) -> None:
    signature = Signature("a")
    server.send_task(signature)
    end(server, signature.uuid, state=State.STARTED)

    assert not server.send_task(signature).is_new


def test_a_fresh_signature_costs_no_read(server: Server) -> None:
    backend = CountingBackend()
    server = server_with(backend=backend)
    task = server.register_task("add", add, queue="math")

    server.send_tasks([task.signature(1, 2), Signature("add", [1, 2]), Signature("other")])
    task.send(1, 2)
    assert backend.reads == []

    server.send_task(Signature("a", uuid="known-elsewhere"))
    assert backend.reads == [1]


def test_a_batch_is_one_round_trip() -> None:
    broker = FlakyBroker(0)
    server = server_with(broker=broker)

    handles = server.send_tasks(Signature("a", [number]) for number in range(100))

    assert len(handles) == 100
    assert broker.calls == 1
    assert server.send_tasks([]) == []
    assert broker.calls == 1


@pytest.mark.parametrize(
    "wrong",
    [
        Signature("a", ["x" * 300_000]),
        Signature("a", group_uuid="g"),
        Signature("a", group_task_count=2),
        Signature("a", chord_callback=Signature("b")),
        Signature("a", spec="* * * * *"),
        Signature("a", on_success=Signature("b", group_uuid="g")),
        "a",
        add,
        None,
    ],
)
def test_all_of_a_batch_is_checked_before_any_is_sent(server: Server, wrong: Any) -> None:
    good = Signature("good")

    with pytest.raises((InvalidArgument, InvalidSignature)):
        server.send_tasks([good, wrong])

    assert names(server) == []
    assert good.fresh


def test_errors_name_the_thing_and_the_remedy(server: Server) -> None:
    task = server.register_task("add", add)

    with pytest.raises(
        InvalidArgument, match=r"task a has 2000\d\d bytes; the limit is 200000 .Config.max_message_size"
    ):
        server_with(max_message_size=200_000).send_task(Signature("a", ["x" * 200_000], uuid="a"))
    with pytest.raises(InvalidSignature, match="group_uuid of task a is set by workflows"):
        server.send_task(Signature("a", group_uuid="g"))
    with pytest.raises(InvalidSignature, match=r"call add\.send\(\.\.\.\), or pass add\.signature"):
        server.send_task(task)  # type: ignore[arg-type]
    with pytest.raises(InvalidSignature, match="send_tasks takes a list of signatures, not a Signature"):
        server.send_tasks(Signature("a"))  # type: ignore[arg-type]


def test_an_eta_in_the_past_runs_now_and_one_in_the_future_waits(server: Server) -> None:
    server.send_task(Signature("past", eta=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)))
    server.send_task(Signature("future", eta=dt.datetime(2120, 1, 1, tzinfo=dt.UTC)))
    server.send_task(Signature("soon", delay=3600))

    assert names(server) == ["past"]
    assert [signature.name for signature in server.get_delayed_tasks()] == ["soon", "future"]


def test_the_pre_publish_handler_sees_what_is_sent_and_may_replace_it(server: Server) -> None:
    server.register_task("add", add, retry_count=3)
    seen: list[Signature] = []

    def handler(signature: Signature) -> Signature | None:
        seen.append(signature)
        return signature.replace(queue="math") if signature.name == "add" else None

    server.set_pre_publish_handler(handler)
    handles = server.send_tasks([Signature("add", [1, 2]), Signature("other")])

    assert [signature.name for signature in seen] == ["add", "other"]
    assert seen[0].retry_count == 3
    assert (names(server, "math"), names(server)) == (["add"], ["other"])
    assert [handle.queue for handle in handles] == ["math", "vecna_tasks"]
    server.set_pre_publish_handler(None)
    server.send_task(Signature("third"))
    assert len(seen) == 2


@pytest.mark.parametrize("returned", [Signature("a"), 5, "x"])
def test_the_pre_publish_handler_may_not_return_anything_else(server: Server, returned: Any) -> None:
    server.set_pre_publish_handler(lambda _: returned)

    with pytest.raises(InvalidSignature, match="the pre-publish handler returned"):
        server.send_tasks([Signature("a"), Signature("b")])
    assert names(server) == []


def test_what_the_pre_publish_handler_raises_the_send_raises(server: Server) -> None:
    def refuse(signature: Signature) -> None:
        if signature.name == "b":
            raise PermissionError("not today")

    server.set_pre_publish_handler(refuse)

    with pytest.raises(PermissionError, match="not today"):
        server.send_tasks([Signature("a"), Signature("b")])
    assert names(server) == []
    with pytest.raises(InvalidArgument, match="takes a function or None, not int"):
        server.set_pre_publish_handler(5)  # type: ignore[arg-type]


def test_a_handler_cannot_smuggle_in_what_workflows_set(server: Server) -> None:
    server.set_pre_publish_handler(lambda signature: signature.replace(group_uuid="g"))

    with pytest.raises(InvalidSignature, match="group_uuid"):
        server.send_task(Signature("a"))


def test_an_unregistered_name_is_warned_of_once_if_tasks_are_registered_here(server: Server) -> None:
    with logged() as lines:
        server.send_task(Signature("theirs"))
        assert lines.of("warning") == []

        server.register_task("add", add)
        server.send_tasks([Signature("theirs"), Signature("theirs"), Signature("others"), Signature("add", [1, 2])])
        server.send_task(Signature("theirs"))

    assert [line.split("'")[1] for line in lines.of("warning")] == ["theirs", "others"]


def test_a_lost_reply_is_repeated_without_a_second_effect() -> None:
    broker = FlakyBroker(2, late=True)
    server = server_with(broker=broker)

    with logged() as lines:
        handle = server.send_task(Signature("a"))

    assert broker.calls == 3
    assert names(server) == ["a"]
    assert handle.get_state().state is State.PENDING
    assert len(lines.of("warning")) == 1


def test_what_cannot_be_sent_in_time_can_be_sent_again() -> None:
    broker = FlakyBroker(1000, late=True)
    server = server_with(broker=broker, send_timeout=0.1)
    signatures = [Signature("a"), Signature("b")]

    with logged(), pytest.raises(BrokerUnavailable, match=r"2 task\(s\) could not be sent within 0.1 s") as caught:
        server.send_tasks(signatures)

    assert caught.value.signatures == tuple(signatures)
    assert broker.calls > 1
    broker.failures = 0
    assert [handle.is_new for handle in server.send_tasks(caught.value.signatures)] == [False, False]
    assert names(server) == ["a", "b"]


def test_what_was_accepted_unseen_and_has_ended_is_not_run_twice() -> None:
    broker = FlakyBroker(1000, late=True)
    server = server_with(broker=broker, send_timeout=0.05)
    signature = Signature("a")
    with logged(), pytest.raises(BrokerUnavailable):
        server.send_task(signature)
    broker.failures = 0
    end(server, signature.uuid, 5)
    drain(server)

    handle = server.send_task(signature)

    assert not handle.is_new
    assert handle.get() == 5
    assert names(server) == []


def test_closing_the_server_ends_the_attempts() -> None:
    broker = FlakyBroker(1_000_000)
    server = server_with(broker=broker, send_timeout=3600)
    errors: list[BaseException] = []

    def send() -> None:
        try:
            server.send_task(Signature("a"))
        except BrokerUnavailable as exc:
            errors.append(exc)

    with logged():
        thread = threading.Thread(target=send)
        thread.start()
        broker.failed.wait()
        server.close()
        thread.join(timeout=30)

    assert not thread.is_alive()
    assert len(errors) == 1


def test_with_a_virtual_clock_nothing_is_waited_for() -> None:
    """It tries again at once, and not for ever: nobody moves the clock meanwhile."""
    broker = FlakyBroker(2)
    server = server_with(broker=broker, clock=ManualClock())
    assert server.send_task(Signature("a")).is_new
    assert broker.calls == 3

    broker = FlakyBroker(100)
    server = server_with(broker=broker, clock=ManualClock())
    with pytest.raises(BrokerUnavailable):
        server.send_task(Signature("a"))
    assert broker.calls == 3


async def test_the_twins_do_not_block_the_loop() -> None:
    broker = FlakyBroker(3)
    server = server_with(broker=broker)
    task = server.register_task("add", add)
    loop_thread = threading.current_thread()
    threads: list[threading.Thread] = []
    server.set_pre_publish_handler(lambda _: threads.append(threading.current_thread()))

    with logged() as lines:
        sent = await asyncio.gather(
            task.send_async(1, 2),
            server.send_task_async(task.signature(3, 4)),
            server.send_tasks_async(task.signature(number, 0) for number in range(3)),
        )

    assert [sent[0].is_new, sent[1].is_new, *[handle.is_new for handle in sent[2]]] == [True] * 5
    assert loop_thread not in threads
    assert not [line for line in lines.of("warning") if "event loop" in line]
    await server.close_async()
