"""The ways to a server: TLS, Unix socket, password, database, Sentinels, cluster."""

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.redis.conftest import LEASE, uuids_of
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.servers import RedisCluster, Replicated, eventually
from tests.servers import RedisServer, binaries, redis8_binary, valkey9_binary
from vecna.adapters.redis import keys
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.message import Message
from vecna.ports.values import Answer

TLS = Path(__file__).parent / "tls"  # a certificate for localhost, and the authority that has signed it
PATIENCE = 20.0


def use(driven, queue="q"):
    assert driven.send("a", queue=queue) == [True]
    lease = driven.lease(queue=queue)
    assert driven.settle(lease, follow_ups=(Message("b", "other", b"{}"),)) == [Answer.OK]
    assert driven.broker.relay(queue) == 0
    assert asyncio.run(driven.broker.enqueue_async([Message("c", "third", b"{}")])) == [True]
    assert uuids_of(driven.lease(queue="third")) == ["c"]
    listener = driven.backend.listen()
    listener.watch(["a"])
    driven.end("a")
    assert listener.poll(PATIENCE) == ["a"]
    listener.close()
    waiter = driven.broker.waiter()
    waiter.wait(["other"], PATIENCE)
    waiter.close()
    assert uuids_of(driven.lease(queue="other")) == ["b"]


@pytest.fixture
def encrypted(redis_server):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem")
    with Proxy(redis_server.port, context) as proxy:
        yield proxy


def test_tls(encrypted, drive, namespace, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "ca.pem"))
    use(drive(f"rediss://localhost:{encrypted.port}", namespace=namespace))


def test_tls_with_a_certificate_that_nobody_trusts(encrypted, drive, namespace):
    with pytest.raises(BrokerUnavailable, match="certificate"):
        drive(f"rediss://localhost:{encrypted.port}", namespace=namespace, send_timeout=0).send("a")


def test_tls_with_a_certificate_for_another_host(encrypted, drive, namespace, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "ca.pem"))
    with pytest.raises(BrokerUnavailable, match="certificate"):
        drive(f"rediss://127.0.0.1:{encrypted.port}", namespace=namespace, send_timeout=0).send("a")


@pytest.mark.parametrize("server", list(binaries()))
def test_unix_socket_with_a_password_and_a_database(server, drive):
    secret = "p@ss/w:rd%?#é"
    with RedisServer(binaries()[server], password=secret, unix_socket=True) as running:
        use(drive(f"{running.url}:/3"))
        with running.client(db=3) as client:
            assert client.dbsize() > 0
        with running.client() as client:
            assert client.dbsize() == 0


def test_password_and_database(drive):
    secret = "p@ss/w:rd%?#é"
    with RedisServer(redis8_binary(), password=secret) as running:
        use(drive(running.url.removesuffix("0") + "2"))
        with running.client(db=2) as client:
            assert client.dbsize() > 0


@pytest.fixture(params=[redis8_binary, valkey9_binary], ids=["redis8", "valkey9"])
def replicated(request):
    with Replicated(request.param()) as replicated:
        yield replicated


def test_sentinels_lead_to_the_master_and_after_a_failover_to_the_next(replicated, drive):
    driven = drive(replicated.url, send_timeout=PATIENCE, redis={"master_name": replicated.name})
    use(driven)
    waiter, listener = driven.broker.waiter(), driven.backend.listen()
    waiter.wait(["q"], 0.01)
    listener.watch(["x"])
    driven.send("before")
    with replicated.master.client() as client:
        assert client.wait(1, 5000) == 1  # the replica has it

    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(driven.send, "during")
        replicated.fail_over()
        assert sent.result(PATIENCE) == [True]

    assert uuids_of(_lease_again(driven)) == ["before", "during"]
    with pytest.raises(BrokerUnavailable):
        listener.poll(PATIENCE)
    driven.end("x")
    assert listener.poll(PATIENCE) == ["x"]
    _wait_again(waiter)
    driven.send("after")
    waiter.wait(["q"], PATIENCE)
    waiter.close()
    listener.close()


