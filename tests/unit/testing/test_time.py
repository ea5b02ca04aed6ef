"""The clock moves when the test says so, and through every due moment on the way."""

import datetime as dt
import sys
import threading
import time

import pytest

from tests.unit.testing.app import START, Shop
from vecna import Config, InvalidArgument, Server, State, TaskContext, TaskTimeout, UnknownTask
from vecna.domain.errors import ConfigError
from vecna.domain.workflow import Chord, Group
from vecna.testing import Harness
from vecna.testing.moving import _MODULES


def test_the_clock_stands_still_until_it_is_moved(harness: Harness) -> None:
    assert harness.clock.now() == START
    harness.run()
    assert harness.clock.now() == START
    harness.advance(hours=1, minutes=1)
    assert harness.clock.now() == START + dt.timedelta(minutes=61)


def test_it_may_start_elsewhere(shop: Shop) -> None:
    now = dt.datetime(2030, 5, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    with Harness(shop.server, now) as harness:
        assert harness.clock.now() == now
    with pytest.raises(InvalidArgument, match="now"):
        Harness(shop.server, dt.datetime(2030, 5, 1))  # noqa: DTZ001  # the mistake


def test_what_is_delayed_runs_when_it_is_due_and_at_that_time(shop: Shop, harness: Harness) -> None:
    seen = []

    @shop.server.task
    def look(ctx: TaskContext) -> None:
        seen.append((ctx.now() - START).total_seconds())

    for seconds in (10, 3, 7):
        look.options(delay=seconds).send()
    assert harness.run() == 0
    assert harness.advance(seconds=8) == 2
    assert seen == [3, 7]
    assert harness.advance(seconds=2) == 1
    assert seen == [3, 7, 10]


def test_a_task_that_is_sent_on_the_way_is_due_on_the_way(shop: Shop, harness: Harness) -> None:
    seen = []

    @shop.server.task
    def again(ctx: TaskContext) -> None:
        seen.append(ctx.now())
        again.options(delay=60).send()

    again.send()
    harness.advance(minutes=5)
    assert seen == [START + dt.timedelta(minutes=minute) for minute in range(6)]


def test_retries_come_after_their_waits(shop: Shop, harness: Harness) -> None:
    harness.fail_next("add", OSError("away"), times=3)
    result = shop.add.send(1, 2)
    assert harness.run() == 1
    assert harness.advance(seconds=1) == 1  # Fibonacci: 1, 2
    assert harness.advance(seconds=1) == 0
    with pytest.raises(OSError, match="away"):
        harness.advance(seconds=10)
    assert harness.clock.now() == START + dt.timedelta(seconds=3)  # where it happened
    assert harness.executed("add") == 3
    assert result.get_state().state is State.FAILURE


def test_a_task_that_asks_for_later_comes_later(shop: Shop, harness: Harness) -> None:
    result = shop.later.send(2)
    harness.advance(seconds=119)
    assert result.touch() is None
    harness.advance(seconds=1)
    assert result.get() == 3


def test_what_expires_before_it_starts_is_cancelled(shop: Shop, harness: Harness) -> None:
    result = shop.note.options(expires=5, delay=10).send("a")
    harness.advance(seconds=20)
    assert result.get_state().state is State.CANCELED
    assert shop.calls == []


def test_results_expire(shop: Shop, harness: Harness) -> None:
    result = shop.note.send("a")
    harness.run()
    harness.advance(minutes=59)
    assert result.get() == "noted a"
    harness.advance(minutes=1)
    with pytest.raises(UnknownTask, match="expired"):
        result.get()


def test_results_of_a_failed_workflow_expire_too(shop: Shop) -> None:
    """That is left to sweeps, which happen on the way."""
    with Harness(shop.server, raise_errors=False) as harness:
        chord = shop.server.send_chord(
            Chord(Group(shop.fail.s("x"), shop.add.options(delay=600).s(1, 1)), shop.total.s())
        )
        harness.advance(minutes=20)
        states = [leaf.get_state().state for leaf in chord.leaves()]
        assert states == [State.FAILURE, State.SUCCESS, State.FAILURE]
        harness.advance(hours=3)
        for leaf in chord.leaves():
            with pytest.raises(UnknownTask):
                leaf.get_state()
        assert shop.server.backend.get_nodes([chord.group.uuid]) == [None]


# -- schedules ---------------------------------------------------------------------------------------------------------


def test_schedules_fire_on_the_way(shop: Shop, harness: Harness) -> None:
    seen = []

    @shop.server.periodic("0 6 * * mon", code="report", timezone="Europe/Berlin")
    def report(ctx: TaskContext) -> None:
        seen.append(ctx.now())

    harness.advance(days=30)
    assert [moment.isoformat() for moment in seen] == [f"2026-01-{day:02}T05:00:00+00:00" for day in (5, 12, 19, 26)]
    assert harness.executed("report") == 4
    assert shop.server.get_schedule("report").next_fire_at == dt.datetime(2026, 2, 2, 5, tzinfo=dt.UTC)


def test_a_periodic_chord_runs_each_time(shop: Shop, harness: Harness) -> None:
    chord = Chord(Group(shop.add.s(1, 1), shop.add.s(2, 2)), shop.total.s())
    shop.server.send_periodic_chord("@daily", chord, code="sums")
    harness.advance(days=3)
    assert [call for call in shop.calls if call == (2, 4)] == [(2, 4)] * 3
    assert shop.server.cancel_periodic_task("sums").schedules == ("sums",)
    assert harness.advance(days=3) == 0


def test_servers_without_schedules_fire_none() -> None:
    shop = Shop(schedules=False)
    with Harness(shop.server) as harness:
        shop.note.every("@daily").send("a")
        assert harness.advance(days=3) == 0


def test_a_year_takes_no_time(shop: Shop, harness: Harness) -> None:
    shop.note.every("0 6 * * *").send("daily")
    shop.note.options(delay=dt.timedelta(days=364)).send("late")
    begin = time.process_time()  # what it costs is the point
    assert harness.advance(days=365) == 366
    assert time.process_time() - begin < 1.0


# -- moving it ---------------------------------------------------------------------------------------------------------


def test_the_clock_can_be_moved_without_running_anything(shop: Shop, harness: Harness) -> None:
    shop.note.options(delay=10).send("a")
    harness.clock.advance(60)
    assert shop.calls == []
    assert harness.run() == 1


def test_backwards_and_beyond_all_time_are_refused(harness: Harness) -> None:
    with pytest.raises(InvalidArgument, match="forward only"):
        harness.advance(days=-1)
    with pytest.raises(InvalidArgument, match="beyond the year 9999: it is 2026-01-01"):
        harness.advance(days=10_000_000)
    assert harness.clock.now() == START


# -- time limits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [4, 5, 400])
def test_a_function_that_moves_the_clock_past_its_timeout_has_timed_out(
    shop: Shop, harness: Harness, seconds: float
) -> None:
    told = []

    @shop.server.task(timeout=5)
    def work(ctx: TaskContext) -> str:
        harness.clock.advance(seconds)
        told.append(ctx.canceled)
        return "done"

    result = work.send()
    if seconds < 5:
        harness.run()
        assert result.get() == "done"
    else:
        with pytest.raises(TaskTimeout, match=r"work ran longer than its timeout of 5 s"):
            harness.run()
        assert result.get_state().error_type.endswith("TaskTimeout")
    assert told == [seconds >= 5]


def test_a_long_run_keeps_its_lease(shop: Shop, harness: Harness) -> None:
    """The heart beats whenever the clock moves."""

    @shop.server.task
    def work(ctx: TaskContext) -> int:
        for _ in range(10):
            harness.clock.advance(600)
        return ctx.delivery

    result = work.send()
    assert harness.run() == 1
    assert result.get() == 1
    assert harness.advance(hours=1) == 0


def test_a_run_is_told_of_its_cancel(shop: Shop, harness: Harness) -> None:
    @shop.server.task
    def work(ctx: TaskContext) -> None:
        assert shop.server.cancel_delayed_task(ctx.signature.uuid).running == (ctx.signature.uuid,)
        ctx.raise_if_canceled()
        raise AssertionError("it was not told")

    result = work.send()
    harness.run()
    assert result.get_state().state is State.CANCELED


# -- taking the rest of the process along ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["time-machine", "freezegun"])
def test_the_time_of_the_process_goes_along_if_wanted(shop: Shop, how: str) -> None:
    seen: list[dt.datetime] = []

    @shop.server.task
    def look() -> None:
        seen.append(dt.datetime.now(dt.UTC))  # noqa: TID251  # as users do

    @shop.server.task
    async def alook() -> None:
        import asyncio

        await asyncio.sleep(3600)  # noqa: TID251  # as users do
        seen.append(dt.datetime.now(dt.UTC))  # noqa: TID251  # as users do

    with Harness(shop.server, travel=how) as harness:
        look.options(delay=60).send()
        harness.advance(days=1)
        look.send()
        harness.run()
        alook.send()
        harness.run()
        day = dt.timedelta(days=1)
        assert seen == [START + dt.timedelta(minutes=1), START + day, START + day + dt.timedelta(hours=1)]
    assert dt.datetime.now(dt.UTC) - seen[-1] > dt.timedelta(minutes=1)  # noqa: TID251  # back again


def test_travel_without_a_library_says_what_to_install(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_MODULES, "time-machine", "no_such_module")
    with pytest.raises(
        ConfigError, match="travel needs time-machine, which is not installed: pip install time-machine"
    ):
        Harness(shop.server, travel="time-machine")
    with pytest.raises(ConfigError, match="travel takes True, False or one of"):
        Harness(shop.server, travel="delorean")
    with Harness(shop.server, travel=True):  # the other one
        assert "freezegun" in sys.modules


def test_without_travel_the_process_keeps_its_time(shop: Shop, harness: Harness) -> None:
    harness.advance(days=1000)
    assert dt.datetime.now(dt.UTC) < harness.clock.now()  # noqa: TID251  # as users do


def test_nobody_sleeps(shop: Shop) -> None:
    """Threads are not needed either, but for coroutines in an async test."""
    before = threading.active_count()
    with Harness(Server(Config(broker="redis://nowhere.invalid:1/0"))) as harness:
        harness.advance(days=1)
        assert threading.active_count() == before
