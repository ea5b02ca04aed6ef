"""What a worker that died after the last task of a workflow has left is let go by others."""

import datetime as dt

import pytest

from tests.unit.app.doubles import drain
from vecna.adapters.clock import ManualClock
from vecna.app.config import Config
from vecna.app.releasing import release_workflow
from vecna.app.sweeping import sweep_callbacks, sweep_records, sweep_senders
from vecna.bootstrap import Server
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.message import Message
from vecna.domain.plan import plan
from vecna.domain.signature import Signature
from vecna.domain.state import State, TaskState
from vecna.domain.workflow import Chain, Group
from vecna.ports.plans import Report
from vecna.ports.values import SettleAs, Settlement, Standing

MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def server():
    with Server(Config(broker="memory://", results_expire_in=3600), clock=ManualClock()) as server:
        yield server


@pytest.fixture
def workflow():
    return plan(Chain(Signature("a"), Group(Signature("b"), Signature("c"))))


def end_leaves(server, workflow):
    leaves = server.backend.get_tasks(workflow.root, every=True, offset=0, limit=10)
    server.backend.put_states([TaskState(task_uuid=uuid, state=State.SUCCESS, node=workflow.root) for uuid in leaves])
    return leaves


def test_a_workflow_that_is_over_and_was_not_released(server, workflow):
    server.backend.store_plan(workflow)
    server.backend.commit_plan(workflow.root)
    leaves = end_leaves(server, workflow)
    server.backend.report([Report(workflow.root, 1, succeeded=True)])
    server.clock.advance(MINUTE)

    sweep_records(server)

    nodes = [node.uuid for node in workflow.nodes]
    server.clock.advance(59 * MINUTE)
    assert None not in server.backend.get_nodes(nodes) + server.backend.get_states(leaves)
    server.clock.advance(2 * MINUTE)
    assert server.backend.get_nodes(nodes) == [None] * len(nodes)
    assert server.backend.get_states(leaves) == [None] * len(leaves)


def test_a_workflow_that_goes_on_keeps_everything(server, workflow):
    server.backend.store_plan(workflow)
    server.backend.commit_plan(workflow.root)
    leaves = end_leaves(server, workflow)
    server.clock.advance(MINUTE)

    sweep_records(server)

    server.clock.advance(1_000 * MINUTE)
    nodes = [node.uuid for node in workflow.nodes]
    assert None not in server.backend.get_nodes(nodes) + server.backend.get_states(leaves)


def test_a_sender_that_died_while_it_stored_the_plan(server, workflow):
    """Of a plan that is stored in many steps there may be no task yet."""
    empty = type(workflow)(workflow.root, workflow.nodes[:1], (), (), (), ())
    server.backend.store_plan(empty)
    server.clock.advance(10 * MINUTE)

    sweep_senders(server, [])

    assert server.backend.uncommitted(dt.timedelta(0), 10) == []
    assert not server.backend.commit_plan(workflow.root)


def test_a_sender_that_died_before_all_was_there(server, workflow):
    server.backend.store_plan(workflow)
    server.broker.stage(workflow.root, [Message.of(workflow.first[0], "q")])
    server.clock.advance(10 * MINUTE)

    sweep_senders(server, ["q"])

    uuid = workflow.first[0].uuid
    assert server.backend.get_state(uuid).state is State.CANCELED
    assert server.broker.locate([uuid])[0].standing is Standing.ENDING
    sweep_senders(server, ["q"])  # finds nothing more to do
    assert server.broker.staged("q", dt.timedelta(0)) == server.backend.uncommitted(dt.timedelta(0), 10) == []


@pytest.mark.parametrize("number", range(4))
def test_a_worker_that_dies_anywhere_while_it_releases_a_workflow(server, workflow, monkeypatch, number):
    server.backend.store_plan(workflow)
    server.backend.commit_plan(workflow.root)
    leaves = end_leaves(server, workflow)
    server.backend.report([Report(workflow.root, 1, succeeded=True)])
    calls: list[str] = []

    def mortal(patch, name):
        method = getattr(server.backend, name)

        def call(*args, **kwargs):
            if len(calls) == number:
                raise BrokerUnavailable("the worker has died")
            calls.append(name)
            return method(*args, **kwargs)

        patch.setattr(server.backend, name, call)

    with monkeypatch.context() as patch:
        for name in ("get_tasks", "release", "release_plan"):
            mortal(patch, name)
        with pytest.raises(BrokerUnavailable):
            release_workflow(server.backend, workflow.root, 3600)
    assert len(calls) == number

    server.clock.advance(MINUTE)
    sweep_records(server)

    server.clock.advance(61 * MINUTE)
    assert server.backend.get_nodes([workflow.root]) == [None]
    assert server.backend.get_states(leaves) == [None] * len(leaves)


