"""Which deliveries are run, and how the others end."""

import datetime as dt
import logging
from dataclasses import dataclass
from typing import Any

import pytest

from tests.unit.app.worker.wiring import TestWiring, run_all, step
from vecna.domain.arg import TaskResult
from vecna.domain.errors import InvalidArgument, InvalidSignature, TaskFailed, TaskNotRegistered
from vecna.domain.message import Message
from vecna.domain.plan import plan
from vecna.domain.position import Position
from vecna.domain.signature import Signature
from vecna.domain.state import State, TaskState
from vecna.domain.workflow import Group
from vecna.ports.values import Answer, Standing

SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def wiring() -> TestWiring:
    return TestWiring.make()


def test_a_task_runs_and_its_result_is_recorded_with_the_circumstances(wiring):
    wiring.registry.add("add", lambda a, b: a + b, {})
    wiring.send(Signature("add", [1, 2], uuid="t1"))
    sent_at = wiring.clock.now()
    wiring.clock.advance(5)

    (item,) = step(wiring.deliveries("w1"))

    state = wiring.state("t1")
    assert (state.state, state.value(), state.task_name) == (State.SUCCESS, 3, "add")
    assert (state.worker, state.attempt, state.error) == ("w1", 1, "")
    assert (state.created_at, state.started_at) == (sent_at, sent_at + 5 * SECOND)
    assert state.finished_at == sent_at + 5 * SECOND
    assert item.answer is Answer.OK
    assert wiring.broker.locate(["t1"]) == [None]


def test_a_message_that_cannot_be_read_becomes_a_dead_letter_and_the_rest_goes_on(wiring):
    ran: list[Any] = []
    wiring.registry.add("note", ran.append, {})
    wiring.broker.enqueue([Message("bad", "vecna_tasks", b"{not json"), Message("alien", "vecna_tasks", b"[1]")])
    wiring.send(Signature("note", ["x"], uuid="good"))

    items = step(wiring.deliveries())

    assert ran == ["x"]
    assert wiring.states("bad", "alien", "good") == [State.FAILURE, State.FAILURE, State.SUCCESS]
    assert [letter.uuid for letter in wiring.broker.get_dead_tasks("vecna_tasks")] == ["bad", "alien"]
    assert "not JSON" in wiring.broker.get_dead_tasks("vecna_tasks")[0].reason
    assert wiring.state("bad").dead_reason == wiring.broker.get_dead_tasks("vecna_tasks")[0].reason
    assert [type(item.exception) for item in items[:2]] == [InvalidSignature] * 2


def test_a_message_that_holds_another_id_than_its_own_is_not_run(wiring):
    ran: list[Any] = []
    wiring.registry.add("note", ran.append, {})
    wiring.broker.enqueue([Message("outer", "vecna_tasks", Signature("note", ["x"], uuid="inner").to_json())])

    step(wiring.deliveries())

    assert ran == []
    assert wiring.state("outer").is_failure
    assert wiring.backend.get_state("inner") is None


