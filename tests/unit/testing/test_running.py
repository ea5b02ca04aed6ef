"""What `run` does, and what a test sees of it."""

import traceback
from decimal import Decimal

import pytest

from tests.unit.testing.app import Order, Shop
from vecna import InvalidArgument, ResultTimeout, Signature, State, TaskFailed, current_task
from vecna.domain.workflow import Chain, Chord, Group
from vecna.testing import Harness


def test_what_was_sent_runs_when_the_test_says_so_and_not_before(shop: Shop, harness: Harness) -> None:
    result = shop.note.send("a")
    assert shop.calls == []

    assert harness.run() == 1
    assert result.get() == "noted a"
    assert shop.calls == ["a"]
    assert harness.run() == 0


def test_all_queues_are_served(shop: Shop, harness: Harness) -> None:
    shop.mail.send("ada")
    shop.note.options(queue="elsewhere").send("b")
    assert harness.run() == 2


def test_a_task_runs_in_the_thread_of_the_test_and_knows_where_it_is(shop: Shop, harness: Harness) -> None:
    import threading

    seen = []

    @shop.server.task
    def look() -> None:
        context = current_task()
        assert context is not None
        seen.append((threading.current_thread(), context.now(), context.worker))

    harness.clock.advance(5)
    look.send()
    harness.run()
    assert seen == [(threading.main_thread(), harness.clock.now(), "harness")]


def test_what_tasks_send_runs_too(shop: Shop, harness: Harness) -> None:
    @shop.server.task
    def outer(depth: int) -> None:
        if depth:
            outer.send(depth - 1)

    outer.send(5)
    assert harness.run() == 6


def test_a_limit_is_the_most_that_runs(shop: Shop, harness: Harness) -> None:
    results = [shop.note.send(str(number)) for number in range(5)]
    assert harness.run(limit=2) == 2
    assert shop.calls == ["0", "1"]
    assert results[3].cancel().canceled == (results[3].uuid,)
    assert harness.run() == 2
    assert shop.calls == ["0", "1", "2", "4"]


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
def test_a_limit_that_is_none_is_refused(harness: Harness, limit: object) -> None:
    with pytest.raises(InvalidArgument, match="limit takes an int of 1 or more"):
        harness.run(limit)  # type: ignore[arg-type]  # the mistake


def test_order_is_by_priority_then_by_age(shop: Shop, harness: Harness) -> None:
    for number, priority in enumerate([0, 0, 9, 5, 9]):
        shop.note.options(priority=priority).send(str(number))
    harness.run()
    assert shop.calls == ["2", "4", "3", "0", "1"]


def test_workflows_run_to_their_end(shop: Shop, harness: Harness) -> None:
    chord = shop.server.send_chord(Chord(Group(shop.add.s(i, i) for i in range(3)), shop.total.s()))
    chain = shop.server.send_chain(Chain(shop.add.s(1, 1), shop.add.options(immutable=True).s(5), shop.mail.s("a")))
    assert harness.run() == 7
    assert chord.get() == 6
    assert chain.links[1].get() == 7


# -- errors ------------------------------------------------------------------------------------------------------------


