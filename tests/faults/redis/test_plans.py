"""Plans of workflows on real servers: what a crash leaves, what a full server still does, and that nothing stays."""

import datetime as dt
import itertools
from collections.abc import Callable

import attrs
import pytest

from tests.faults.redis.conftest import Driven
from tests.faults.redis.servers import eventually
from vecna.adapters.clock import ManualClock
from vecna.adapters.redis import buckets, keys, plans, scripts
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.plan import plan
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chain, Chord, Group
from vecna.ports.plans import Following, NodeStatus, Report

KEEP = dt.timedelta(hours=1)
AT_ONCE = dt.timedelta(0)


def workflow(members=3):
    """A chain with a chord and a group in it, and chains in these: nodes and steps of each kind."""
    group = Group(*[Signature("member", [number]) for number in range(members)], Chain(Signature("a"), Signature("b")))
    chord = Chord(group, Chain(Signature("callback"), Signature("after")))
    return Chain(Signature("first"), chord, Group(*[Signature("wide", [number]) for number in range(members)]))


def large():
    """Many nodes."""
    group = Group(*[Chain(Signature("a", [number]), Signature("b")) for number in range(12)])
    return plan(Chain(Signature("first"), Chord(group, Signature("callback")), workflow(7)))


@pytest.fixture
def small_calls(monkeypatch):
    """Few items in a call, so that a small plan takes many."""
    monkeypatch.setattr(buckets, "CHUNK", 4)
    monkeypatch.setattr(plans, "CHUNK", 4)


@pytest.fixture
def driven(any_redis_url, drive, namespace):
    return drive(any_redis_url, namespace=namespace)


@pytest.fixture
def stored(any_redis, namespace):
    """What is stored in the test's namespace."""
    with any_redis.client() as client:
        yield lambda: sorted(key.decode() for key in client.scan_iter(f"{namespace}:*", 1000))


@attrs.define
class Counted:
    """The calls of scripts that a driven backend makes; the one with number `fails` is the last, and is not made."""

    driven: Driven
    fails: int = -1
    between: Callable[[], None] | None = None  # called once, after the first
    calls: list[str] = attrs.field(factory=list)

    def __enter__(self):
        connections = self.driven.backend._connections
        run = connections.run

        def counted(script, *args, **kwargs):
            if len(self.calls) == self.fails:
                raise BrokerUnavailable("the process has died")
            self.calls.append(script.name)
            answer = run(script, *args, **kwargs)
            if self.between is not None:
                between, self.between = self.between, None
                between()
            return answer

        connections.run = counted
        return self

    def __exit__(self, *_):
        del self.driven.backend._connections.run


def all_of(backend, plan):
    """All that can be read of a plan."""
    nodes = [node.uuid for node in plan.nodes]
    return (
        backend.get_nodes(nodes),
        [backend.get_step(step.node, step.index) for step in plan.steps],
        [backend.get_tasks(plan.root, every=True, offset=0, limit=10_000)],
        [backend.get_tasks(node, every=False, offset=0, limit=10_000) for node in nodes],
    )


def check_complete(backend, plan):
    nodes, steps, (every,), results = all_of(backend, plan)
    assert [state.node for state in nodes] == list(plan.nodes)
    assert steps == list(plan.steps)
    assert every == [*[signature.uuid for signature in plan.first], *[uuid for uuid, _ in plan.later]]
    assert results == [list(dict(plan.results).get(node.uuid, ())) for node in plan.nodes]


def test_a_large_plan_is_stored_by_several_calls_and_read_as_it_was(driven):
    group = Group(*[Chain(Signature("a", [number]), Signature("b")) for number in range(700)])
    complete = plan(Chain(Signature("first"), Chord(group, Signature("callback")), workflow(700)))

    with Counted(driven) as counted:
        driven.backend.store_plan(complete)

    assert counted.calls.count("plan_store") > 1
    check_complete(driven.backend, complete)


@pytest.mark.usefixtures("small_calls")
def test_a_store_that_broke_off_anywhere_is_completed_by_the_next(driven, stored):
    complete = large()
    with Counted(driven) as counted:
        driven.backend.store_plan(complete)
    driven.backend.release_plan(complete.root, AT_ONCE)

    for number in range(counted.calls.count("plan_store")):
        with Counted(driven, fails=number), pytest.raises(BrokerUnavailable):
            driven.backend.store_plan(complete)
        # Whoever finds what is there can find the rest.
        assert bool(stored()) == (driven.backend.uncommitted(AT_ONCE, 10) == [complete.root])

        driven.backend.store_plan(complete)

        check_complete(driven.backend, complete)
        driven.backend.release_plan(complete.root, AT_ONCE)
        assert stored() == []


