"""The loop of coroutines: whatever becomes of a task, it is told of the end of its item."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.app.doubles import logged, no_thread
from tests.unit.app.worker.wiring import TestWiring
from vecna.app.delivery import Deliveries
from vecna.app.delivery_values import CLOSING, Item
from vecna.app.worker.loop import CoroutineLoop
from vecna.domain.signature import Signature
from vecna.domain.state import State

QUEUE = "vecna_tasks"
PATIENCE = 20.0


@pytest.fixture
def wiring() -> TestWiring:
    return TestWiring.make()


class Looping:
    """A loop that is busy until the test says so, and the coroutine that begins after that."""

    def __init__(self, wiring: TestWiring, *, clears_up: bool = False) -> None:
        busy, self.go, self.told = threading.Event(), threading.Event(), threading.Event()
        self.ran: list[str] = []

        async def hog() -> None:
            busy.set()
            assert self.go.wait(PATIENCE)
            if clears_up:
                await asyncio.sleep(0)  # noqa: TID251  # takes no time; the other has a task now, and has not begun
                for task in asyncio.all_tasks() - {asyncio.current_task()}:
                    task.cancel()

        async def quick() -> None:
            self.ran.append("quick")

        wiring.registry.add("hog", hog, {})
        wiring.registry.add("quick", quick, {})
        wiring.send(Signature("hog", uuid="hog"))
        self.deliveries: Deliveries = wiring.deliveries()
        self.loop = CoroutineLoop(self.deliveries.arun, self._ended, "w1")
        self.loop.start(self._runnable())
        assert busy.wait(PATIENCE)
        wiring.send(Signature("quick", uuid="quick"))
        (self.item,) = self._runnable()
        self.loop.start([self.item])

    def _runnable(self) -> list[Item]:
        runnable, _ = self.deliveries.admit(self.deliveries.lease(QUEUE, 10))
        return runnable

    def _ended(self, items: list[Item]) -> list[Item]:
        if self.item in items:
            self.told.set()
        return []

    def end(self) -> Item:
        """Let the loop go on; the item when its end was told."""
        self.go.set()
        assert self.told.wait(PATIENCE)
        self.loop.stop(PATIENCE)
        assert self.loop._tasks == {}
        return self.item


def canceled(wiring: TestWiring, looping: Looping) -> None:
    wiring.broker.cancel(QUEUE, ["quick"])
    looping.loop.cancel(looping.deliveries.extend())


def lost(_: TestWiring, looping: Looping) -> None:
    looping.item.hold.lost = True
    looping.item.stop("lost")
    looping.loop.cancel([looping.item])


def closing(_: TestWiring, looping: Looping) -> None:
    back = looping.deliveries.give_back([looping.item])
    looping.item.stop(CLOSING)
    looping.loop.cancel(back)


@pytest.mark.parametrize(("cancel", "outcome"), [(canceled, "Canceled"), (lost, "NoneType"), (closing, "NoneType")])
def test_what_is_cancelled_before_its_first_step_does_not_run_and_comes_to_its_end(
    wiring: TestWiring, cancel: Callable[[TestWiring, Looping], Any], outcome: str
) -> None:
    looping = Looping(wiring)
    cancel(wiring, looping)

    item = looping.end()

    assert (type(item.outcome).__name__, item.started, looping.ran) == (outcome, None, [])
    if outcome == "Canceled":
        looping.deliveries.finish([item])
        assert wiring.states("quick") == [State.CANCELED]


def test_a_coroutine_that_cancels_all_tasks_does_not_keep_others_from_beginning(wiring: TestWiring) -> None:
    looping = Looping(wiring, clears_up=True)

    item = looping.end()

    assert looping.ran == ["quick"]
    looping.deliveries.finish([item])
    assert wiring.states("quick") == [State.SUCCESS]


def test_a_loop_for_which_there_was_no_thread_is_tried_again(
    wiring: TestWiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = threading.Event()

    async def run(_: Item) -> None:
        ran.set()

    async def nothing() -> None:
        pass

    wiring.registry.add("nothing", nothing, {})
    wiring.send(Signature("nothing"))
    deliveries = wiring.deliveries()
    items, _ = deliveries.admit(deliveries.lease(QUEUE, 1))
    loop = CoroutineLoop(run, lambda _: [], "w1")
    refused = no_thread(monkeypatch, "-loop")
    with logged() as lines:
        assert loop.start(items) is False
        loop.cancel(items)

        monkeypatch.setattr(asyncio, "new_event_loop", _too_many_files)
        assert loop.start(items) is False
        loop.stop(PATIENCE)

    assert (refused, len(lines.of("error"))) == (["vecna-w1-loop"], 2)
    monkeypatch.undo()
    assert loop.start(items) is True
    assert ran.wait(PATIENCE)
    loop.stop(PATIENCE)


def _too_many_files() -> Any:
    raise OSError("too many open files")
