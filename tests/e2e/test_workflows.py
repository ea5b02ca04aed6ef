"""Workflows as users send them, on memory and on real servers, with functions and with coroutines."""

import threading
from collections.abc import Iterator

import pytest

from tests.conftest import SERVERS
from vecna import Chain, Chord, Config, Group, Server, State, TaskCanceled, TaskFailed
from vecna.app.worker import Worker

PATIENCE = 30  # seconds; only a broken build waits so long


def _sum(*numbers: int) -> int:
    return sum(numbers)


def _product(*numbers: int) -> int:
    product = 1
    for number in numbers:
        product *= number
    return product


class Tasks:
    """The same tasks as functions or as coroutines."""

    def __init__(self, server: Server, kind: str) -> None:
        async def add(*numbers: int) -> int:
            return _sum(*numbers)

        async def multiply(*numbers: int) -> int:
            return _product(*numbers)

        self.ran: list[str] = []
        is_function = kind == "functions"
        self.add = server.register_task("add", _sum if is_function else add)
        self.multiply = server.register_task("multiply", _product if is_function else multiply)
        self.boom = server.register_task("boom", self._boom)
        self.note = server.register_task("note", self._note)
        self.pair = server.register_task("pair", self._pair)
        self.nothing = server.register_task("nothing", self._nothing)
        self.collect = server.register_task("collect", self._collect)

    def _boom(self, *_: int) -> int:
        raise RuntimeError("boom")

    def _note(self, *texts: str) -> None:
        self.ran.append(" ".join(texts))

    def _pair(self) -> tuple[int, int]:
        return 1, 2

    def _nothing(self, *_: int) -> None:
        return None

    def _collect(self, *values: int) -> list[int]:
        return list(values)


@pytest.fixture(params=["memory", *SERVERS])
def server(request: pytest.FixtureRequest, namespace: str) -> Iterator[Server]:
    if request.param == "memory":
        url = "memory://"
    else:
        url = request.getfixturevalue("server_of")(request.param).url
    with Server(Config(broker=url, namespace=namespace, heartbeat=0.2, lease=5)) as server:
        yield server


@pytest.fixture(params=["functions", "coroutines"])
def tasks(request: pytest.FixtureRequest, server: Server) -> Tasks:
    return Tasks(server, request.param)


@pytest.fixture
def worker(server: Server, tasks: Tasks) -> Iterator[Worker]:
    worker = server.new_worker("w", 8, queues=[server.config.default_queue, "other"])
    worker.set_error_handler(lambda *_: None)
    with worker:
        yield worker


def test_the_documented_chord(server: Server, tasks: Tasks, worker: Worker) -> None:
    """(1 + 1) * (5 + 5) = 20, the example of the Go library."""
    chord = Chord(Group(tasks.add.signature(1, 1), tasks.add.signature(5, 5)), tasks.multiply.s())

    result = server.send_chord(chord)

    assert result.get(timeout=PATIENCE) == 20
    assert result.uuid == chord.callback.uuid
    assert result.group.get(timeout=PATIENCE) == [2, 10]


def test_the_documented_chain(server: Server, tasks: Tasks, worker: Worker) -> None:
    """4 * (5 + 5 + (1 + 1)) = 48, the example of the Go library."""
    result = server.send_chain(Chain(tasks.add.signature(1, 1), tasks.add.s(5, 5), tasks.multiply.s(4)))

    assert result.get(timeout=PATIENCE) == 48
    assert [link.get(timeout=PATIENCE) for link in result.links] == [2, 12, 48]


def test_the_documented_group(server: Server, tasks: Tasks, worker: Worker) -> None:
    result = server.send_group(Group(tasks.add.signature(1, 1), tasks.add.signature(5, 5)), 0)

    assert [member.get(timeout=PATIENCE) for member in result] == [2, 10]
    assert result.get(timeout=PATIENCE) == [2, 10]
    assert result.completed == len(result) == 2
    assert server.group_result(result.uuid).get(timeout=PATIENCE) == [2, 10]