@pytest.mark.usefixtures("small_calls")
def test_a_store_that_nobody_completes_is_removed_with_all_that_is_there(driven, stored):
    complete = large()
    with Counted(driven) as counted:
        driven.backend.store_plan(complete)
    driven.backend.release_plan(complete.root, AT_ONCE)

    for number in range(1, counted.calls.count("plan_store")):
        with Counted(driven, fails=number), pytest.raises(BrokerUnavailable):
            driven.backend.store_plan(complete)
        for root in driven.backend.uncommitted(AT_ONCE, 10):
            driven.backend.release_plan(root, AT_ONCE)

        assert stored() == []


@pytest.mark.usefixtures("small_calls")
@pytest.mark.parametrize("keep", [AT_ONCE, KEEP])
def test_a_sender_so_slow_that_it_was_given_up_leaves_nothing_for_ever(driven, stored, any_redis, keep):
    complete = large()

    with Counted(driven, between=lambda: driven.backend.release_plan(complete.root, keep)):
        driven.backend.store_plan(complete)

    assert (stored() == []) == (keep == AT_ONCE)
    with any_redis.client() as client:
        assert [key for key in stored() if client.pttl(key) < 0] == []


def test_a_plan_that_was_released_is_not_stored_again_while_it_is_kept(driven, stored, any_redis):
    complete = large()
    driven.backend.store_plan(complete)
    driven.backend.release_plan(complete.root, KEEP)
    before = all_of(driven.backend, complete)

    driven.backend.store_plan(complete)

    assert all_of(driven.backend, complete) == before
    with any_redis.client() as client:
        assert all(0 < client.pttl(key) <= 3_600_000 for key in stored())


@pytest.mark.usefixtures("small_calls")
def test_a_release_that_broke_off_anywhere_is_completed_by_the_next(driven, stored):
    complete = large()
    driven.backend.store_plan(complete)
    with Counted(driven) as counted:
        driven.backend.release_plan(complete.root, AT_ONCE)
    assert counted.calls.count("plan_release") > 2

    for number in range(len(counted.calls)):
        driven.backend.store_plan(complete)
        with Counted(driven, fails=number), pytest.raises(BrokerUnavailable):
            driven.backend.release_plan(complete.root, AT_ONCE)

        driven.backend.release_plan(complete.root, AT_ONCE)

        assert stored() == []


def test_what_is_released_expires_by_itself(driven, stored):
    complete = plan(workflow())
    driven.backend.store_plan(complete)
    group = next(node for node in complete.nodes if not node.is_chain)
    driven.backend.report([Report(group.uuid, 0, succeeded=True)])
    assert keys.node(driven.backend._namespace, group.uuid).replace(":n:", ":m:") in stored()

    driven.backend.release_plan(complete.root, dt.timedelta(milliseconds=50))

    eventually(lambda: stored() == [], "the expiry of a plan")


def test_a_virtual_clock_sets_no_expiry_on_the_server(any_redis, any_redis_url, drive, namespace, stored):
    clock = ManualClock()
    driven = drive(any_redis_url, clock, namespace=namespace)
    complete = plan(workflow())
    driven.backend.store_plan(complete)
    driven.backend.report([Report(complete.nodes[-1].uuid, 0, succeeded=True)])
    driven.backend.release_plan(complete.root, KEEP)

    with any_redis.client() as client:
        assert {client.pttl(key) for key in stored()} == {-1}
    clock.advance(KEEP.total_seconds())
    assert driven.backend.get_nodes([complete.root]) == [None]
    driven.backend.store_plan(complete)  # as if it had never been there
    check_complete(driven.backend, complete)


def test_a_batch_of_reports_is_one_call_whatever_nodes_it_is_about(driven):
    plans = [plan(workflow()) for _ in range(20)]
    for complete in plans:
        driven.backend.store_plan(complete)

    with Counted(driven) as counted:
        driven.backend.report([Report(node.uuid, 0, succeeded=True) for each in plans for node in each.nodes])

    assert counted.calls == ["plan_report"]


def test_a_report_costs_the_same_in_a_large_group(driven, any_redis):
    small, wide = (plan(Group(*[Signature("t") for _ in range(size)])) for size in (10, 20_000))

    def commands(root, index):
        with any_redis.client() as client:
            client.config_resetstat()
            driven.backend.report([Report(root, index, succeeded=True)])
            return sum(item["calls"] for item in client.info("commandstats").values())

    for complete in (small, wide):
        driven.backend.store_plan(complete)
        commands(complete.root, 0)  # the script is known from now on
    assert commands(wide.root, 19_999) == commands(small.root, 9)


