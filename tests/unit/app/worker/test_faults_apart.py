"""What is wrong with one item, queue or workflow holds up no other; and what was broken off is made up for."""

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.app.worker.wiring import TestWiring, run_all, step
from vecna.app.delivery import is_own_failure
from vecna.app.delivery_values import CANCELED, LOST, Item, QueuesAway
from vecna.app.worker.flusher import Flusher
from vecna.app.worker.intake import Intake, _Queue
from vecna.app.worker.outage import Outage
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.message import Message
from vecna.domain.plan import plan
from vecna.domain.position import Position
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.domain.workflow import Group
from vecna.ports.values import Answer

QUEUE = "vecna_tasks"


@pytest.fixture
def wiring() -> TestWiring:
    wiring = TestWiring.make(lease=30)
    wiring.registry.add("seven", lambda *_: 7, {})
    wiring.registry.add("fail", _fail, {})
    wiring.registry.add("wait", _wait, {})
    return wiring


def _fail():
    raise RuntimeError("boom")


async def _wait():
    pass


def refusing(monkeypatch, port, method, refuse, error=BrokerUnavailable):
    """Have a port refuse calls with certain arguments; a list that can be cleared to end that."""
    real, faults = getattr(port, method), [True]

    def call(*args, **kwargs):
        if faults and refuse(*args):
            raise error("damaged")
        return real(*args, **kwargs)

    monkeypatch.setattr(port, method, call)
    return faults


# -- leases ------------------------------------------------------------------------------------------------------------


def test_a_call_that_only_passes_work_on_takes_what_an_unanswered_one_before_it_has_got():
    """The broker repeats the answer of the call before, whatever this one asks for."""
    batch, queue = SimpleNamespace(items=(object(),)), _Queue(QUEUE)
    admitted: list[object] = []

    def admit(batch: object) -> bool:
        admitted.append(batch)
        return True

    intake: Any = SimpleNamespace(
        _lease=lambda *_: batch,
        _admit=admit,
        _clock=SimpleNamespace(monotonic=lambda: 5.0),
    )

    Intake._pass_on(intake, [queue])

    assert admitted == [batch]


def test_a_batch_that_passing_on_has_brought_is_not_forgotten_for_that_of_the_next_queue():
    full, free = _Queue("full", due=1.0), _Queue("free")
    batches = [SimpleNamespace(items=("kept",)), SimpleNamespace(items=("next",))]
    intake: Any = SimpleNamespace(
        _clock=SimpleNamespace(monotonic=lambda: 5.0),
        _outage=SimpleNamespace(is_failing=lambda _: False),
        _capacity=SimpleNamespace(measure=lambda: None, room=lambda name: 0 if name == "full" else 1),
        _is_paused=lambda _: False,
        _ready=lambda *_, **__: [full, free],
        _may_take=lambda: True,
        _lease=lambda *_: batches.pop(0),
        _unadmitted=None,
        _rung=False,
        _open=True,
    )

    def admit(batch: object) -> bool:  # the backend cannot be asked
        intake._unadmitted = batch
        return False

    intake._admit, intake._pass_on = admit, lambda queues: Intake._pass_on(intake, queues)

    assert Intake._round(intake) is False
    assert intake._unadmitted.items == ("kept",)


def test_a_full_worker_looks_when_something_becomes_due_but_not_all_the_time():
    queue = _Queue(QUEUE, ready=False, due=7.0, look=99.0)
    intake: Any = SimpleNamespace(
        _clock=SimpleNamespace(monotonic=lambda: 5.0),
        _slots=SimpleNamespace(oldest=lambda: None, next_free=None),
        _flusher=SimpleNamespace(next_note=lambda: None, away=frozenset()),
        _outage=SimpleNamespace(is_failing=lambda _: False),
        _capacity=SimpleNamespace(measure=lambda: None, room=lambda _: 0),
        _is_paused=lambda _: False,
        _listen=lambda _: None,
        _open=True,
        _queues=[queue],
    )

    assert Intake._until(intake) == 2.0
    assert (queue.is_due(6.9), queue.is_due(7.0)) == (False, True)
    queue.passed = 7.05
    assert (queue.is_due(7.0), queue.is_due(7.05)) == (False, True)


