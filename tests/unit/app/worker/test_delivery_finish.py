"""Record, settle, relay, release: in this order, and harmless wherever it breaks off."""

import datetime as dt

import pytest

from tests.unit.app.worker.wiring import TestWiring, run_all, step
from vecna.app.context import TaskContext
from vecna.app.delivery import is_own_failure
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.ports.values import Answer, Standing

QUEUE = "vecna_tasks"


@pytest.fixture
def wiring() -> TestWiring:
    wiring = TestWiring.make()
    wiring.registry.add("seven", lambda: 7, {})
    wiring.registry.add("fail", _fail, {})
    return wiring


def _fail():
    raise RuntimeError("boom")


def leased(wiring, worker="w1", queue=QUEUE):
    """Deliveries with what they have run but not finished."""
    deliveries = wiring.deliveries(worker)
    runnable, ended = deliveries.admit(deliveries.lease(queue, 10))
    return deliveries, [*run_all(deliveries, runnable), *ended]


def pending(wiring, queue=QUEUE):
    return [signature.uuid for signature in wiring.broker.get_pending_tasks(queue)]


def run_out(wiring, queue=QUEUE):
    """Let all leases of a queue run out, without it passing for an outage."""
    for _ in range(4):
        wiring.clock.advance(10)
        wiring.deliveries("keeper").lease(queue, 0)


# -- lost calls --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["fail_before", "fail_after"])
@pytest.mark.parametrize(
    ("port", "method"),
    [("backend", "put_states"), ("broker", "settle"), ("broker", "relay"), ("backend", "release")],
)
def test_finish_repeated_after_a_lost_call_has_no_second_effect(wiring, port, fault, method):
    wiring.send(
        Signature(
            "seven", uuid="t1", on_success=[Signature("next", uuid="near"), Signature("next", uuid="far", queue="q2")]
        ),
        Signature("fail", uuid="t2", retry_count=1),
        Signature("unknown", uuid="t3"),
    )
    deliveries, items = leased(wiring)
    getattr(getattr(wiring, port), fault)(method)

    with pytest.raises(BrokerUnavailable):
        deliveries.finish(items)
    if method in ("put_states", "settle"):
        assert deliveries.held == 3
    else:
        assert deliveries.owes
    deliveries.finish(items)

    assert (deliveries.held, deliveries.owes) == (0, False)
    assert wiring.states("t1", "t2") == [State.SUCCESS, State.RETRY]
    assert (pending(wiring), pending(wiring, "q2")) == (["near"], ["far"])
    places = wiring.broker.locate(["t1", "t2", "t3"])
    assert [place and place.standing for place in places] == [None, Standing.DELAYED, Standing.DELAYED]
    assert [places[1].attempts.retries, places[2].attempts.parks] == [1, 1]
    wiring.clock.advance(3600)
    assert wiring.backend.get_state("t1") is None  # released


def test_a_batch_over_several_queues_can_break_off_between_them(wiring):
    wiring.send(Signature("seven", uuid="a", queue="qa"), Signature("seven", uuid="b", queue="qb"))
    deliveries = wiring.deliveries()
    items = []
    for queue in ("qa", "qb"):
        runnable, _ = deliveries.admit(deliveries.lease(queue, 1))
        items += run_all(deliveries, runnable)
    settle, calls = wiring.broker._port.settle, []

    def once(queue, settlements):
        calls.append(queue)
        if calls == ["qa", "qb"]:
            raise BrokerUnavailable("between")
        return settle(queue, settlements)

    wiring.broker._port.settle = once
    with pytest.raises(BrokerUnavailable):
        deliveries.finish(items)
    assert deliveries.held == 1
    deliveries.finish(items)

    assert calls == ["qa", "qb", "qb"]
    assert [item.answer for item in items] == [Answer.OK, Answer.OK]


# -- crashes: the next step is simply not called -----------------------------------------------------------------------


