"""A cluster of three masters under load: slots move, a node is down, and what spans them comes to its end once."""

import threading
from collections import Counter

import pytest

from tests.faults.redis.load import PATIENCE, Load
from tests.faults.redis.servers import RedisCluster, eventually
from tests.servers import redis8_binary, valkey9_binary
from vecna import Chain, Chord, Config, Group, Server, Signature
from vecna.adapters.redis import keys

PERSISTENT = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture(
    scope="module",
    params=[valkey9_binary, pytest.param(redis8_binary, marks=pytest.mark.long)],
    ids=["valkey9", "redis8"],
)
def cluster(request):
    with RedisCluster(request.param(), 3, *PERSISTENT) as cluster:
        for node in cluster.nodes:
            with node.client() as client:
                client.config_set("cluster-require-full-coverage", "no")
        yield cluster


def test_slots_move_under_load(cluster, namespace):
    """MOVED, ASK and TRYAGAIN: those of the queues, of their outboxes, of schedules, plans and results."""
    with Load(cluster.url, namespace, send_timeout=5) as load:
        load.until_more(30)
        names = [keys.wake(namespace, queue) for queue in ("one", "two")]
        names += [keys.queues(namespace), *[keys.record(namespace, str(number)) for number in range(6)]]
        for name in names:
            cluster.move_slot(name)
            load.until_more(5)
        load.finish()


def test_a_node_is_killed_under_load_and_comes_back(cluster, namespace):
    """Without a replica its part of the work waits; what was acknowledged is there when it is back."""
    with Load(cluster.url, namespace, send_timeout=1) as load:
        load.until_more(30)
        for node in cluster.nodes[:1]:
            node.kill()
            # A name for each node: one of them is refused.
            assert load.refusal(*cluster.a_queue_on_each(lambda queue: keys.queue(namespace, queue)))
            node.restart()
            load.until_more(20)
        load.finish()


def test_workflows_and_schedules_span_the_slots(cluster, namespace):
    queues = cluster.a_queue_on_each(lambda queue: keys.queue(namespace, queue))
    ran: Counter[str] = Counter()
    lock = threading.Lock()

    def step(name: str, *numbers: int) -> int:
        with lock:
            ran[name] += 1
        return sum(numbers) + 1

    def at(place: int, name: str) -> Signature:
        return Signature("step", [name], queue=queues[place % 3])

    config = Config(broker=cluster.url, namespace=namespace, lease=8, poll_interval=0.5, send_timeout=10)
    with Server(config) as server:
        server.register_task("step", step)
        chain = server.send_chain(Chain([at(number, f"link-{number}") for number in range(12)]))
        chord = server.send_chord(Chord(Group([at(n, f"member-{n}") for n in range(60)]), at(2, "back")))
        schedule = server.send_periodic_chord(
            "@every 1s", Chord(Group(at(0, "a"), at(1, "b"), at(2, "c")), at(1, "again")), code="spanning"
        )
        with server.new_worker("w1", 4, queues=queues), server.new_worker("w2", 4, queues=queues):
            assert chain.get(timeout=PATIENCE) == 12
            assert chord.get(timeout=PATIENCE) == 61
            eventually(lambda: ran["again"], "an occurrence")
            schedule.cancel()
    assert [ran[f"link-{number}"] for number in range(12)] == [1] * 12
    assert [ran[f"member-{number}"] for number in range(60)] == [1] * 60
    assert ran["back"] == 1