def test_a_batch_that_was_not_admitted_goes_back_as_a_whole(wiring):
    wiring.broker.enqueue([Message("bad", QUEUE, b"{not json")])
    wiring.send(Signature("seven", uuid="good"))
    deliveries = wiring.deliveries()

    deliveries.finish(deliveries.return_all(deliveries.lease(QUEUE, 10)))

    assert (deliveries.held, wiring.broker.counts(QUEUE).pending) == (0, 2)
    step(wiring.deliveries("w2"))
    assert wiring.states("bad", "good") == [State.FAILURE, State.SUCCESS]


def test_a_batch_whose_admission_was_broken_off_goes_back_as_a_whole(wiring, monkeypatch):
    wiring.send(Signature("elsewhere", uuid="parked"), Signature("seven", uuid="taking").evolve(position=_TAKING))
    deliveries = wiring.deliveries()
    batch = deliveries.lease(QUEUE, 10)
    refusing(monkeypatch, wiring.backend, "get_tasks", lambda *_: True)
    with pytest.raises(BrokerUnavailable):
        deliveries.admit(batch)

    deliveries.finish(deliveries.return_all(batch))

    assert (deliveries.held, wiring.broker.counts(QUEUE).pending) == (0, 2)


def test_who_is_told_to_stop_while_something_is_finished_is_named_by_the_next_heartbeat(wiring):
    """The coroutines among them have to be cancelled, and nobody is told twice."""
    for uuid in ("canceled", "lost"):
        deliveries = wiring.deliveries(uuid)
        wiring.send(Signature("seven", uuid=f"ended-{uuid}"), Signature("wait", uuid=uuid))
        (ended, running), _ = deliveries.admit(deliveries.lease(QUEUE, 10))
        deliveries.run(ended)
        if uuid == "canceled":
            wiring.broker.cancel(QUEUE, [uuid])
            wiring.clock.advance(28)  # it is not sure of its lease any more, and has it still
        else:
            wiring.broker.forfeit(QUEUE, [ended.hold.token], max_deliveries=5)
            wiring.clock.advance(28)

        deliveries.finish([ended])

        assert running in deliveries.extend()
        assert running.stopping == (CANCELED if uuid == "canceled" else LOST)
        assert deliveries.extend() == []


@pytest.mark.parametrize("error", [BrokerUnavailable, ValueError])
def test_what_is_wrong_with_one_queue_keeps_no_other_lease_from_being_extended(wiring, monkeypatch, error):
    deliveries = wiring.deliveries()
    for queue in ("one", "two", "three"):
        wiring.send(Signature("wait", uuid=queue, queue=queue))
        deliveries.admit(deliveries.lease(queue, 1))
    wiring.broker.cancel("one", ["one"])
    refusing(monkeypatch, wiring.broker, "extend", lambda queue, *_: queue == "two", error)
    wiring.clock.advance(10)

    assert [item.uuid for item in deliveries.extend()] == ["one"]

    trusted = {item.uuid: item.hold.trusted_until - wiring.clock.monotonic() for item in deliveries.items()}
    assert trusted == {"one": 27, "two": 17, "three": 27}


def test_a_ring_is_kept_for_when_the_batch_before_it_can_be_admitted():
    intake: Any = SimpleNamespace(
        _clock=SimpleNamespace(monotonic=lambda: 5.0),
        _outage=SimpleNamespace(is_failing=lambda _: False),
        _is_paused=lambda _: False,
        _unadmitted=object(),
        _admit=lambda _: False,
        _rung=True,
    )

    assert (Intake._round(intake), intake._rung) == (False, True)


# -- admission ---------------------------------------------------------------------------------------------------------

_TAKING = Position(takes="damaged")


@pytest.mark.parametrize("error", [BrokerUnavailable, ValueError])
def test_results_that_cannot_be_read_hold_up_nobody_else(wiring, monkeypatch, error):
    wiring.send(Signature("seven", uuid="taking").evolve(position=_TAKING), Signature("seven", uuid="other"))
    refusing(monkeypatch, wiring.backend, "get_tasks", lambda *_: True, error)
    deliveries = wiring.deliveries()
    batch = deliveries.lease(QUEUE, 10)
    for _ in range(2):  # it may pass
        with pytest.raises(error):
            deliveries.admit(batch)

    runnable, ended = deliveries.admit(batch)
    deliveries.finish([*run_all(deliveries, runnable), *ended])

    assert wiring.state("other").is_success
    (place,) = wiring.broker.locate(["taking"])
    assert 4 <= (place.due_at - wiring.clock.now()).total_seconds() <= 5
    assert place.attempts.parks == 0