def test_a_crash_before_the_record_runs_it_again(wiring):
    wiring.send(Signature("seven", uuid="t1"))
    leased(wiring)
    run_out(wiring)

    (item,) = step(wiring.deliveries("w2"))

    assert (item.delivery.crashes, item.started is not None) == (1, True)
    assert wiring.state("t1").worker == "w2"


def test_a_crash_between_record_and_settle_of_a_retry_runs_the_same_attempt_again(wiring):
    wiring.send(Signature("fail", uuid="t1", retry_count=1))
    deliveries, items = leased(wiring)
    wiring.broker.fail_before("settle")
    with pytest.raises(BrokerUnavailable):
        deliveries.finish(items)
    assert wiring.state("t1").state is State.RETRY
    run_out(wiring)

    step(wiring.deliveries("w2"))

    assert wiring.state("t1").state is State.RETRY
    (place,) = wiring.broker.locate(["t1"])
    assert (place.attempts.retries, place.attempts.repeats) == (1, 1)


def test_a_crash_between_settle_and_relay_delays_the_follow_up_until_anyone_relays(wiring):
    wiring.send(Signature("seven", uuid="t1", on_success=[Signature("next", uuid="far", queue="q2")]))
    deliveries, items = leased(wiring)
    wiring.broker.fail_before("relay")
    with pytest.raises(BrokerUnavailable):
        deliveries.finish(items)
    assert pending(wiring, "q2") == []

    assert wiring.broker.relay(QUEUE) == 0

    assert pending(wiring, "q2") == ["far"]


# -- retries, follow-ups, release --------------------------------------------------------------------------------------


def test_a_final_failure_passes_its_error_before_the_callbacks_own_arguments(wiring):
    wiring.send(Signature("fail", uuid="t1", on_error=[Signature("tell", ["own"], uuid="t2")]))

    (item,) = step(wiring.deliveries())

    (told,) = wiring.broker.get_pending_tasks(QUEUE)
    assert [arg.value for arg in told.args] == ["RuntimeError: boom", "own"]
    assert is_own_failure(item)
    assert isinstance(item.exception, RuntimeError)


def test_a_follow_up_gets_the_options_of_its_registration_here(wiring):
    wiring.registry.add("next", lambda n: None, {"queue": "next-queue", "priority": 4})
    wiring.send(
        Signature("seven", on_success=[Signature("next", uuid="open"), Signature("next", uuid="set", queue="q3")])
    )

    step(wiring.deliveries())

    assert (pending(wiring, "next-queue"), pending(wiring, "q3")) == (["open"], ["set"])


def test_a_follow_up_that_cannot_be_sent_ends_as_failure_and_stops_nothing(wiring):
    wiring = TestWiring.make(max_message_size=1024 * 1024)
    wiring.registry.add("large", lambda: "x" * 600_000, {})
    callbacks = [Signature("next", ["y" * 500_000], uuid="too-large"), Signature("next", uuid="fits")]
    wiring.registry.add("small", lambda: 1, {})
    # As it comes from another program: what is sent here would be refused.
    wiring.send(Signature("large", uuid="t1", on_success=callbacks), Signature("small", uuid="t2"))

    step(wiring.deliveries())

    assert sorted(pending(wiring)) == ["fits", "too-large"]  # whoever gets that finds its end
    assert wiring.states("t1", "t2", "too-large") == [State.SUCCESS, State.SUCCESS, State.FAILURE]
    assert "t1" in wiring.state("too-large").error
    step(wiring.deliveries())
    assert "too-large" not in pending(wiring)
    wiring.clock.advance(3600)
    assert wiring.backend.get_state("too-large") is None


def test_an_end_is_kept_as_long_as_configured_counted_from_its_settlement(wiring):
    wiring.send(Signature("seven", uuid="t1"), Signature("seven", uuid="t2", keep_result=False))

    step(wiring.deliveries())

    assert wiring.backend.get_state("t2") is None
    wiring.clock.advance(3599)
    assert wiring.state("t1").is_success
    wiring.clock.advance(1)
    assert wiring.backend.get_state("t1") is None