def test_a_final_failure_is_the_tasks_own_exception_with_its_traceback(shop: Shop, harness: Harness) -> None:
    result = shop.fail.send("boom")
    with pytest.raises(ValueError, match="boom") as raised:
        harness.run()
    assert "raise ValueError(text)" in traceback.format_exception(raised.value)[-2]
    # Between the harness and the task there is nothing of ours to read.
    files = [frame.filename for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert not any("delivery" in file for file in files)
    assert result.get_state().state is State.FAILURE


def test_after_a_failure_the_rest_is_still_there(shop: Shop, harness: Harness) -> None:
    shop.note.send("before")
    shop.fail.send("boom")
    shop.note.send("after")
    with pytest.raises(ValueError, match="boom"):
        harness.run()
    assert shop.calls == ["before", "boom"]
    assert harness.run() == 1


def test_a_failure_that_is_repeated_is_none_yet(shop: Shop, harness: Harness) -> None:
    harness.fail_next("add", OSError("away"))
    result = shop.add.send(1, 2)
    assert harness.run() == 1
    assert result.get_state().state is State.RETRY
    harness.advance(seconds=1)
    assert result.get() == 3


def test_states_can_be_looked_at_instead(shop: Shop) -> None:
    with Harness(shop.server, raise_errors=False) as harness:
        failed, fine = shop.fail.send("boom"), shop.note.send("fine")
        assert harness.run() == 2
        assert fine.get() == "noted fine"
        with pytest.raises(TaskFailed, match="ValueError: boom"):
            failed.get()


@pytest.mark.parametrize("raise_errors", [True, False])
def test_what_is_not_for_tasks_is_never_kept(shop: Shop, raise_errors: bool) -> None:
    """Ctrl-C, and pytest's own ways to end a test."""

    @shop.server.task(retry_count=3)
    def skip(how: str) -> None:
        if how == "ctrl-c":
            raise KeyboardInterrupt
        pytest.fail("seen in a task")

    for how, expected in (("ctrl-c", KeyboardInterrupt), ("fail", pytest.fail.Exception)):
        with Harness(shop.server, raise_errors=raise_errors) as harness:
            skip.send(how)
            with pytest.raises(expected):
                harness.run()


def test_arguments_that_could_not_travel_fail_as_in_production(shop: Shop, harness: Harness) -> None:
    with pytest.raises(InvalidArgument, match="object"):
        shop.note.send(object())  # type: ignore[arg-type]  # the mistake
    # And those that can are rebuilt from what has travelled, not passed through.
    order = Order(7)
    result = shop.order.send(order)
    harness.run()
    assert shop.calls == [order]
    assert shop.calls[0] is not order
    assert result.get() == order


def test_a_result_that_could_not_travel_fails_as_in_production(shop: Shop, harness: Harness) -> None:
    shop.server.register_task("bad", lambda: {Decimal(1): object()})
    shop.server.send_task(Signature("bad"))
    with pytest.raises(InvalidArgument, match="result of bad cannot travel"):
        harness.run()


def test_bad_arguments_fail_without_a_retry(shop: Shop, harness: Harness) -> None:
    shop.server.send_task(Signature("add", [1]))
    with pytest.raises(InvalidArgument, match="missing a required argument"):
        harness.run()
    assert harness.executed("add") == 0


def test_run_inside_a_task_is_refused(shop: Shop, harness: Harness) -> None:
    @shop.server.task
    def outer() -> None:
        harness.run()

    outer.send()
    with pytest.raises(RuntimeError, match=r"run\(\) was called while the harness runs task outer"):
        harness.run()


def test_a_task_that_sends_itself_for_ever_is_named(
    shop: Shop, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vecna.testing.stepping._ENDLESS", 50)

    @shop.server.task
    def again() -> None:
        again.send()

    again.send()
    with pytest.raises(RuntimeError, match=r"does a task send itself again without a delay.* again"):
        harness.run()


# -- what is not finished ----------------------------------------------------------------------------------------------


def test_get_says_at_once_what_is_waited_for(shop: Shop, harness: Harness) -> None:
    pending = shop.note.send("a")
    with pytest.raises(ResultTimeout, match=r"is PENDING, pending in queue 'vecna_tasks', and .* call run\(\)"):
        pending.get()
    delayed = shop.mail.options(delay=90).send("ada")
    with pytest.raises(
        ResultTimeout, match=r"delayed in queue 'mail' until 2026-01-01T00:01:30\+00:00 \(advance\(seconds=90\)"
    ):
        delayed.get(timeout=1000)
    harness.fail_next("add", OSError())
    retried = shop.add.send(1, 1)
    harness.run()
    with pytest.raises(ResultTimeout, match=r"is RETRY, delayed .* for its attempt 2"):
        retried.get()


def test_get_of_a_later_link_names_the_one_before(shop: Shop, harness: Harness) -> None:
    chain = shop.server.send_chain(Chain(shop.add.options(delay=60).s(1, 1), shop.add.s(2)))
    with pytest.raises(
        ResultTimeout, match=r"waiting for its turn in a workflow for task \S+ \(add\), which is delayed in"
    ):
        chain.get()
    chord = shop.server.send_chord(Chord(Group(shop.add.s(1, 1)), shop.total.s()))
    with pytest.raises(
        ResultTimeout, match=r"total.* is PENDING, waiting for its turn in a workflow for task .*pending in"
    ):
        chord.get()
    callback = shop.note.signature("x")
    shop.server.send_task(shop.add.options(delay=5).signature(1, 1).replace(on_success=[callback]))
    with pytest.raises(ResultTimeout, match=r"waiting for task \S+ \(add\), which is delayed in"):
        shop.server.result(callback.uuid).get()


async def test_await_says_it_too(shop: Shop, harness: Harness) -> None:
    result = await shop.note.send_async("a")
    with pytest.raises(ResultTimeout, match="pending in queue"):
        await result
    await harness.run_async()
    assert await result == "noted a"


def test_get_of_what_no_worker_knows_says_so(shop: Shop, harness: Harness) -> None:
    result = shop.server.send_task(Signature("elsewhere"))
    harness.run()
    with pytest.raises(ResultTimeout, match="no task of its name is registered"):
        result.get()
    harness.advance(days=365)  # looked at seldom: that takes no time


def test_get_of_what_a_dead_worker_holds_says_so(shop: Shop, harness: Harness) -> None:
    harness.crash_next("after_lease")
    result = shop.note.send("a")
    harness.run()
    with pytest.raises(
        ResultTimeout, match="held in queue 'vecna_tasks' by a worker; if that has died, until its lease"
    ):
        result.get()
