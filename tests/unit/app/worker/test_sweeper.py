"""One sweep of a worker: what one part of it cannot do keeps it from no other."""

import datetime as dt
from random import Random
from typing import Any

import pytest

from tests.unit.app.worker.wiring import TestWiring
from vecna.app.delivery_values import Item
from vecna.app.worker.outage import Outage
from vecna.app.worker.sweeper import Sweeper
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.signature import Signature
from vecna.domain.state import State

QUEUE = "vecna_tasks"
LEASE = dt.timedelta(seconds=30)


class Scene:
    """A sweeper on memory, and what it has told the error handler of."""

    def __init__(self, *queues: str, **settings: Any) -> None:
        self.wiring = TestWiring.make(**settings)
        self.told: list[Item] = []
        outage = Outage("w", self.wiring.clock, Random(1), lambda _: None)
        self.sweeper = Sweeper(self.wiring, "w", queues, outage, self.told.extend)

    def break_off(self, port: Any, method: str, when: Any = lambda *_: True, error: Exception | None = None) -> None:
        """Have calls of a port raise."""
        act = getattr(port._port, method)

        def broken(*args: Any, **kwargs: Any) -> Any:
            if when(*args):
                raise error or BrokerUnavailable("away")
            return act(*args, **kwargs)

        setattr(port._port, method, broken)

    def calls(self) -> set[str]:
        return {*self.wiring.broker.calls, *self.wiring.backend.calls}


@pytest.mark.parametrize(
    ("port", "method", "skipped"),
    [
        ("broker", "relay", set()),
        ("broker", "queues", {"lease", "staged"}),
        ("broker", "lease", set()),
        ("backend", "unreleased", set()),
        ("backend", "waiting_callbacks", set()),
        ("backend", "uncommitted", set()),
    ],
)
@pytest.mark.parametrize("error", [BrokerUnavailable("away"), ValueError("an adapter's fault")])
def test_a_part_that_fails_keeps_no_other_from_its_turn(port, method, skipped, error):
    scene = Scene("a", QUEUE)
    scene.wiring.send(Signature("f", uuid="f"))
    scene.break_off(getattr(scene.wiring, port), method, error=error)

    with pytest.raises(type(error)):
        scene.sweeper.sweep()

    every = {"relay", "queues", "lease", "unreleased", "waiting_callbacks", "uncommitted", "staged"}
    assert every - scene.calls() == skipped
    assert scene.wiring.broker.calls.count("relay") == 2


def test_a_queue_out_of_reach_keeps_what_was_staged_in_others_from_nothing():
    scene = Scene("a", "b")
    scene.wiring.send(Signature("f", uuid="a", queue="a"), Signature("f", uuid="b", queue="b"))
    asked: list[str] = []

    def is_away(queue: str, *_: object) -> bool:
        asked.append(queue)
        return queue == "a"

    scene.break_off(scene.wiring.broker, "staged", is_away)

    with pytest.raises(BrokerUnavailable):
        scene.sweeper.sweep()

    assert asked == ["a", "b"]


def test_after_a_stop_nothing_more_is_begun():
    scene = Scene("a", "b")
    scene.break_off(scene.wiring.broker, "relay", lambda *_: scene.sweeper.stop())
    scene.sweeper.sweep()

    assert scene.wiring.broker.calls == ["relay"]


@pytest.mark.parametrize(("port", "method", "told"), [("backend", "release", ["f"]), ("broker", "settle", [])])
def test_what_it_has_ended_is_told_once_though_it_fails_after_that(port, method, told):
    scene = Scene(max_deliveries=1)
    scene.wiring.registry.add("f", lambda: None, {})
    scene.wiring.send(Signature("f", uuid="f"))
    lease = scene.wiring.broker.lease(QUEUE, 1, worker="x", call=1, duration=LEASE, max_deliveries=1)
    scene.wiring.broker.forfeit(QUEUE, [lease.token], max_deliveries=1)
    getattr(scene.wiring, port).fail_before(method)

    with pytest.raises(BrokerUnavailable):
        scene.sweeper.sweep()
    assert [item.uuid for item in scene.told] == told

    for _ in range(3):  # in steps: an idle queue passes for an outage
        scene.wiring.clock.advance(15)
        scene.sweeper.sweep()
    assert [item.uuid for item in scene.told] == ["f"]
    assert scene.wiring.state("f").state is State.FAILURE