def test_what_will_be_retried_is_not_released(wiring):
    wiring.send(Signature("fail", uuid="t1", retry_count=1, retry_timeout=100_000))

    step(wiring.deliveries())
    wiring.clock.advance(50_000)

    assert wiring.state("t1").state is State.RETRY


# -- cancelled while it ran --------------------------------------------------------------------------------------------


def test_a_task_cancelled_while_it_ran_succeeds_but_causes_nothing(wiring):
    wiring.send(
        Signature("seven", uuid="t1", on_success=[Signature("next", uuid="t2", on_success=[Signature("n", uuid="t3")])])
    )
    deliveries, items = leased(wiring)
    wiring.broker.cancel(QUEUE, ["t1"])  # this worker does not know yet

    deliveries.finish(items)

    assert wiring.state("t1").is_success
    assert pending(wiring) == []
    assert wiring.states("t2", "t3") == [State.CANCELED] * 2
    assert (items[0].answer, deliveries.held) == (Answer.OK, 0)


def test_a_crash_between_the_record_and_the_settlement_of_a_cancelled_task_comes_to_the_same(wiring):
    wiring.send(Signature("seven", uuid="t1", on_success=[Signature("next", uuid="t2")]))
    deliveries, items = leased(wiring)
    wiring.broker.cancel(QUEUE, ["t1"])
    wiring.broker.fail_before("settle")
    with pytest.raises(BrokerUnavailable):
        deliveries.finish(items)
    run_out(wiring)

    step(wiring.deliveries("w2"))

    assert wiring.states("t1", "t2") == [State.SUCCESS, State.CANCELED]
    assert (pending(wiring), wiring.broker.locate(["t1"])) == ([], [None])


def test_a_failure_is_not_retried_after_a_cancel(wiring):
    wiring.send(Signature("fail", uuid="t1", retry_count=5))
    deliveries, items = leased(wiring)
    wiring.broker.cancel(QUEUE, ["t1"])
    assert deliveries.extend() == items  # the heartbeat brings the news

    deliveries.finish(items)

    assert wiring.state("t1").is_canceled
    assert wiring.broker.locate(["t1"]) == [None]


def test_a_retry_of_a_task_cancelled_meanwhile_ends_as_canceled_at_its_next_lease(wiring):
    wiring.send(Signature("fail", uuid="t1", retry_count=5))
    deliveries, items = leased(wiring)
    wiring.broker.cancel(QUEUE, ["t1"])

    deliveries.finish(items)
    step(wiring.deliveries("w2"))

    assert wiring.state("t1").is_canceled
    assert wiring.broker.locate(["t1"]) == [None]


def test_what_is_cancelled_between_lease_and_start_does_not_start(wiring):
    ran = []
    wiring.registry.add("note", lambda: ran.append(1), {})
    wiring.send(Signature("note", uuid="t1"))
    deliveries = wiring.deliveries()
    runnable, _ = deliveries.admit(deliveries.lease(QUEUE, 1))
    wiring.broker.cancel(QUEUE, ["t1"])
    deliveries.extend()

    deliveries.finish(run_all(deliveries, runnable))

    assert (ran, wiring.state("t1").state) == ([], State.CANCELED)


def test_the_heartbeat_tells_a_running_task_once(wiring):
    wiring.registry.add("note", lambda: None, {})
    wiring.send(Signature("note", uuid="t1"), Signature("note", uuid="t2"))
    deliveries = wiring.deliveries()
    runnable, _ = deliveries.admit(deliveries.lease(QUEUE, 2))
    contexts: list[TaskContext] = []
    runnable[0].task.fn = lambda: contexts.append(runnable[0].context)
    deliveries.run(runnable[0])
    wiring.broker.cancel(QUEUE, ["t1"])

    assert deliveries.extend() == [runnable[0]]
    assert deliveries.extend() == []
    assert contexts[0].canceled
    assert not runnable[1].canceled


# -- lost leases -------------------------------------------------------------------------------------------------------