def test_every_end_of_a_node_is_told(driven):
    complete = plan(workflow())
    driven.backend.store_plan(complete)
    listener = driven.backend.listen()
    nodes = [node.uuid for node in complete.nodes]
    listener.watch(nodes)

    driven.backend.report([Report(node.uuid, node.size - 1, succeeded=node.is_chain) for node in complete.nodes])

    heard: set[str] = set()

    def hear():
        heard.update(listener.poll(1))
        return heard == set(nodes)

    eventually(hear, "the news of all ends")
    listener.close()


# -- when memory is full ---------------------------------------------------------------------------------------------


@pytest.fixture
def full(own_server, drive):
    """Fills the server with what a test has prepared."""

    def fill():
        with own_server.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)

    return drive(own_server.url), fill


def test_a_full_server_takes_no_new_plan(full, own_server):
    driven, fill = full
    fill()

    with pytest.raises(BrokerUnavailable, match="out of memory"):
        driven.backend.store_plan(plan(workflow()))

    with own_server.client() as client:
        assert client.keys() == []


def test_a_full_server_brings_workflows_to_their_end(full, own_server):
    driven, fill = full
    group = Group(*[Signature("member") for _ in range(2_000)])
    complete, failing = plan(Chord(group, Signature("callback"))), plan(workflow())
    for each in (complete, failing):
        driven.backend.store_plan(each)
    fill()

    assert driven.backend.commit_plan(complete.root)
    answers = driven.backend.report([Report(group.group_uuid, index, succeeded=True) for index in range(2_000)])
    assert [answer.following for answer in answers] == [Following.NOTHING] * 1_999 + [Following.COMPLETE]
    assert driven.backend.report([Report(complete.root, 0, succeeded=True)])[0].following is Following.ADVANCE
    assert driven.backend.get_step(complete.root, 1) == complete.steps[0]
    assert driven.backend.report([Report(complete.root, 1, succeeded=True)])[0].following is Following.COMPLETE
    driven.backend.report([Report(failing.root, 0, succeeded=False, reason="r" * 8_000)])
    assert [state.status for state in driven.backend.get_nodes([complete.root, failing.root])] == [
        NodeStatus.COMPLETE,
        NodeStatus.FAILED,
    ]
    for each in (complete, failing):
        driven.backend.release_plan(each.root, dt.timedelta(milliseconds=20))

    with own_server.client() as client:
        eventually(lambda: client.keys() == [], "the expiry of all")


# -- how it is kept --------------------------------------------------------------------------------------------------


def test_lists_are_cut_into_fields_of_bounded_size(driven, any_redis):
    complete = plan(Chain(Signature("a"), Group(*[Signature("t", ["x" * 100]) for _ in range(5_000)])))
    driven.backend.store_plan(complete)

    with any_redis.client() as client:
        fields = client.hgetall(keys.node(driven.backend._namespace, complete.root))

    assert {name.rstrip(b"0123456789") for name in fields} >= {b"n", b"e", b"s1:f", b"s1:l", b"s"}
    assert max(map(len, fields.values())) < 64 * 1024
    assert driven.backend.get_step(complete.root, 1) == complete.steps[0]


def test_large_signatures_are_spread_over_calls(driven):
    wide = Group(*[Signature("t", ["x" * 200_000]) for _ in range(30)])
    complete = plan(Chain(Signature("a"), wide))
    sizes = []
    run = driven.backend._connections.run

    def measured(script, names, args, **kwargs):
        if script is scripts.PLAN_STORE:
            sizes.append(sum(len(arg) for arg in args if isinstance(arg, bytes)))
        return run(script, names, args, **kwargs)

    driven.backend._connections.run = measured
    driven.backend.store_plan(complete)

    assert len(sizes) > 1
    assert max(sizes) < 11 * 200_100
    assert driven.backend.get_step(complete.root, 1) == complete.steps[0]


def test_a_page_begins_and_ends_anywhere(driven):
    complete = plan(Group(*[Signature("t") for _ in range(1_700)]))
    driven.backend.store_plan(complete)
    (_, uuids), *_ = complete.results

    for offset, limit in itertools.product((0, 1, 499, 500, 501, 1_699, 1_700, 5_000), (0, 1, 2, 500, 1_000, 90_000)):
        found = driven.backend.get_tasks(complete.root, every=False, offset=offset, limit=limit)
        assert found == list(uuids[offset : offset + limit])
