"""A server is broken in the middle of work: nothing is lost, nothing runs twice, and it goes on by itself."""

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from redis import ResponseError

from tests.faults.redis.load import Load
from tests.faults.redis.proxy import Proxy
from tests.faults.redis.servers import eventually
from tests.servers import RedisServer, redis8_binary, valkey9_binary
from vecna import Config, RedisConfig, Server, Signature, UnknownTask
from vecna.adapters.redis import keys
from vecna.domain.errors import BrokerUnavailable

_SECOND = dt.timedelta(seconds=1)
PERSISTENT = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture(params=[redis8_binary, pytest.param(valkey9_binary, marks=pytest.mark.long)], ids=["redis8", "valkey9"])
def server(request):
    with RedisServer(request.param(), *PERSISTENT) as server:
        yield server


@pytest.fixture
def admin(server):
    with server.client() as client:
        yield client


def test_the_server_is_killed_and_restarted_with_its_log(server, namespace):
    with Load(server.url, namespace) as load:
        for _ in range(2):
            load.until_more(100)
            server.kill()
            server.restart()
        load.until_more(100)
        assert load.finish() >= 300


def test_its_scripts_are_flushed_and_all_connections_killed_again_and_again(server, admin, namespace):
    with Load(server.url, namespace) as load:
        for _ in range(3):
            load.until_more(20)
            admin.script_flush()
            load.until_more(20)
            admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        load.finish()


def test_it_takes_no_new_connections_for_a_while(server, admin, namespace):
    with Load(server.url, namespace) as load:
        load.until_more(50)
        admin.config_set("maxclients", 1)
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert "max number of clients" in load.refusal()
        admin.config_set("maxclients", 1000)
        load.until_more(50)
        load.finish()


def test_it_runs_out_of_memory_and_what_was_accepted_is_drained(server, admin, namespace):
    with Load(server.url, namespace) as load:
        load.until_more(50)
        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", 1)
        assert "out of memory" in load.refusal()
        # Chains and chords that had begun come to their end: settlements, follow-ups, results, releases.
        with load._lock:
            begun = list(load.rounds)
        for each in begun:
            each.results()
        admin.config_set("maxmemory", 0)
        load.until_more(50)
        load.finish()


@pytest.mark.parametrize("refusal", ["READONLY", "MISCONF"])
def test_it_refuses_writes_for_a_while(server, admin, namespace, refusal):
    with Load(server.url, namespace) as load:
        load.until_more(50)
        if refusal == "READONLY":
            admin.replicaof("127.0.0.1", 1)  # whoever is blocked at it gets UNBLOCKED
        else:
            # A folder where its snapshot should go, as good as a full disk.
            (server.directory / "dump.rdb").mkdir()
            admin.config_set("save", "3600 1")
            admin.execute_command("BGSAVE")
            eventually(lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "err", "the failure")
        told = {"READONLY": "read-only replica", "MISCONF": "cannot write to its disk"}
        assert told[refusal] in load.refusal()
        if refusal == "READONLY":
            admin.replicaof("NO", "ONE")
        else:
            admin.config_set("stop-writes-on-bgsave-error", "no")
        load.until_more(50)
        load.finish()
    admin.config_set("save", "")  # else it would try for ten seconds to write before it ends


def test_a_long_script_of_somebody_else_keeps_it_busy(server, admin, namespace):
    admin.config_set("lua-time-limit", 5)
    with Load(server.url, namespace) as load, ThreadPoolExecutor(1) as threads:
        load.until_more(50)
        busy = threads.submit(_keep_busy, server)
        try:
            assert "long script" in load.refusal()
        finally:
            eventually(lambda: busy.done() or _end_script(server), "the end of the script")
        busy.result(20)
        load.until_more(50)
        load.finish()


def _keep_busy(server):
    with server.client(socket_timeout=60) as client, pytest.raises(Exception, match="killed"):
        client.eval("while true do end", 0)


def _end_script(server):
    with server.client() as client, suppress(ResponseError):  # for a moment another one was running, or none
        client.script_kill()
    return False


def test_it_comes_back_empty_and_work_begins_anew(server, namespace):
    server.args = ()
    server.restart()
    config = Config(broker=server.url, namespace=namespace, send_timeout=20, lease=8, poll_interval=0.5)
    with Server(config) as sender:
        sender.register_task("double", lambda number: 2 * number)
        lost = sender.send_task(Signature("double", [1], delay=3600))
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(lost.get, timeout=30)
            with sender.new_worker("w", 2):
                server.kill()
                server.restart()
                # Who waits for what is gone is told so, not left to wait.
                with pytest.raises(UnknownTask):
                    waiting.result(30)
                assert sender.send_task(Signature("double", [2])).get(timeout=20) == 4
                schedule = sender.send_periodic_task("@every 1s", Signature("double", [3]), code="again")
                eventually(lambda: schedule.refresh().last_fire_at, "a firing")
                sender.cancel("again")