def test_of_many_results_that_cannot_be_read_not_all_are_tried_and_all_the_rest_runs(wiring, monkeypatch):
    """A member of a group beside them takes nothing; it does not begin the count anew."""
    asked: list[str] = []

    def refuse(group, **_):
        asked.append(group)
        return True

    wiring.send(Signature("seven", uuid="member").evolve(position=Position("group")))
    wiring.send(*[Signature("seven", uuid=uuid).evolve(position=Position(takes=uuid.upper())) for uuid in "abcd"])
    wiring.send(Signature("seven", uuid="other"))
    refusing(monkeypatch, wiring.backend, "get_tasks", refuse)
    deliveries = wiring.deliveries()
    batch = deliveries.lease(QUEUE, 10)
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            deliveries.admit(batch)

    runnable, ended = deliveries.admit(batch)

    assert [item.uuid for item in runnable] == ["member", "other"]
    assert [item.uuid for item in ended] == list("abcd")
    assert asked == ["A", "A", "A", "B"]
    assert len({item.decision.delay for item in ended}) == 4  # else they would come back in the same order


def test_what_expires_while_its_admission_is_repeated_does_not_run(wiring):
    wiring.send(Signature("seven", uuid="t1", expires=20))
    deliveries = wiring.deliveries()
    batch = deliveries.lease(QUEUE, 10)
    wiring.backend.fail_before("get_states")
    with pytest.raises(BrokerUnavailable):
        deliveries.admit(batch)
    wiring.clock.advance(21)

    runnable, (item,) = deliveries.admit(batch)
    deliveries.finish([item])

    assert (runnable, wiring.state("t1").error) == ([], "expired")


# -- the end -----------------------------------------------------------------------------------------------------------


def members(wiring, *groups):
    """A member of each of some groups, run and not finished; the group's id is that of the member in capitals."""
    for uuid in groups:
        draft = plan(Group(Signature("seven", uuid=uuid), group_uuid=uuid.upper()))
        wiring.backend.store_plan(draft)
        wiring.backend.commit_plan(draft.root)
        wiring.send(draft.first[0])
    deliveries = wiring.deliveries()
    runnable, _ = deliveries.admit(deliveries.lease(QUEUE, 10))
    return deliveries, run_all(deliveries, runnable)


def test_a_workflow_that_cannot_be_reported_to_holds_up_no_other(wiring, monkeypatch):
    deliveries, items = members(wiring, "a", "b", "c")
    faults = refusing(monkeypatch, wiring.backend, "report", lambda reports: any(each.node == "B" for each in reports))

    with pytest.raises(QueuesAway, match="workflow of task b") as caught:
        deliveries.finish(items)

    assert [item.over for item in items] == [True, False, True]
    assert (list(caught.value.queues), list(caught.value.workflows)) == ([], ["b"])
    faults.clear()
    deliveries.finish(items)
    assert items[1].answer is Answer.OK
    assert all(node.done == 1 for node in wiring.backend.get_nodes(["A", "B", "C"]))


def test_when_no_workflow_can_be_asked_not_all_are_tried(wiring, monkeypatch):
    deliveries, items = members(wiring, *"abcdef")
    calls: list[int] = []

    def refuse(reports):
        calls.append(len(reports))
        return True

    refusing(monkeypatch, wiring.backend, "report", refuse)

    with pytest.raises(QueuesAway):
        deliveries.finish(items)

    assert calls == [6, 1, 1]


def test_ends_behind_those_that_cannot_be_reported_are_not_behind_them_again(wiring, monkeypatch):
    deliveries, items = members(wiring, *"abcd")
    refusing(monkeypatch, wiring.backend, "report", lambda reports: any(each.node in "AB" for each in reports))
    outage, over = Outage("w1", wiring.clock, wiring.random, lambda *_: None), list[Item]()
    flusher = Flusher(deliveries, outage, wiring.clock, over.extend)
    flusher.extend(items)
    flusher._gather()
    flusher._flush([])
    assert over == []

    wiring.clock.advance(10)
    flusher._take_back()
    flusher._flush([])

    assert over == items[2:]