def test_an_unregistered_task_is_put_back_with_growing_delay_and_logged_once_per_name(wiring, caplog):
    deliveries = wiring.deliveries()
    wiring.send(Signature("elsewhere", uuid="t1"), Signature("elsewhere", uuid="t2"))
    delays = []
    with caplog.at_level(logging.WARNING, "vecna"):
        for round_ in range(9):
            step(deliveries)
            place = wiring.broker.locate(["t1"])[0]
            assert (place.standing, place.attempts.parks) == (Standing.DELAYED, round_ + 1)
            assert (place.attempts.retries, place.attempts.repeats) == (0, 0)
            delays.append((place.due_at - wiring.clock.now()).total_seconds())
            wiring.clock.advance(delays[-1] * 1.25)  # both: their jitter differs

    for delay, whole in zip(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert whole * 0.8 <= delay <= whole
    assert [record.message for record in caplog.records if "elsewhere" in record.message].__len__() == 1
    assert wiring.backend.get_state("t1") is None


def test_a_parked_task_runs_when_it_is_registered_later(wiring):
    deliveries = wiring.deliveries()
    wiring.send(Signature("late", uuid="t1"))
    step(deliveries)
    wiring.registry.add("late", lambda: "here", {})
    wiring.clock.advance(1)

    step(deliveries)

    assert wiring.state("t1").value() == "here"
    assert wiring.state("t1").attempt == 1


def test_a_task_that_may_be_ignored_fails_as_not_registered(wiring):
    wiring.send(Signature("elsewhere", uuid="t1", ignore_when_task_not_registered=True, retry_count=3))

    (item,) = step(wiring.deliveries())

    state = wiring.state("t1")
    assert (state.state, state.error_type) == (State.FAILURE, "vecna.domain.errors.TaskNotRegistered")
    assert "elsewhere" in state.error
    assert isinstance(item.exception, TaskNotRegistered)
    assert wiring.broker.locate(["t1"]) == [None]


def test_the_park_limit_ends_the_waiting(wiring):
    wiring = TestWiring.make(park_limit=2)
    deliveries = wiring.deliveries()
    wiring.send(Signature("elsewhere", uuid="t1"))
    for _ in range(2):
        step(deliveries)
        assert wiring.backend.get_state("t1") is None
        wiring.clock.advance(60)

    step(deliveries)

    assert wiring.state("t1").error_type.endswith("TaskNotRegistered")
    assert "2 times" in wiring.state("t1").error


def test_a_task_over_the_crash_limit_is_recorded_and_kept_as_a_dead_letter(wiring):
    wiring = TestWiring.make(max_deliveries=3, lease=30)
    ran: list[Any] = []
    wiring.registry.add("poison", lambda: ran.append(1), {"retry_count": 5})
    wiring.send(Signature("poison", uuid="t1", on_error=[Signature("clean", uuid="cleanup")]))
    for crash in range(3):  # each of these dies after its lease
        runnable, ended = _admitted(wiring, f"w{crash}")
        assert (len(runnable), ended) == (1, [])
        assert runnable[0].delivery.crashes == crash
        _let_lease_run_out(wiring)

    (item,) = step(wiring.deliveries())

    assert ran == []
    state = wiring.state("t1")
    assert (state.state, state.dead_reason) == (
        State.FAILURE,
        "its worker died or went silent 3 times while it held the task",
    )
    assert [letter.reason for letter in wiring.broker.get_dead_tasks("vecna_tasks")] == [state.dead_reason]
    assert isinstance(item.exception, TaskFailed)
    (cleanup,) = wiring.broker.get_pending_tasks("vecna_tasks")
    assert (cleanup.uuid, cleanup.args[0].value) == ("cleanup", state.error)


def _admitted(wiring, worker):
    deliveries = wiring.deliveries(worker)
    return deliveries.admit(deliveries.lease("vecna_tasks", 10))


def _let_lease_run_out(wiring):
    # In steps, as other workers' calls would: a silence longer than half a lease counts as an outage.
    for _ in range(4):
        wiring.clock.advance(10)
        wiring.deliveries("keeper").lease("vecna_tasks", 0)


def test_a_recorded_end_is_not_run_again_but_settled_with_its_follow_ups(wiring):
    ran: list[Any] = []

    def first():
        ran.append(1)
        return 7

    wiring.registry.add("first", first, {})
    wiring.send(Signature("first", uuid="t1", on_success=[Signature("second", uuid="t2")]))
    deliveries = wiring.deliveries()
    runnable, _ = deliveries.admit(deliveries.lease("vecna_tasks", 10))
    assert deliveries.run(runnable[0])
    wiring.broker.fail_before("settle")
    with pytest.raises(ConnectionError):  # recorded; then this worker dies
        deliveries.finish(runnable)
    _let_lease_run_out(wiring)

    (item,) = step(wiring.deliveries("w2"))

    assert (ran, item.started) == ([1], None)
    assert wiring.state("t1").worker == "w1"
    (second,) = wiring.broker.get_pending_tasks("vecna_tasks")
    assert (second.uuid, [arg.value for arg in second.args]) == ("t2", [7])


def test_a_message_whose_end_is_recorded_never_becomes_dead(wiring):
    wiring = TestWiring.make(max_deliveries=1)
    wiring.registry.add("first", lambda: 7, {})
    wiring.send(Signature("first", uuid="t1", on_success=[Signature("second", uuid="t2")]))
    deliveries = wiring.deliveries()
    runnable, _ = deliveries.admit(deliveries.lease("vecna_tasks", 10))
    deliveries.run(runnable[0])
    wiring.broker.fail_before("settle")
    with pytest.raises(ConnectionError):
        deliveries.finish(runnable)
    _let_lease_run_out(wiring)

    step(wiring.deliveries("w2"))

    assert wiring.state("t1").is_success
    assert wiring.broker.get_dead_tasks("vecna_tasks") == []
    assert [signature.uuid for signature in wiring.broker.get_pending_tasks("vecna_tasks")] == ["t2"]


def test_what_was_cancelled_before_it_started_ends_as_canceled(wiring):
    ran: list[Any] = []
    wiring.registry.add("note", ran.append, {})
    wiring.send(Signature("note", [1], uuid="t1"), Signature("note", [2], uuid="t2", delay=60))
    wiring.broker.cancel("vecna_tasks", ["t1", "t2"])

    step(wiring.deliveries())

    assert ran == []
    assert wiring.states("t1", "t2") == [State.CANCELED] * 2
    assert wiring.state("t1").error == "canceled"
    assert wiring.broker.locate(["t1", "t2"]) == [None, None]


@pytest.mark.parametrize("expires", [dt.timedelta(seconds=10), dt.datetime(2026, 1, 1, 0, 0, 10, tzinfo=dt.UTC)])
def test_what_did_not_start_in_time_ends_as_canceled_with_the_error_expired(wiring, expires):
    ran: list[Any] = []
    wiring.registry.add("note", ran.append, {})
    wiring.send(Signature("note", [1], uuid="late", expires=expires))
    wiring.clock.advance(9.999)
    wiring.send(Signature("note", [2], uuid="in-time", expires=dt.timedelta(seconds=10), priority=9))
    wiring.clock.advance(0.001)

    step(wiring.deliveries())

    assert ran == [2]
    assert (wiring.state("late").state, wiring.state("late").error) == (State.CANCELED, "expired")


def test_expiry_goes_by_the_brokers_clock_and_counts_for_what_nobody_here_knows(wiring):
    wiring.send(Signature("elsewhere", uuid="t1", expires=5))
    wiring.clock.advance(5)

    step(wiring.deliveries())

    assert wiring.state("t1").error == "expired"


@dataclass
class Point:
    x: int

    def __post_init__(self) -> None:
        if self.x < 0:
            raise SystemExit("no such point")


def test_arguments_that_do_not_fit_fail_at_once_without_retry(wiring):
    ran: list[Any] = []

    def place(point: Point) -> None:
        ran.append(point)

    wiring.registry.add("place", place, {"retry_count": 5})
    wiring.send(
        Signature("place", [], uuid="none"),
        Signature("place", [1, 2], uuid="two"),
        Signature("place", ["x"], uuid="type"),
        Signature("place", [{"x": 1}], kwargs={"point": {"x": 2}}, uuid="clash"),
        Signature("place", [{"x": -1}], uuid="refused"),
        Signature("place", [{"x": 1}], uuid="good"),
    )

    items = step(wiring.deliveries())

    assert ran == [Point(1)]
    assert wiring.states("none", "two", "type", "clash", "refused") == [State.FAILURE] * 5
    assert all(isinstance(item.exception, InvalidArgument) for item in items[:4])
    assert wiring.state("two").attempt == 1
    assert wiring.state("good").is_success


def test_the_workers_options_fill_in_what_the_signature_leaves_open(wiring):
    seen = []

    def fail(n: int) -> None:
        seen.append(n)
        raise RuntimeError("boom")

    wiring.registry.add("fail", fail, {"retry_count": 1, "retry_timeout": 3})
    wiring.send(Signature("fail", [1], uuid="open"), Signature("fail", [2], uuid="closed", retry_count=0))

    step(wiring.deliveries())

    assert seen == [1, 2]
    assert wiring.states("open", "closed") == [State.RETRY, State.FAILURE]
    assert wiring.broker.locate(["open"])[0].due_at == wiring.clock.now() + 5 * SECOND


def test_an_admission_that_could_not_ask_the_backend_can_be_repeated(wiring):
    wiring.registry.add("note", lambda: None, {})
    wiring.send(Signature("note", uuid="t1"))
    deliveries = wiring.deliveries()
    batch = deliveries.lease("vecna_tasks", 10)
    wiring.backend.fail_before("get_states")

    with pytest.raises(ConnectionError):
        deliveries.admit(batch)
    runnable, ended = deliveries.admit(batch)

    assert ([item.uuid for item in runnable], ended) == (["t1"], [])


def test_an_admission_that_is_repeated_passes_results_once(wiring):
    """It may have been interrupted between two callbacks of one lease."""
    members = Group(Signature("one", uuid="m1"), Signature("one", uuid="m2"), group_uuid="g")
    wiring.backend.store_plan(plan(members))
    wiring.backend.put_states(
        [TaskState(task_uuid=uuid, state=State.SUCCESS, results=(TaskResult("int", 7),)) for uuid in ("m1", "m2")]
    )
    taking = Position(takes="g")
    wiring.registry.add("sum", lambda *numbers: sum(numbers), {})
    wiring.send(*[Signature("sum", [1], uuid=uuid).evolve(position=taking) for uuid in ("first", "second")])
    deliveries = wiring.deliveries()
    batch = deliveries.lease("vecna_tasks", 10)

    deliveries.admit(batch)
    runnable, _ = deliveries.admit(batch)
    deliveries.finish(run_all(deliveries, runnable))

    assert [wiring.state(uuid).value() for uuid in ("first", "second")] == [15, 15]


def test_one_batch_asks_the_backend_once(wiring):
    wiring.registry.add("note", lambda: None, {})
    wiring.send(*[Signature("note") for _ in range(10)])

    step(wiring.deliveries())

    assert wiring.broker.calls == ["enqueue", "lease", "settle"]
    assert wiring.backend.calls == ["get_states", "put_states", "release"]