def _lease_again(driven):
    """A worker's loop tries again by itself."""
    leases = []

    def attempt():
        try:
            leases.append(driven.lease())
        except BrokerUnavailable:
            return False
        return True

    eventually(attempt, "a lease")
    return leases[0]


def _wait_again(waiter):
    def attempt():
        try:
            waiter.wait(["q"], 0.01)
        except BrokerUnavailable:
            return False
        return True

    eventually(attempt, "a wait")


def test_an_unknown_master_is_named(replicated, drive):
    driven = drive(replicated.url, send_timeout=0.1, redis={"master_name": "nobody"})
    with pytest.raises(BrokerUnavailable, match="nobody"):
        driven.send("a")


@pytest.fixture(scope="module")
def cluster():
    with RedisCluster(valkey9_binary(), nodes=3) as cluster:
        yield cluster


def test_one_host_of_a_cluster_is_enough(cluster, drive, namespace):
    use(drive(f"redis://127.0.0.1:{cluster.nodes[0].port}", namespace=namespace))


def test_a_waiter_waits_at_queues_on_all_nodes(cluster, drive, namespace):
    driven = drive(cluster.url, namespace=namespace)
    queues = cluster.a_queue_on_each(lambda queue: keys.queue(namespace, queue))
    waiter = driven.broker.waiter()
    with ThreadPoolExecutor(1) as threads:
        for queue in queues:
            waiting = threads.submit(waiter.wait, queues, PATIENCE * 3)
            driven.send("a", queue=queue)
            waiting.result(PATIENCE)
            driven.lease(queue=queue)
    waiter.close()


def test_a_queue_is_registered_again_when_its_registry_was_lost(cluster, drive, namespace, monkeypatch):
    driven = drive(cluster.url, namespace=namespace)
    driven.send("a")
    with cluster.node_of(keys.queues(namespace)).client() as client:
        client.delete(keys.queues(namespace))
    monkeypatch.setattr("vecna.adapters.redis.staging._REGISTERED", -1.0)
    driven.send("b")
    assert driven.broker.queues() == ["q"]


def test_a_slot_that_moves_takes_its_queue_with_it(drive, namespace):
    with RedisCluster(redis8_binary()) as cluster:
        driven = drive(cluster.url, namespace=namespace)
        driven.send(*[f"t{number}" for number in range(100)])
        held = driven.lease(10)
        waiter = driven.broker.waiter()
        waiter.wait(["q"], 0.01)

        cluster.move_slot(keys.wake(namespace, "q"))

        assert driven.settle(held) == [Answer.OK] * 10
        assert len(driven.lease().deliveries) == 90
        _wait_again(waiter)
        driven.send("later")
        waiter.wait(["q"], PATIENCE)
        waiter.close()


def test_a_node_that_is_down_keeps_only_its_own_queues(drive, namespace):
    with RedisCluster(redis8_binary()) as cluster:
        for node in cluster.nodes:
            with node.client() as client:
                client.config_set("cluster-require-full-coverage", "no")
        driven = drive(cluster.url, namespace=namespace, send_timeout=0.2)
        here, there = cluster.a_queue_on_each(lambda queue: keys.queue(namespace, queue))
        driven.send("a", queue=here)
        driven.send("b", queue=there)
        lease = driven.lease(queue=here)
        follow_ups = (Message("c", there, b"{}"), Message("d", f"{here}-too", b"{}"))
        cluster.nodes[1].kill()

        driven.settle(lease, follow_ups=follow_ups)
        with pytest.raises(BrokerUnavailable):
            driven.send("e", queue=there)
        assert driven.send("f", queue=here) == [True]

        cluster.nodes[1].restart()
        eventually(lambda: _relayed(driven, here), "the relay to a node that is back")
        assert uuids_of(driven.lease(queue=there)) == ["c"]  # b was not persisted


def _relayed(driven, queue):
    try:
        return driven.broker.relay(queue) == 0
    except BrokerUnavailable:
        return False


def test_leases_survive_with_the_rest(own_server, drive):
    driven = drive(own_server.url)
    driven.send("a")
    lease = driven.lease()
    own_server.kill()
    own_server.restart()
    assert driven.broker.extend("q", [lease.token], LEASE)[0].alive