def test_the_ends_of_one_workflow_are_not_tried_one_by_one(wiring, monkeypatch):
    draft = plan(Group(*[Signature("seven", uuid=uuid) for uuid in "abc"], group_uuid="B"))
    wiring.backend.store_plan(draft)
    wiring.backend.commit_plan(draft.root)
    wiring.send(*draft.first)
    deliveries, items = members(wiring, "other")
    refusing(monkeypatch, wiring.backend, "report", lambda reports: any(each.node == "B" for each in reports))

    with pytest.raises(QueuesAway):
        deliveries.finish(items)

    assert [item.uuid for item in items if item.over] == ["other"]


def test_a_queue_with_a_workflow_that_cannot_be_reported_to_is_served_on(wiring, monkeypatch):
    deliveries, items = members(wiring, "a", "b")
    refusing(monkeypatch, wiring.backend, "report", lambda reports: any(each.node == "B" for each in reports))
    over: list[Item] = []
    outage = Outage("w1", wiring.clock, wiring.random, lambda *_: None)
    flusher = Flusher(deliveries, outage, wiring.clock, over.extend)
    flusher.extend(items)
    flusher._gather()

    flusher._flush([])

    assert (over, flusher.away) == (items[:1], frozenset())


def test_a_release_that_cannot_be_done_is_left_to_a_sweep(wiring, monkeypatch):
    deliveries, items = members(wiring, "a", "b")
    refusing(monkeypatch, wiring.backend, "release_plan", lambda root, *_: root == "B")
    for _ in range(2):  # it may pass
        with pytest.raises(BrokerUnavailable):
            deliveries.finish(items)

    deliveries.finish(items)
    deliveries.finish(items)

    assert not deliveries.owes
    wiring.clock.advance(3600)
    assert [node is None for node in wiring.backend.get_nodes(["A", "B"])] == [True, False]


def test_each_further_workflow_that_cannot_be_released_costs_one_try(wiring, monkeypatch):
    deliveries, items = members(wiring, "a", "b", "c")
    refusing(monkeypatch, wiring.backend, "release_plan", lambda *_: True)
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            deliveries.finish(items)

    for _ in range(4):  # at last the ends of the members
        assert deliveries.owes
        deliveries.finish([])

    assert [node is None for node in wiring.backend.get_nodes(["A", "B", "C"])] == [False] * 3
    assert not deliveries.owes


def test_a_settlement_whose_reply_was_lost_before_an_outage_is_not_taken_for_a_lost_lease(wiring, caplog):
    wiring.send(Signature("fail", uuid="t1"))
    deliveries = wiring.deliveries()
    runnable, _ = deliveries.admit(deliveries.lease(QUEUE, 1))
    (item,) = run_all(deliveries, runnable)
    wiring.broker.fail_after("settle")
    with pytest.raises(BrokerUnavailable):
        deliveries.finish([item])
    wiring.clock.advance(28)

    deliveries.finish([item])

    assert is_own_failure(item)
    assert "has lost the lease" not in caplog.text
    assert wiring.backend.unreleased(dt.timedelta(0), 10) == []


def test_states_on_the_way_are_written_though_an_end_beside_them_cannot_be_at_first(wiring, monkeypatch):
    wiring.send(Signature("seven", uuid="ended"), Signature("seven", uuid="runs"))
    deliveries = wiring.deliveries()
    (ended, runs), _ = deliveries.admit(deliveries.lease(QUEUE, 2))
    deliveries.run(ended)
    runs.started = wiring.clock.monotonic()
    refusing(monkeypatch, wiring.backend, "put_states", lambda states: len(states) == 2, ValueError)
    outage = Outage("w1", wiring.clock, wiring.random, lambda *_: None)
    flusher = Flusher(deliveries, outage, wiring.clock, lambda _: None)
    flusher.add(ended)
    flusher._gather()
    flusher._flush([runs])
    assert ended.over

    wiring.clock.advance(1)
    flusher._flush(flusher._due_notes())

    assert wiring.state("runs").state is State.STARTED