def test_the_outcome_of_a_lost_lease_is_discarded_with_one_log_line(wiring, caplog):
    wiring.send(Signature("seven", uuid="t1", on_success=[Signature("next", uuid="t2")]))
    deliveries, items = leased(wiring, "slow")
    run_out(wiring)
    other, others = leased(wiring, "fast")

    deliveries.finish(items)

    assert wiring.backend.get_state("t1") is None
    assert (items[0].answer, deliveries.held) == (Answer.LOST, 0)
    assert [record.message for record in caplog.records if "has lost the lease" in record.message].__len__() == 1
    assert "seven t1" in caplog.text
    other.finish(others)
    assert wiring.state("t1").worker == "fast"
    assert pending(wiring) == ["t2"]


def test_a_lease_lost_to_a_worker_that_has_settled_changes_nothing_any_more(wiring):
    wiring.send(Signature("fail", uuid="t1", retry_count=1, retry_timeout=100))
    deliveries, items = leased(wiring, "slow")
    run_out(wiring)
    step(wiring.deliveries("fast"))
    items[0].hold.trusted_until = float("inf")  # as if it had no reason to doubt

    deliveries.finish(items)

    assert wiring.state("t1").worker == "fast"
    (place,) = wiring.broker.locate(["t1"])
    assert (place.attempts.retries, items[0].answer) == (1, Answer.LOST)


def test_a_late_settlement_that_nobody_has_warned_of_is_refused_and_the_first_end_stands(wiring):
    wiring.registry.add("who", lambda: len(calls), {})
    calls: list[int] = []
    wiring.send(Signature("who", uuid="t1"))
    deliveries, items = leased(wiring, "slow")
    run_out(wiring)
    calls.append(1)
    other, others = leased(wiring, "fast")
    items[0].hold.trusted_until = float("inf")

    deliveries.finish(items)  # recorded first, settled too late
    other.finish(others)

    assert (items[0].answer, others[0].answer) == (Answer.LOST, Answer.OK)
    assert wiring.state("t1").value() == 0
    assert wiring.broker.locate(["t1"]) == [None]


def test_a_heartbeat_after_the_lease_tells_the_runs_and_drops_them_from_the_next(wiring):
    wiring.send(Signature("seven", uuid="t1"))
    deliveries = wiring.deliveries("slow")
    runnable, _ = deliveries.admit(deliveries.lease(QUEUE, 1))
    run_out(wiring)
    leased(wiring, "fast")

    assert deliveries.extend() == runnable
    assert "lease was lost" in runnable[0].stopping
    calls = len(wiring.broker.calls)
    assert deliveries.extend() == []
    assert len(wiring.broker.calls) == calls
    assert deliveries.run(runnable[0]) is False


def test_heartbeats_keep_a_long_run_alive(wiring):
    wiring.send(Signature("seven", uuid="t1"))
    deliveries, items = leased(wiring, "slow")
    for _ in range(30):
        wiring.clock.advance(10)
        deliveries.extend()
        assert step(wiring.deliveries("idle")) == []

    deliveries.finish(items)

    assert (items[0].answer, wiring.state("t1").worker) == (Answer.OK, "slow")


def test_a_queue_out_of_reach_keeps_no_other_from_its_heartbeat(wiring, monkeypatch):
    """Its node is down, or its keys are damaged; the tasks of the others must not run twice for that."""
    wiring.send(Signature("seven", uuid="t1", queue="bad"), Signature("seven", uuid="t2"))
    deliveries = wiring.deliveries()
    for queue in ("bad", QUEUE):
        deliveries.admit(deliveries.lease(queue, 1))
    extend = wiring.broker.extend
    extended = []

    def out_of_reach(queue, *args):
        if queue == "bad":
            raise BrokerUnavailable("its node is down", ())
        extended.append(queue)
        return extend(queue, *args)

    monkeypatch.setattr(wiring.broker, "extend", out_of_reach)

    assert deliveries.extend() == []
    assert extended == [QUEUE]

    monkeypatch.setattr(wiring.broker, "extend", lambda *_: out_of_reach("bad"))
    with pytest.raises(BrokerUnavailable):
        deliveries.extend()