async def test_a_workflow_can_be_awaited(server: Server, tasks: Tasks, worker: Worker) -> None:
    chain = await server.send_chain_async(tasks.add.signature(1, 1) | tasks.add.s(5, 5) | tasks.multiply.s(4))
    group = await server.send_group_async(Group(tasks.add.signature(i) for i in range(3)))

    assert await chain == 48
    assert await group == [0, 1, 2]


def test_workflows_nest_over_queues(server: Server, tasks: Tasks, worker: Worker) -> None:
    other = tasks.add.options(queue="other")
    nested = Chain(
        tasks.add.signature(1, 1),
        Group(other.s(1), Chain(tasks.add.s(2), other.s(3)), Chord(Group(tasks.add.s(4), other.s(5)), tasks.add.s(6))),
        Chain(tasks.multiply.s(2), tasks.add.s(1)),
    )
    # 2 -> (3, (4 -> 7), (6, 7 -> 19)) -> 2 * 3 * 7 * 19 = 798 -> 799

    assert server.send_chain(nested).get(timeout=PATIENCE) == 799


def test_results_reach_the_callback_in_the_order_of_the_group(server: Server, tasks: Tasks, worker: Worker) -> None:
    members = Group(tasks.add.signature(5), tasks.pair.signature(), tasks.nothing.signature(), tasks.add.signature(9))

    assert server.send_chord(Chord(members, tasks.collect.s(0))).get(timeout=PATIENCE) == [0, 5, 1, 2, 9]


def test_immutable_callbacks_and_links_take_nothing(server: Server, tasks: Tasks, worker: Worker) -> None:
    deaf = tasks.collect.options(immutable=True)
    members = Group(tasks.add.signature(1), tasks.add.signature(2))

    assert server.send_chord(Chord(members, deaf.s(7))).get(timeout=PATIENCE) == [7]
    chain = Chain(tasks.add.options(immutable=True).signature(1), tasks.collect.s(7))
    assert server.send_chain(chain).get(timeout=PATIENCE) == [7]


def test_a_failed_member_settles_its_chord_at_once(server: Server, tasks: Tasks, worker: Worker) -> None:
    late = tasks.add.options(delay=3600).signature(1)
    noted = tasks.note.signature("error:")
    callback = tasks.add.s().replace(on_error=[noted])

    result = server.send_chord(Chord(Group(late, tasks.boom.signature()), callback))

    with pytest.raises(TaskFailed, match="boom") as failure:
        result.get(timeout=PATIENCE)
    assert failure.value.task_uuid == result.group[1].uuid
    with pytest.raises(TaskFailed, match=result.group[1].uuid):
        result.callback.get(timeout=PATIENCE)
    server.result(noted.uuid).get(timeout=PATIENCE)
    assert len(tasks.ran) == 1
    assert "boom" in tasks.ran[0]


def test_a_failed_link_ends_its_chain(server: Server, tasks: Tasks, worker: Worker) -> None:
    result = server.send_chain(Chain(tasks.boom.signature(), tasks.add.s(1), tasks.note.s()))

    with pytest.raises(TaskFailed, match="boom"):
        result.get(timeout=PATIENCE)
    with pytest.raises(TaskCanceled, match=result.links[0].uuid):
        result.links[2].get(timeout=PATIENCE)
    assert result.get_state().state is State.CANCELED
    assert not tasks.ran


def test_callbacks_of_a_task(server: Server, tasks: Tasks, worker: Worker) -> None:
    good, bad = tasks.collect.s(1), tasks.collect.s(2)

    result = server.send_task(tasks.add.signature(1, 1).replace(on_success=[good], on_error=[bad]))

    assert server.result(good.uuid).get(timeout=PATIENCE) == [1, 2]
    assert result.get(timeout=PATIENCE) == 2
    with pytest.raises(TaskCanceled, match="SUCCESS"):
        server.result(bad.uuid).get(timeout=PATIENCE)