def test_ends_of_a_long_workflow_do_not_hide_others(server):
    """Thousands of its members have ended and must stay; what a dead worker has left behind them is found in time."""
    members = [Signature("a") for _ in range(1_000)]
    group = plan(Group(*members, Signature("last")))
    server.backend.store_plan(group)
    server.backend.commit_plan(group.root)
    ended = [TaskState(task_uuid=each.uuid, state=State.SUCCESS, node=group.root) for each in members]
    server.backend.put_states(ended)
    server.clock.advance(1)
    server.backend.put_states([TaskState(task_uuid="lost", state=State.SUCCESS)])
    server.clock.advance(MINUTE)

    for _ in range(200):
        sweep_records(server)

    server.clock.advance(61 * MINUTE)
    assert server.backend.get_state("lost") is None
    assert None not in server.backend.get_states([each.uuid for each in members])


def test_the_record_of_a_dead_letter_whose_worker_died_before_it_released_it(server):
    broker, backend = server.broker, server.backend
    broker.enqueue([Message("t1", "q", b"{}")])
    lease = broker.lease("q", 1, worker="w", call=1, duration=MINUTE, max_deliveries=5)
    backend.put_states([TaskState(task_uuid="t1", state=State.FAILURE, dead_reason="unreadable")])
    broker.settle("q", [Settlement("t1", lease.token, SettleAs.DEAD, reason="unreadable")])
    server.clock.advance(2 * MINUTE)

    sweep_records(server)

    assert backend.unreleased(MINUTE, 10) == []
    server.clock.advance(61 * MINUTE)
    assert backend.get_state("t1") is None
    assert [letter.uuid for letter in broker.get_dead_tasks("q")] == ["t1"]


# -- callbacks -------------------------------------------------------------------------------------------------------


def waits(server, *uuids):
    return [state is not None and state.is_waiting_callback for state in server.backend.get_states(uuids)]


def with_callbacks(**options):
    inner = Signature("after", uuid="inner")
    return Signature("a", uuid="a", on_success=[Signature("then", uuid="outer", on_error=inner)], **options)


def test_callbacks_of_what_was_never_sent_are_forgotten_level_by_level(server, monkeypatch):
    def dies(*_):
        raise RuntimeError("the sender dies")

    monkeypatch.setattr(server.broker, "enqueue", dies)
    with pytest.raises(RuntimeError):
        server.send_task(with_callbacks())
    monkeypatch.undo()
    sweep_callbacks(server)
    assert waits(server, "outer", "inner") == [True, True]  # it may be about to send

    server.clock.advance(MINUTE)
    sweep_callbacks(server)
    assert waits(server, "outer", "inner") == [False, True]
    server.clock.advance(MINUTE)
    sweep_callbacks(server)
    assert server.backend.get_states(["outer", "inner"]) == [None, None]
    sweep_callbacks(server)
    assert server.backend.waiting_callbacks(MINUTE - MINUTE, 10) == []


def test_callbacks_whose_parent_waits_or_has_ended_are_kept(server):
    server.send_task(with_callbacks(delay=1000))
    for _ in range(3):
        server.clock.advance(MINUTE)
        sweep_callbacks(server)
        assert waits(server, "outer", "inner") == [True, True]
        assert server.backend.waiting_callbacks(MINUTE, 10) == []  # looked at: others come first now

    drain(server)
    server.backend.put_states([TaskState(task_uuid="a", state=State.SUCCESS)])
    server.clock.advance(MINUTE)
    sweep_callbacks(server)
    assert waits(server, "outer", "inner") == [True, True]


def test_a_callback_that_has_arrived_is_kept_though_its_parent_has_expired(server):
    server.backend.put_states([TaskState(task_uuid="outer", parent="a")])
    server.broker.enqueue([Message("outer", "vecna_tasks", b"{}")])
    server.clock.advance(MINUTE)

    sweep_callbacks(server)

    assert waits(server, "outer") == [True]


def test_more_callbacks_than_one_sweep_looks_at(server):
    server.backend.put_states([TaskState(task_uuid=f"c{number}", parent="a") for number in range(250)])
    server.clock.advance(MINUTE)
    for left in (150, 50, 0):
        sweep_callbacks(server)
        assert len(server.backend.waiting_callbacks(MINUTE, 1000)) == left
