"""The user that docs/redis-keys.md names has enough rights for everything, and one with fewer is told so."""

import re
from pathlib import Path

import pytest

from tests.faults.redis.conftest import LEASE, uuids_of
from tests.faults.redis.servers import RedisCluster
from tests.servers import redis8_binary
from vecna.adapters.clock import SystemClock
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.message import Message
from vecna.domain.plan import plan
from vecna.domain.presence import WorkerRecord
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chord, Group
from vecna.ports.plans import Following, Report
from vecna.ports.values import Answer, Canceling, SettleAs

PAGE = (Path(__file__).parents[3] / "docs" / "redis-keys.md").read_text()
(LINE,) = [line.split() for line in re.findall(r"ACL SETUSER vecna on >a-long-secret (.+)", PAGE)]
(IN_A_CLUSTER,) = [rights.split() for rights in re.findall(r"In a cluster also `(.+?)`", PAGE)]


def grant(server, rights):
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "vecna", "on", ">a-long-secret", *rights)


def use_everything(driven):
    driven.broker.queues()
    assert driven.send("a", "b", "c", "d", "e", "f", "g") == [True] * 7
    driven.send("later", delay=LEASE)
    waiter = driven.broker.waiter()
    waiter.wait(["q"], 1)
    waiter.wait(["q"], 0.01)
    waiter.close()
    lease = driven.lease(4)
    assert driven.broker.extend("q", [lease.token], LEASE)[0].alive
    first, second, third, fourth = [item.uuid for item in lease.deliveries]
    assert driven.broker.cancel("q", [first, "e", "later"]) == [Canceling.RUNNING, *[Canceling.CANCELED] * 2]
    kinds = [SettleAs.RETRY, SettleAs.RETURN, SettleAs.DEAD, SettleAs.DONE]
    for kind, uuid in zip(kinds, [first, second, third, fourth], strict=True):
        one = [item for item in lease.deliveries if item.uuid == uuid]
        follow_ups = (Message("h", "other", b"{}"),) if kind is SettleAs.DONE else ()
        single = type(lease)(lease.queue, lease.token, tuple(one), lease.now)
        assert driven.settle(single, kind, follow_ups=follow_ups) == [Answer.OK]
    assert driven.broker.relay("q") == 0
    driven.lease(0, duration=LEASE / 30_000)
    driven.broker.counts("q")
    driven.broker.get_pending_tasks("q")
    driven.broker.get_delayed_tasks("q")
    assert len(driven.broker.get_dead_tasks("q")) == 1
    assert driven.broker.locate(["h"])[0].queue == "other"
    assert uuids_of(driven.lease(queue="other")) == ["h"]

    listener = driven.backend.listen()
    listener.watch(["a", "b"])
    listener.unwatch(["b"])
    driven.end("a")
    assert listener.poll(10) == ["a"]
    listener.close()
    driven.backend.release(["a"], LEASE)
    assert driven.backend.get_states(["a", "b"])[1] is None
    driven.backend.forget(["a"])
    assert driven.backend.unreleased(LEASE, 10) == driven.backend.waiting_callbacks(LEASE, 10) == []

    held = driven.lock.acquire("l", "o", LEASE)
    assert driven.lock.renew(held, LEASE)
    assert driven.lock.release(held)
    use_workflows(driven)


def use_workflows(driven):
    group = Group(Signature("a"), Signature("b"))
    complete = plan(Chord(group, Signature("callback")))
    driven.backend.store_plan(complete)
    held = [Message(each.uuid, "held", b"{}", code="c") for each in complete.first]
    assert driven.broker.stage(complete.root, held) == [True] * 2
    assert (
        driven.broker.staged("held", LEASE - LEASE) == driven.backend.uncommitted(LEASE - LEASE, 9) == [complete.root]
    )
    assert driven.backend.commit_plan(complete.root)
    assert driven.broker.unstage("held", complete.root, limit=1) == 1
    assert len(driven.broker.cancel_code("held", "c").canceled) == 2
    assert driven.broker.unstage("held", complete.root) == 0
    assert driven.broker.purge("held").left == 0
    driven.broker.note_worker(WorkerRecord("u", "w", ("q",), 1, SystemClock().now()), LEASE)
    assert [each.uuid for each in driven.broker.workers()] == ["u"]
    assert driven.broker.drop_dead("held", ["nobody"]) == [False]
    driven.settle(driven.lease(queue="held"))
    driven.backend.report([Report(group.group_uuid, index, succeeded=not index) for index in range(2)])
    assert driven.backend.get_step(complete.root, 1) == complete.steps[0]
    assert driven.backend.get_tasks(group.group_uuid, every=False, offset=0, limit=9) == list(complete.results[0][1])
    assert None not in driven.backend.get_nodes([node.uuid for node in complete.nodes])
    driven.backend.release_plan(complete.root, LEASE)


