"""A master is killed under load: three Sentinels make its replica the master, and work goes on by itself.

Replication is asynchronous: what the old master had acknowledged but not passed on yet is gone with it. That, and
nothing more: docs/reliability.md says how to bound it.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.redis.load import PATIENCE, Load
from tests.faults.redis.servers import Replicated, eventually
from tests.servers import redis8_binary, valkey9_binary
from vecna import Config, RedisConfig, Server, Signature
from vecna.domain.errors import BrokerUnavailable


@pytest.fixture(  # for each test: the second kills the master
    params=[redis8_binary, pytest.param(valkey9_binary, marks=pytest.mark.long)],
    ids=["redis8", "valkey9"],
)
def replicated(request):
    with Replicated(request.param(), sentinels=3) as replicated:
        yield replicated


def test_a_master_without_its_replica_refuses_what_it_could_lose(replicated, namespace):
    """min-replicas-to-write: what bounds the loss when the old master lives on in a part of a divided network."""
    assert replicated.replica is not None
    with (
        Load(replicated.url, namespace, redis=RedisConfig(master_name=replicated.name, read_timeout=2)) as load,
        replicated.master.client() as master,
    ):
        master.config_set("min-replicas-max-lag", 1)
        master.config_set("min-replicas-to-write", 1)
        load.until_more(30)
        replicated.replica.pause()
        assert "too few replicas" in load.refusal()
        replicated.replica.resume()
        load.until_more(30)
        load.finish()


def test_what_the_replica_had_is_not_lost_and_work_goes_on_by_itself(replicated, namespace):
    settings = RedisConfig(master_name=replicated.name, read_timeout=2)
    config = Config(broker=replicated.url, namespace=namespace, redis=settings, lease=4, poll_interval=0.5)
    ran: list[int] = []
    killed = threading.Event()

    def note(number: int) -> int:
        if 100 <= number < 200:  # these are in hands or in the queue when it dies
            killed.wait(PATIENCE)
        ran.append(number)
        return number

    with Server(config) as server, replicated.master.client() as master:
        server.register_task("note", note)
        # Sent, and known to have reached the replica: chains, so that there are follow-ups, too.
        first = [server.send_chain(Signature("note", [n], immutable=True) | Signature("note", [n])) for n in range(200)]
        schedule = server.send_periodic_task("@every 1s", Signature("note", [-1]), code="ticks")
        with server.new_worker("w1", 4), server.new_worker("w2", 4):
            eventually(lambda: len(ran) >= 50, "the first half")
            replicated.catch_up(master)
            with ThreadPoolExecutor(1) as threads:
                during = threads.submit(_insist, server, range(1000, 1100))
                replicated.fail_over()
                killed.set()
                after = during.result(PATIENCE)

            for handle in [*first, *after]:
                handle.get(timeout=PATIENCE)
            fired = schedule.refresh().last_fire_at
            while schedule.refresh().last_fire_at == fired:  # it goes on firing
                server.send_task(Signature("note", [-2])).get(timeout=PATIENCE)
            schedule.cancel()

    assert set(range(200)) | set(range(1000, 1100)) <= set(ran)
    # What the master had settled without its replica may run again; a result that was there is not computed anew.
    assert max(ran.count(number) for number in range(200)) <= 4


def _insist(server, numbers):
    """Send while the master dies, again and again until it is accepted."""
    handles = []
    for number in numbers:
        signature = Signature("note", [number])
        while True:
            try:
                handles.append((signature, server.send_task(signature)))
                break
            except BrokerUnavailable:
                continue
    # Acknowledged by the old master and not replicated: that is lost, and may be sent again.
    return [server.send_task(signature) for signature, _ in handles]
