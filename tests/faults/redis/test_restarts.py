"""The server goes away, comes back, or answers with something else than usual."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis as redis_py

from tests.faults.redis.conftest import LEASE, Settings, uuids_of
from tests.faults.redis.proxy import Proxy
from vecna import log
from vecna.adapters.clock import SystemClock
from vecna.adapters.redis import connect
from vecna.app.config import RedisConfig
from vecna.domain.errors import BrokerUnavailable, ConfigError
from vecna.domain.state import State, TaskState
from vecna.ports.values import Answer

PATIENCE = 20.0


def test_what_was_acknowledged_survives_a_crash_of_the_server(own_server, drive):
    driven = drive(own_server.url)
    driven.send("a", "b")
    lease = driven.lease(1)
    driven.end("a")

    own_server.kill()
    own_server.restart()

    assert driven.backend.get_state("a").state is State.SUCCESS
    assert driven.settle(lease) == [Answer.OK]
    assert uuids_of(driven.lease()) == ["b"]


def test_calls_wait_for_a_server_that_comes_back(own_server, drive):
    driven = drive(own_server.url)
    driven.send("a")
    own_server.kill()

    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(driven.send, "b")
        own_server.restart()
        assert sent.result(PATIENCE) == [True]

    assert driven.broker.counts("q").pending == 2


def test_calls_give_up_after_the_send_timeout(own_server, drive):
    driven = drive(own_server.url, send_timeout=0.3)
    driven.send("a")
    own_server.kill()
    clock = SystemClock()
    begin = clock.monotonic()

    with pytest.raises(BrokerUnavailable, match=rf"127.0.0.1:{own_server.port}.*cannot be reached"):
        driven.send("b")

    assert 0.2 < clock.monotonic() - begin < PATIENCE / 2


def test_a_server_that_does_not_answer_is_given_up_in_time(own_server, drive):
    driven = drive(own_server.url, redis={"read_timeout": 0.5}, send_timeout=0.6)
    driven.send("a")
    clock = SystemClock()
    own_server.pause()
    try:
        for patience, call in ((0.3, driven.lease), (0.6, lambda: driven.send("b"))):
            driven.broker._connections.patience = patience
            begin = clock.monotonic()
            with pytest.raises(BrokerUnavailable, match="did not answer in time"):
                call()
            # One timeout is waited for in any case; another only while there is patience.
            assert clock.monotonic() - begin < 0.5 * (1 if patience < 0.5 else 2) + 0.4
    finally:
        own_server.resume()
    assert "a" in uuids_of(driven.lease())


def test_a_waiter_says_so_and_recovers(own_server, drive):
    driven = drive(own_server.url)
    waiter = driven.broker.waiter()
    driven.lease()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(waiter.wait, ["q"], PATIENCE)
        _until_blocked(own_server)
        own_server.kill()
        with pytest.raises(BrokerUnavailable):
            waiting.result(PATIENCE)
        with pytest.raises(BrokerUnavailable):
            waiter.wait(["q"], PATIENCE)

        own_server.restart()
        waiting = threads.submit(waiter.wait, ["q"], PATIENCE)
        driven.send("a")
        waiting.result(PATIENCE)
    waiter.close()


def test_a_listener_says_so_and_subscribes_again(own_server, drive):
    driven = drive(own_server.url)
    listener = driven.backend.listen()
    listener.watch(["a", "b"])
    listener.unwatch(["b"])
    with ThreadPoolExecutor(1) as threads:
        polling = threads.submit(listener.poll, PATIENCE)
        own_server.kill()
        with pytest.raises(BrokerUnavailable):
            polling.result(PATIENCE)
        listener.watch(["c"])  # kept for later
        with pytest.raises(BrokerUnavailable):
            listener.poll(PATIENCE)

        own_server.restart()
        # What may have been missed counts as news, once the server listens again.
        assert _hear_of(listener, 2) == {"a", "c"}
        driven.end("a", "b", "c")
        assert _hear_of(listener, 2) == {"a", "c"}
    listener.close()


def test_who_watches_what_another_thread_has_just_asked_for_waits_until_the_server_listens(
    any_redis, drive, namespace, monkeypatch
):
    """Else it would read that nothing has ended, and miss an end that is told before the server listens."""
    listener = drive(any_redis.url, namespace=namespace).backend.listen()
    with monkeypatch.context() as patch:
        patch.setattr("vecna.adapters.redis.listener._CONFIRM", -1)  # as long as the other thread still waits
        listener.watch(["a"])

    listener.watch(["a"])

    assert listener._watched == {"a": True}
    listener.close()


def test_a_waiter_notices_a_connection_that_went_silent(any_redis, drive, namespace, monkeypatch):
    monkeypatch.setattr("vecna.adapters.redis.waiter._GRACE", 0.2)
    with Proxy(any_redis.port) as proxy:
        driven = drive(proxy.url, namespace=namespace)
        waiter = driven.broker.waiter()
        waiter.wait(["q"], 0.01)
        proxy.freeze()
        with pytest.raises(BrokerUnavailable, match="silent"):
            _wait_often(waiter)
        proxy.thaw()
        driven.send("a")
        waiter.wait(["q"], PATIENCE)
        waiter.close()


def test_a_listener_notices_a_connection_that_went_silent(any_redis, drive, namespace, monkeypatch):
    monkeypatch.setattr("vecna.adapters.redis.listener._SILENCE", 0.1)
    with Proxy(any_redis.port) as proxy:
        driven = drive(proxy.url, namespace=namespace)
        listener = driven.backend.listen()
        listener.watch(["a"])
        assert listener.poll(0.5) == []  # asked, and answered
        proxy.freeze()
        with pytest.raises(BrokerUnavailable, match="silent"):
            listener.poll(PATIENCE)
        proxy.thaw()
        assert listener.poll(PATIENCE) == ["a"]  # it may have been missed
        driven.end("a")
        assert listener.poll(PATIENCE) == ["a"]
        listener.close()


def test_all_connections_are_killed(own_server, drive):
    driven = drive(own_server.url)
    driven.send("a")
    waiter, listener = driven.broker.waiter(), driven.backend.listen()
    listener.watch(["a"])
    with own_server.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    assert uuids_of(driven.lease()) == ["a"]
    with pytest.raises(BrokerUnavailable):
        listener.poll(PATIENCE)
    driven.send("b")
    waiter.wait(["q"], PATIENCE)
    waiter.close()
    listener.close()


def test_scripts_are_loaded_again(own_server, drive):
    driven = drive(own_server.url)
    driven.send("a")
    with own_server.client() as client:
        client.script_flush()

    lease = driven.lease()
    assert driven.settle(lease) == [Answer.OK]
    with own_server.client() as client:
        client.script_flush()
    driven.end("a")
    assert driven.backend.get_state("a").state is State.SUCCESS


def test_a_server_without_memory_of_anything_is_a_fresh_start(own_server, drive):
    driven = drive(own_server.url)
    driven.send("a")
    lease = driven.lease()
    with own_server.client() as client:
        client.flushall()

    assert driven.settle(lease) == [Answer.GONE]
    assert not driven.broker.extend("q", [lease.token], LEASE)[0].alive
    assert driven.send("b") == [True]
    assert driven.broker.queues() == ["q"]
    assert uuids_of(driven.lease()) == ["b"]


@pytest.mark.parametrize("when", ["at first", "later"])
def test_a_replica_refuses_and_says_so(own_server, drive, when):
    driven = drive(own_server.url, send_timeout=0.2)
    if when == "later":
        driven.send("a")
    with own_server.client() as client:
        client.replicaof("127.0.0.1", 1)
    with pytest.raises(BrokerUnavailable, match="read-only replica"):
        driven.send("b")


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [("min-replicas-to-write", 1, "too few replicas"), ("maxclients", 1, "cannot be reached.*max number of clients")],
)
def test_a_refusal_is_told_in_words(own_server, drive, setting, value, words):
    driven = drive(own_server.url, send_timeout=0.2)
    with own_server.client() as client:
        client.config_set(setting, value)
        with pytest.raises(BrokerUnavailable, match=words):
            driven.send("a")
        client.config_set("maxclients", 100)


def test_a_long_script_of_somebody_else(own_server, drive):
    driven = drive(own_server.url, send_timeout=PATIENCE)
    driven.send("a")
    with own_server.client() as client:
        client.config_set("lua-time-limit", 5)
    with ThreadPoolExecutor(1) as threads:
        busy = threads.submit(_keep_busy, own_server)
        _until(lambda: _is_busy(own_server))
        with ThreadPoolExecutor(1) as others:
            sent = others.submit(driven.send, "b")
            with own_server.client() as client:
                client.script_kill()
            assert sent.result(PATIENCE) == [True]
        assert busy.result(PATIENCE)


def test_loading_is_waited_for(own_server, drive):
    driven = drive(own_server.url, send_timeout=PATIENCE)
    driven.send(*[f"t{number}" for number in range(1000)])
    with own_server.client() as client:
        client.bgrewriteaof()  # only keys of an RDB can be loaded slowly
        _until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
    own_server.args = (*own_server.args, "--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")
    own_server.kill()
    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(driven.send, "b")
        own_server.restart()
        assert sent.result(PATIENCE) == [True]
    with own_server.client() as client:
        assert client.info("errorstats")["errorstat_LOADING"]["count"] > 0


def test_children_of_a_fork_open_their_own_connections(redis_server, drive, namespace):
    driven = drive(redis_server.url, namespace=namespace)
    driven.send("parent")
    child = os.fork()
    if child == 0:  # pragma: no cover  # in the child
        try:
            driven.send("child")
            os._exit(0 if len(driven.lease(worker="child").deliveries) == 2 else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    driven.end("parent")
    assert driven.broker.counts("q").leased == 2


def test_a_fork_while_another_thread_connects_does_not_hang_the_child(redis_server, drive, namespace, monkeypatch):
    driven = drive(redis_server.url, namespace=namespace)
    opener, parent = driven.broker._connections._opener, os.getpid()
    opening, go_on, really_open = threading.Event(), threading.Event(), opener.open

    def slowly_open(**more):
        if os.getpid() == parent:
            opening.set()
            assert go_on.wait(PATIENCE)
        return really_open(**more)

    monkeypatch.setattr(opener, "open", slowly_open)
    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(driven.send, "parent")
        assert opening.wait(PATIENCE)
        child = os.fork()
        if child == 0:  # pragma: no cover  # in the child
            signal.alarm(int(PATIENCE))  # ends it, should it hang
            try:
                os._exit(0 if driven.send("child") == [True] else 1)
            except BaseException:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        go_on.set()
        assert sent.result(PATIENCE) == [True]


def test_a_full_pool_is_waited_for(redis_server, drive, namespace):
    driven = drive(redis_server.url, namespace=namespace, redis={"max_active": 2})
    with ThreadPoolExecutor(16) as threads:
        sent = list(threads.map(lambda number: driven.send(f"t{number}"), range(200)))
    assert sent == [[True]] * 200


def test_a_full_pool_without_waiting(redis_server, drive, namespace):
    driven = drive(redis_server.url, namespace=namespace, send_timeout=0, redis={"max_active": 1, "wait": False})
    with driven.broker._connections._opened().client.client() as taken:
        taken.ping()
        with pytest.raises(BrokerUnavailable, match=r"redis\.max_active"):
            driven.send("a")


def test_a_wrong_password_is_a_mistake_in_the_configuration(drive, redis_server):
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "somebody", "on", ">right-secret", "~*", "&*", "+@all")
    try:
        driven = drive(f"redis://somebody:wr%40ng-secret@127.0.0.1:{redis_server.port}")
        with pytest.raises(ConfigError, match="user or password") as caught:
            driven.send("a")
        assert "wr@ng-secret" not in _all_texts(caught.value)
        assert "wr%40ng-secret" not in _all_texts(caught.value)
        drive(f"redis://somebody:right-secret@127.0.0.1:{redis_server.port}").broker.queues()
    finally:
        with redis_server.client() as client:
            client.execute_command("ACL", "DELUSER", "somebody")


def test_a_password_that_is_changed_later_is_an_outage(own_server, drive):
    with own_server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "somebody", "on", ">right-secret", "~*", "&*", "+@all")
        driven = drive(f"redis://somebody:right-secret@127.0.0.1:{own_server.port}", send_timeout=0.2)
        driven.send("a")
        waiter, listener = driven.broker.waiter(), driven.backend.listen()
        listener.watch(["a"])
        admin.execute_command("ACL", "SETUSER", "somebody", "resetpass", ">new-secret")
        admin.execute_command("CLIENT", "KILL", "USER", "somebody")

        for call in (driven.lease, lambda: waiter.wait(["q"], 1), lambda: listener.poll(1), lambda: driven.send("b")):
            with pytest.raises(BrokerUnavailable):
                call()
        admin.execute_command("ACL", "SETUSER", "somebody", ">right-secret")
        assert uuids_of(driven.lease()) == ["a"]
        waiter.close()
        listener.close()


def test_an_old_server_is_refused(drive, redis_server, monkeypatch):
    monkeypatch.setattr("vecna.adapters.redis.checks._LEAST", (99, 0))
    with pytest.raises(ConfigError, match=r"needs Redis 7\.0 or newer"):
        drive(redis_server.url).broker.queues()


class Lines:
    def __init__(self):
        self.warnings = []

    def warning(self, message):
        self.warnings.append(message)

    debug = info = error = critical = warning


def test_eviction_is_warned_of_once(own_server, drive):
    with own_server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    lines = Lines()
    log.set(lines)
    try:
        driven = drive(own_server.url)
        driven.broker.queues()
        driven.broker.close()
        driven.broker.queues()
    finally:
        log.set(None)
    assert len(lines.warnings) == 1
    assert "allkeys-lru" in lines.warnings[0]
    assert "noeviction" in lines.warnings[0]


def test_ports_opened_again_after_close(redis_server, namespace):
    adapters = connect(redis_server.url, Settings(namespace, redis=RedisConfig()), SystemClock())
    for port in (adapters.broker, adapters.backend, adapters.lock):
        adapters.broker.queues()
        adapters.backend.put_states([TaskState(task_uuid="a")])
        port.close()
        port.close()
    adapters.broker.close()


def _hear_of(listener, number: int) -> set[str]:
    heard: set[str] = set()
    while len(heard) < number:
        news = listener.poll(PATIENCE)
        assert news, f"heard of {heard} only"
        heard.update(news)
    return heard


def _wait_often(waiter) -> None:
    for _ in range(100):
        waiter.wait(["q"], 0.05)


def _until(check) -> None:
    never = threading.Event()
    for _ in range(1000):
        if check():
            return
        never.wait(0.01)
    raise AssertionError("it did not happen")


def _until_blocked(server) -> None:
    with server.client() as client:
        _until(lambda: client.info("clients")["blocked_clients"])


def _is_busy(server) -> bool:
    try:
        with server.client(retry=None) as client:
            client.get("x")
    except redis_py.ResponseError as exc:
        return str(exc).startswith("BUSY")
    return False


def _keep_busy(server) -> bool:
    with server.client(socket_timeout=60) as client:
        try:
            client.eval("while true do end", 0)
        except redis_py.ResponseError:
            return True
    return False


def _all_texts(exc: BaseException | None) -> str:
    text = ""
    while exc is not None:
        text += f"{exc!r} {exc}"
        exc = exc.__cause__ or exc.__context__
    return text