# -- the way to it -----------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(redis_server):
    with Proxy(redis_server.port) as proxy:
        yield proxy


def test_the_link_flaps(proxy, namespace):
    with Load(proxy.url, namespace, redis=RedisConfig(read_timeout=0.5)) as load:
        for _ in range(8):
            load.until_more(10)
            proxy.cut()
        for _ in range(2):  # half-open: nothing comes through, and nobody says so
            load.until_more(20)
            proxy.freeze()
            threading.Event().wait(0.7)
            proxy.thaw()
        load.until_more(50)
        load.finish()


@pytest.mark.parametrize("seconds", [0.1, pytest.param(0.3, marks=pytest.mark.long)])
def test_every_reply_to_the_workers_takes_long(proxy, redis_server, namespace, seconds):
    with Load(redis_server.url, namespace, proxy.url, lease=3) as load:
        load.until_more(20)
        proxy.latency = seconds
        load.until_more(12)
        proxy.latency = 0.0
        load.finish()
        assert set(load.deliveries) == {1}  # no lease ran out while its worker waited


def test_replies_come_later_than_their_time_limit(proxy, namespace):
    """What was given up was done all the same, and is asked for again: no second effect."""
    with Load(proxy.url, namespace, redis=RedisConfig(read_timeout=0.15)) as load:
        load.until_more(20)
        for _ in range(6):
            proxy.latency = 0.4
            proxy.late.wait(10)
            proxy.latency = 0.0
            load.until_more(30)
        load.finish()


def test_a_worker_cut_off_for_longer_than_its_lease_is_refused_when_it_is_back(proxy, redis_server, namespace):
    options = {"namespace": namespace, "lease": 1.2, "heartbeat": 0.3, "send_timeout": 20, "poll_interval": 0.2}
    ended = threading.Event()
    begun = threading.Event()

    def hold() -> str:
        begun.set()
        ended.wait(30)
        return "late"

    cut_off = Server(Config(broker=proxy.url, redis=RedisConfig(read_timeout=0.3), **options))
    heir = Server(Config(broker=redis_server.url, **options))
    cut_off.register_task("hold", hold)
    heir.register_task("hold", lambda: "in time")
    with cut_off, heir, cut_off.new_worker("cut-off", 1):
        handle = heir.send_task(Signature("hold"))
        assert begun.wait(20)
        with heir.new_worker("heir", 1):
            proxy.freeze()
            assert handle.get(timeout=20) == "in time"
            proxy.thaw()
            ended.set()
            assert heir.send_task(Signature("hold")).get(timeout=20)
        assert handle.get() == "in time"
        assert handle.get_state().worker == "heir"


@pytest.mark.parametrize(
    ("less", "again"),
    [
        ("-evalsha -eval", "+evalsha +eval"),
        ("-@write", "+@write"),
        pytest.param("-@all", "+@all", marks=pytest.mark.long),
        pytest.param("resetkeys ~elsewhere:*", "~*", marks=pytest.mark.long),
    ],
)
def test_rights_are_taken_away_as_a_whole_and_given_back(server, admin, namespace, less, again):
    """Each script is denied before its first change."""
    with Load(server.url, namespace) as load:
        load.until_more(50)
        admin.execute_command("ACL", "SETUSER", "tests", *less.split())
        assert "docs/redis-keys.md" in load.refusal()
        admin.execute_command("ACL", "SETUSER", "tests", *again.split())
        load.until_more(50)
        load.finish()


def test_something_else_stands_at_the_key_of_one_queue(redis_server, namespace):
    """The other queue's tasks run on, and so do this one's when it is gone."""
    config = Config(broker=redis_server.url, namespace=namespace, send_timeout=0.2, lease=8, poll_interval=0.2)
    with Server(config) as sender, redis_server.client() as client:
        sender.register_task("one", lambda number: number)
        key = f"{keys.queue(namespace, 'bad')}:leases"
        waits = sender.send_task(Signature("one", [1], queue="bad"))
        client.set(key, "somebody else's")
        with sender.new_worker("w", 2, queues=["bad", "good"]):
            for number in range(20):
                assert sender.send_task(Signature("one", [number], queue="good")).get(timeout=20) == number
            with pytest.raises(BrokerUnavailable):
                sender.broker.lease("bad", 1, worker="x", call=1, duration=_SECOND, max_deliveries=5)
            client.delete(key)
            assert waits.get(timeout=20) == 1