def test_the_documented_rights_are_enough(own_server, drive):
    grant(own_server, LINE)
    use_everything(drive(f"redis://vecna:a-long-secret@127.0.0.1:{own_server.port}"))


def test_without_info_nothing_is_missed(own_server, drive):
    grant(own_server, [*LINE, "-info"])
    use_everything(drive(f"redis://vecna:a-long-secret@127.0.0.1:{own_server.port}"))


def test_the_documented_rights_are_enough_in_a_cluster(drive):
    with RedisCluster(redis8_binary()) as cluster:
        for node in cluster.nodes:
            grant(node, [*LINE, *IN_A_CLUSTER])
        use_everything(drive(f"redis://vecna:a-long-secret@{cluster.hosts}"))


def test_they_reach_no_other_keys(own_server):
    grant(own_server, LINE)
    with own_server.client(username="vecna", password="a-long-secret") as client:
        for command in (["GET", "other"], ["FLUSHALL"], ["KEYS", "*"], ["CONFIG", "GET", "*"], ["SHUTDOWN"]):
            with pytest.raises(Exception, match="permission"):
                client.execute_command(*command)


@pytest.mark.parametrize(
    ("less", "named"),
    [
        ("-eval", "eval"),
        ("-evalsha", "evalsha"),
        ("-rpush", "RPUSH"),
        ("-time", "TIME"),
        ("resetchannels", "PUBLISH"),
        ("resetkeys ~elsewhere:*", ""),
    ],
)
def test_a_missing_right_is_told_before_anything_is_done(own_server, drive, less, named):
    grant(own_server, [*LINE, *less.split()])
    driven = drive(f"redis://vecna:a-long-secret@127.0.0.1:{own_server.port}")

    with pytest.raises(BrokerUnavailable, match=r"denies.*docs/redis-keys\.md") as caught:
        driven.send("a")

    assert named in str(caught.value)
    assert "a-long-secret" not in str(caught.value)
    with own_server.client() as client:
        assert client.dbsize() == 0


def test_a_right_that_is_taken_away_later_is_told_in_words(own_server, drive):
    grant(own_server, LINE)
    driven = drive(f"redis://vecna:a-long-secret@127.0.0.1:{own_server.port}")
    driven.send("a")
    grant(own_server, ["-rpush"])

    with pytest.raises(BrokerUnavailable, match=r"denies a command.*docs/redis-keys\.md"):
        driven.send("b")


@pytest.mark.parametrize("command", ["setbit", "bitcount", "hset", "publish"])
def test_a_report_that_a_missing_right_cut_off_is_made_up_for(own_server, drive, command):
    """Redis keeps what a script has done by then; a member that was marked and not counted kept its chord for ever."""
    grant(own_server, LINE)
    driven = drive(f"redis://vecna:a-long-secret@127.0.0.1:{own_server.port}")
    group = Group(Signature("a"), Signature("b"))
    driven.backend.store_plan(plan(Chord(group, Signature("callback"))))
    first, last = [Report(group.group_uuid, index, succeeded=True) for index in range(2)]
    driven.backend.report([first])
    grant(own_server, [f"-{command}"])
    with pytest.raises(BrokerUnavailable, match="denies a command"):
        driven.backend.report([last])
    grant(own_server, [f"+{command}"])

    assert [each.following for each in driven.backend.report([last])] == [Following.COMPLETE]
