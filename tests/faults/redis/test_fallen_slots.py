"""A master of a cluster falls back to a moment before, and the others do not: what is then there in part."""

import threading

import pytest

from tests.faults.redis.servers import eventually
from vecna import Chord, Config, Group, ResultTimeout, Server, TaskCanceled
from vecna.domain.state import State
from vecna.ports.values import QueueCounts

PATIENCE = 20.0


@pytest.fixture
def server(any_redis_url, namespace):
    config = Config(broker=any_redis_url, namespace=namespace, lease=1, heartbeat=0.2)
    with Server(config) as server:
        yield server


@pytest.fixture
def keep(any_redis, namespace):
    """Keeps what stands under the keys that begin so; what it returns puts all of it back."""

    def keep(beginning):
        def keys():
            return client.keys(f"{namespace}:{beginning}*")

        client = any_redis.client()
        kept = {key: client.dump(key) for key in keys()}

        def fall_back():
            client.delete(*keys())
            for key, value in kept.items():
                client.restore(key, 0, value)
            client.close()

        return fall_back

    return keep


@pytest.fixture
def held(server):
    """A task that ends when it is told: its runs, and the event for each number."""
    runs: list[int] = []
    begun, go_on = [threading.Event() for _ in range(2)], [threading.Event() for _ in range(2)]

    @server.task
    def hold(number: int) -> int:
        runs.append(number)
        begun[number].set()
        assert go_on[number].wait(PATIENCE)
        return number

    return hold, runs, begun, go_on


def _settled(server, leased=0):
    counts = QueueCounts(leased=leased)
    eventually(lambda: server.broker.counts(server.config.default_queue) == counts, "the settlement")


def _recorded(server, result):
    (state,) = server.backend.get_states([result.uuid])
    return None if state is None else state.state


def test_a_settlement_that_was_lost_is_made_up_for_without_a_second_run(server, held, keep):
    hold, runs, begun, go_on = held
    done: list[int] = []
    after = server.register_task("after", done.append)
    with server.new_worker("w", 1), server.new_worker("other", 1, queues=["other"]):
        sent = server.send_task(hold.signature(0).evolve(on_success=(after.options(queue="other").s(),)))
        assert begun[0].wait(PATIENCE)
        fall_back = keep(f"q:{{{server.config.default_queue}}}:")
        go_on[0].set()
        assert sent.get(timeout=PATIENCE) == 0
        eventually(lambda: done == [0], "the callback")
        _settled(server)

        fall_back()

        _settled(server)  # when its lease has run out
    assert (runs, done) == ([0], [0])


def test_an_end_that_was_lost_is_had_by_sending_again(server, held, keep):
    hold, runs, begun, go_on = held
    signature = hold.signature(0)
    with server.new_worker("w", 1):
        sent = server.send_task(signature)
        assert begun[0].wait(PATIENCE)
        eventually(lambda: _recorded(server, sent) is State.STARTED, "the record of the start")
        fall_back = keep("r:")
        go_on[0].set()
        assert sent.get(timeout=PATIENCE) == 0
        _settled(server)
        fall_back()
        with pytest.raises(ResultTimeout):
            server.result(signature.uuid).get(timeout=0.1)

        assert server.send_task(signature).get(timeout=PATIENCE) == 0

    assert runs == [0, 0]


def test_a_chord_whose_count_was_lost_is_ended_by_a_cancel(server, held, keep):
    hold, _, begun, go_on = held
    callback = server.register_task("callback", lambda *numbers: sum(numbers)).s()
    with server.new_worker("w", 2):
        sent = server.send_chord(Chord(Group(hold.s(0), hold.s(1)), callback))
        for each in begun:
            assert each.wait(PATIENCE)
        fall_back = keep("w:")
        go_on[0].set()
        _settled(server, leased=1)
        fall_back()
        go_on[1].set()
        _settled(server)
        with pytest.raises(ResultTimeout):
            sent.get(timeout=0.1)

        assert sent.cancel().canceled == (callback.uuid,)

        with pytest.raises(TaskCanceled):
            sent.get(timeout=PATIENCE)
