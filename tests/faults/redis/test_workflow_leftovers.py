"""After all workflows have ended and expired, nothing of them is in Redis, however they ended."""

import threading

import pytest

from tests.faults.redis.servers import eventually
from vecna import Chain, Chord, Config, Group, Server, TaskCanceled, TaskFailed
from vecna.ports.values import QueueCounts

PATIENCE = 60
#: What queues and schedules keep about themselves, and what says that the worker is there.
BOOKS = ("meta", "calls", "workers", "sent", "inbox", "removed", "until", "records")


def boom(*_: int) -> int:
    raise RuntimeError("boom")


def note(*_: object) -> None:
    return


@pytest.fixture
def server(any_redis_url, namespace):
    with Server(
        Config(broker=any_redis_url, namespace=namespace, results_expire_in=5, lease=2, heartbeat=0.4)
    ) as server:
        yield server


@pytest.mark.slow
def test_nothing_is_left_of_workflows_that_have_ended(server, any_redis, namespace):
    add = server.register_task("add", lambda *numbers: sum(numbers))
    fails = server.register_task("boom", boom)
    noted = server.register_task("note", note)
    begun, go_on = threading.Event(), threading.Event()

    def hang() -> int:
        begun.set()
        go_on.wait(PATIENCE)
        return 1

    hangs = server.register_task("hang", hang)
    other = {"queue": "other"}
    worker = server.new_worker("w", 8, queues=[server.config.default_queue, "other"])
    worker.set_error_handler(lambda *_: None)
    with worker:
        members = Group(*[add.signature(number) for number in range(1_100)])
        sent = [
            server.send_chord(Chord(Group(add.s(1), add.options(**other).signature(2)), add.s())),
            server.send_chain(Chain(add.s(1), Chord(Group(add.s(1), Chain(add.s(2), add.s(3))), add.s()), add.s(4))),
            server.send_chord(Chord(members, Chain(add.s(1), add.options(**other).signature(2)))),
            server.send_chain(Chain(add.signature(1).evolve(on_success=(noted.s(),), on_error=(noted.s(),)), add.s())),
        ]
        for result in sent:
            assert result.get(timeout=PATIENCE)
        failing = [
            server.send_chord(Chord(Group(add.s(1), fails.s(1), add.s(2)), add.s().evolve(on_error=(noted.s(),)))),
            server.send_chain(Chain(add.s(1), fails.s(), Group(add.s(), add.s()), add.s())),
        ]
        for result in failing:
            with pytest.raises(TaskFailed):
                result.get(timeout=PATIENCE)
        late = [
            server.send_chain(Chain(add.options(delay=3600).signature(1), add.s(2))),
            server.send_chord(Chord(Group(*[add.options(delay=3600).signature(1) for _ in range(600)]), add.s())),
            server.send_group(Group(*[add.options(delay=3600).signature(1) for _ in range(600)], code="all")),
            server.send_chain(Chain(hangs.s(), add.s(1))),
        ]
        assert begun.wait(PATIENCE)
        for result in late[:2]:
            assert result.cancel()
        assert len(server.cancel("all").canceled) == 600
        late[3].cancel()
        go_on.set()
        for result in late:
            with pytest.raises(TaskCanceled):
                result.get(timeout=PATIENCE)
        queues = server.broker.queues()
        eventually(lambda: all(server.broker.counts(queue) == QueueCounts() for queue in queues), "the end of all work")

        def left() -> list[str]:
            with any_redis.client() as client:
                found = [key.decode().removeprefix(f"{namespace}:") for key in client.scan_iter(f"{namespace}:*", 1000)]
            return [key for key in found if key != "queues" and key.rpartition(":")[2] not in BOOKS]

        # Ends of callbacks that were not caused belong to no delivery: sweeps release them.
        eventually(lambda: left() == [], "the expiry of all results and plans")
