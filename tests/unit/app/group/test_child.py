"""The child's end of the line."""

import datetime as dt
import os
import signal
import socket
import threading

import pytest

from tests.unit.app.worker.wiring import TestWiring
from vecna.adapters.clock import SystemClock
from vecna.app.delivery import Deliveries
from vecna.app.group import child as module
from vecna.app.group import reports
from vecna.app.group.child import Line, leave_signals_to_the_supervisor
from vecna.app.group.reports import ABORT, DRAIN, Alive, Asks, Ended, Held, Run
from vecna.domain.signature import Signature

PATIENCE = 20.0


class End:
    """The supervisor's end."""

    def __init__(self, end):
        self.end, self._reader, self._heard = end, reports.Reader(), []
        end.settimeout(PATIENCE)

    def next(self, kind):
        """The next report of a kind."""
        while True:
            for number, report in enumerate(self._heard):
                if isinstance(report, kind):
                    del self._heard[: number + 1]
                    return report
            self._heard += self._reader.feed(self.end.recv(1 << 16))


def lefts(end):
    return [run.left for hold in end.next(Alive).holds for run in hold.runs()]


@pytest.fixture
def wiring():
    return TestWiring.real(lease=3, heartbeat=0.05, hard_timeout=100)


@pytest.fixture
def ends(wiring):
    ours, theirs = socket.socketpair()
    with ours, Line(theirs, wiring) as line:
        yield line, End(ours)


def items_of(wiring, *signatures):
    wiring.registry.task(name="f")(lambda: None)
    wiring.send(*signatures)
    deliveries = wiring.deliveries()
    runnable, _ = deliveries.admit(deliveries.lease("vecna_tasks", 10))
    return deliveries, runnable


def test_orders_count_as_signals_do_and_the_end_of_the_line_is_one(ends):
    line, end = ends
    end.end.send(DRAIN)
    line.wait()
    assert (line.count, line.latest) == (1, "an order of its supervisor")
    end.end.send(ABORT)
    line.wait()
    assert line.count == 2


def test_a_supervisor_that_is_gone_lets_finish_what_runs(ends):
    line, end = ends
    end.end.close()
    line.wait()

    assert (line.count, line.latest) == (1, "the end of its supervisor")
    line.ended([])
    line.starting([])


def test_reports_say_what_is_held_and_how_long_it_may_run(ends, wiring):
    line, end = ends
    deliveries, items = items_of(wiring, Signature("f", uuid="a"), Signature("f", uuid="b", timeout=5))
    line.starting(items)
    held = end.next(Held)
    assert (held.queue, held.token) == ("vecna_tasks", items[0].hold.token)
    assert held.runs() == [Run("a", "f", 100.0), Run("b", "f", 8.0)]

    line.watch(deliveries.items)
    assert lefts(end) == [100.0, 8.0]  # neither runs yet, and each may at any moment
    items[1].started = wiring.clock.monotonic() - 20
    while (left := lefts(end)[1]) == 8.0:
        pass
    assert left is not None
    assert left <= -12
    items[1].ended, items[1].claim = True, [None]
    while lefts(end) != [100.0, None]:
        pass
    line.ended(items)
    assert end.next(Ended).uuids == ["b"]
    deliveries.let_go(items)
    while end.next(Alive).holds:
        pass
    _, others = items_of(wiring, Signature("f", uuid="c"))
    line.starting(others)
    assert end.next(Held).over == [("vecna_tasks", held.token)]


def test_a_lease_call_is_reported_before_it_is_made(ends, wiring):
    line, end = ends
    wiring.send(Signature("f", uuid="a"))
    batch = Deliveries(wiring, "w", asking=line.asking).lease("vecna_tasks", 1)

    asks = end.next(Asks)
    assert (asks.queue, asks.call) == ("vecna_tasks", 1)
    # What the supervisor makes of it.
    again = wiring.broker.lease(
        "vecna_tasks", 0, worker=asks.worker, call=asks.call, duration=dt.timedelta(1), max_deliveries=5
    )
    assert again.token == batch.items[0].hold.token


def test_a_supervisor_that_does_not_listen_holds_up_nobody_and_is_told_all_when_it_does(ends, wiring, monkeypatch):
    line, end = ends
    monkeypatch.setattr(module, "_MOST_UNSENT", 1000)
    deliveries, items = items_of(wiring, *[Signature("f", uuid=f"{number:0>36}") for number in range(10)])
    for _ in range(2000):  # more than the system keeps for who does not listen
        line.starting(items)
    assert line._behind
    line.watch(deliveries.items)

    assert len(end.next(Alive).holds[0].runs()) == 10


def test_a_report_larger_than_the_line_is_not_spread_over_heartbeats():
    """A child that holds thousands of sleeping coroutines would seem silent for minutes, and be killed for that."""
    wiring = TestWiring.real(lease=2 * PATIENCE, heartbeat=PATIENCE, hard_timeout=100)
    ours, theirs = socket.socketpair()
    with ours, Line(theirs, wiring) as line:
        _, items = items_of(wiring, Signature("f", uuid="a"))
        line.watch(lambda: items * 50_000)

        assert len(lefts(End(ours))) == 50_000


def test_signals_do_nothing_to_a_child_nor_to_what_its_tasks_start():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    came = threading.Event()
    try:
        leave_signals_to_the_supervisor()
        for number in before:
            os.kill(os.getpid(), number)
            assert signal.getsignal(number) not in (signal.SIG_IGN, signal.SIG_DFL)
        SystemClock().wait(came, 0)  # handlers run between two steps of the main thread
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