def test_all_is_pending_from_the_moment_of_sending(server: Server, tasks: Tasks) -> None:
    first = tasks.add.signature(1).replace(on_success=[tasks.note.s()])
    chain = server.send_chain(Chain(first, Group(tasks.add.s(1), tasks.add.s(2)), tasks.add.s(3)))
    known = [*chain.leaves(), server.result(first.on_success[0].uuid)]

    assert [result.get_state().state for result in known] == [State.PENDING] * 5


def test_sending_again_starts_nothing(server: Server, tasks: Tasks, worker: Worker) -> None:
    chord = Chord(Group(tasks.add.signature(1), tasks.add.signature(2)), tasks.collect.s())
    first = server.send_chord(chord)
    assert first.is_new
    assert first.get(timeout=PATIENCE) == [1, 2]

    again = server.send_chord(chord)

    assert not again.is_new
    assert again.get(timeout=PATIENCE) == [1, 2]


def test_a_large_group_calls_back_once(server: Server, tasks: Tasks, worker: Worker) -> None:
    """More than one batch: it is held back until all is there."""
    result = server.send_chord(Chord(Group(tasks.add.signature(i) for i in range(1201)), tasks.add.s()))

    assert result.get(timeout=PATIENCE) == sum(range(1201))


def test_a_chain_cancelled_by_its_code_does_not_go_on(server: Server, tasks: Tasks) -> None:
    chain = server.send_chain(Chain(tasks.add.signature(1), tasks.note.s(), tasks.note.s(), code="stop-me"))

    cancellation = server.cancel("stop-me")

    assert cancellation
    assert set(cancellation.canceled) == {link.uuid for link in chain.links}
    with server.new_worker("w", 4):
        with pytest.raises(TaskCanceled):
            chain.get(timeout=PATIENCE)
        assert server.send_task(tasks.add.signature(1).replace(code="stop-me")).get(timeout=PATIENCE) == 1
    assert not tasks.ran


@pytest.mark.parametrize("by", ["object", "handle", "id"])
def test_a_chord_is_cancelled_by_object_handle_or_id(server: Server, tasks: Tasks, by: str) -> None:
    chord = Chord(Group(tasks.add.options(delay=3600).signature(1), tasks.note.signature("x")), tasks.note.s())
    handle = server.send_chord(chord)

    cancellation = server.cancel_delayed_chord({"object": chord, "handle": handle, "id": handle.uuid}[by])

    assert cancellation
    assert set(cancellation.canceled) == {leaf.uuid for leaf in handle.leaves()}
    assert server.cancel_delayed_chord(chord) == cancellation or set(
        server.cancel_delayed_chord(chord).canceled
    ) == set(cancellation.canceled)
    with pytest.raises(TaskCanceled):
        handle.get(timeout=PATIENCE)


def test_what_runs_when_its_chain_is_cancelled_causes_nothing_more(server: Server, tasks: Tasks) -> None:
    started, go_on = threading.Event(), threading.Event()

    def hold() -> int:
        started.set()
        go_on.wait(PATIENCE)
        return 1

    held = server.register_task("hold", hold)
    chain = server.send_chain(Chain(held.signature(), tasks.note.s()))
    with server.new_worker("w", 4):
        assert started.wait(PATIENCE)

        cancellation = chain.cancel()

        go_on.set()
        assert cancellation.running == (chain.links[0].uuid,)
        assert cancellation.canceled == (chain.links[1].uuid,)
        assert chain.links[0].get(timeout=PATIENCE) == 1
        with pytest.raises(TaskCanceled):
            chain.links[1].get(timeout=PATIENCE)
    assert not tasks.ran
    assert server.cancel(chain.links[0].uuid).finished == (chain.links[0].uuid,)


def test_cancelling_answers_for_each_id(server: Server, tasks: Tasks, worker: Worker) -> None:
    done = tasks.add.send(1)
    done.get(timeout=PATIENCE)
    waits = tasks.add.options(delay=3600).send(1)

    cancellation = server.cancel_delayed_task(done, waits.uuid, "never-sent")

    assert not cancellation
    assert cancellation.finished == (done.uuid,)
    assert cancellation.canceled == (waits.uuid,)
    assert cancellation.unknown == ("never-sent",)
    assert server.cancel("never-sent").unknown == ("never-sent",)