# -- giving back, notes ------------------------------------------------------------------------------------------------


def test_what_is_given_back_stands_at_the_head_in_its_order_and_uncounted(wiring):
    wiring.send(*[Signature("seven", uuid=f"t{number}") for number in range(4)])
    deliveries = wiring.deliveries()
    runnable, _ = deliveries.admit(deliveries.lease(QUEUE, 3))
    deliveries.run(runnable[0])

    back = deliveries.give_back(runnable)
    deliveries.finish([*back, runnable[0]])

    assert [item.uuid for item in back] == ["t1", "t2"]
    assert pending(wiring) == ["t1", "t2", "t3"]
    assert wiring.state("t0").is_success
    again = wiring.deliveries("w2").lease(QUEUE, 3)
    assert [(item.delivery.crashes, item.attempt) for item in again.items] == [(0, 1)] * 3


def test_notes_tell_what_has_not_ended_and_never_undo_an_end(wiring):
    wiring.send(Signature("seven", uuid="t1"), Signature("seven", uuid="t2"))
    deliveries = wiring.deliveries()
    runnable, _ = deliveries.admit(deliveries.lease(QUEUE, 2))
    runnable[0].started = wiring.clock.monotonic()
    runnable[0].started_at = wiring.clock.now()

    notes = deliveries.notes(runnable)
    deliveries.finish([], notes)

    assert wiring.states("t1", "t2") == [State.STARTED, State.RECEIVED]
    assert wiring.state("t1").started_at == wiring.clock.now()
    runnable[0].started = None
    run_all(deliveries, runnable)
    assert deliveries.notes(runnable) == []
    deliveries.finish(runnable)
    deliveries.finish([], notes)
    assert wiring.states("t1", "t2") == [State.SUCCESS] * 2


def test_a_batch_is_recorded_settled_and_released_in_one_call_each(wiring):
    wiring.send(*[Signature("seven") for _ in range(6)], *[Signature("fail") for _ in range(4)])
    deliveries, items = leased(wiring)
    wiring.broker.calls.clear()
    wiring.backend.calls.clear()

    deliveries.finish(items)

    assert wiring.broker.calls == ["settle"]
    assert wiring.backend.calls == ["put_states", "release"]


def test_a_lease_that_ran_into_an_outage_is_repeated_with_its_own_count(wiring):
    wiring.send(*[Signature("seven", uuid=f"t{number}") for number in range(3)])
    deliveries = wiring.deliveries()
    wiring.broker.fail_after("lease")
    with pytest.raises(BrokerUnavailable):
        deliveries.lease(QUEUE, 2)

    batch = deliveries.lease(QUEUE, 1)

    assert [item.uuid for item in batch.items] == ["t0", "t1"]
    assert [item.uuid for item in deliveries.lease(QUEUE, 5).items] == ["t2"]


def test_the_next_due_moment_is_told_by_the_monotonic_clock(wiring):
    wiring.send(Signature("seven", delay=12), Signature("seven", delay=5))
    wiring.clock.advance(3)

    batch = wiring.deliveries().lease(QUEUE, 5)

    assert batch.next_due == pytest.approx(wiring.clock.monotonic() + 2)
    assert dt.timedelta(seconds=batch.next_due - wiring.clock.monotonic()) > dt.timedelta(0)


@pytest.mark.parametrize(("took", "late"), [(0.0004, 0.0002), (8, 0.001)])
def test_the_next_due_moment_counts_from_the_middle_of_the_call_but_a_late_reply_makes_it_no_later(
    wiring, monkeypatch, took, late
):
    wiring.send(Signature("seven", delay=5))
    lease, asked = wiring.broker.lease, wiring.clock.monotonic()

    def slow(*args, **options):
        got = lease(*args, **options)
        wiring.clock.advance(took)
        return got

    monkeypatch.setattr(wiring.broker, "lease", slow)
    batch = wiring.deliveries().lease(QUEUE, 5)

    assert batch.next_due - asked == pytest.approx(5 + late, abs=1e-6)
