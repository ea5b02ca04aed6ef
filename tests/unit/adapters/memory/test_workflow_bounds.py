"""What workflows leave behind in the stores when they are over: nothing."""

import datetime as dt

from vecna.adapters.clock import ManualClock
from vecna.adapters.memory import MemoryBackend, MemoryBroker
from vecna.adapters.memory.backend import Records
from vecna.adapters.memory.queue import Queues
from vecna.domain.message import Message
from vecna.domain.plan import plan
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chain, Group
from vecna.ports.plans import Report
from vecna.ports.values import Settlement

SECOND = dt.timedelta(seconds=1)


def test_holds_and_codes_leave_nothing():
    store = Queues()
    broker = MemoryBroker(ManualClock(), store)
    for number in range(300):
        broker.stage(f"h{number}", [Message(f"t{number}:{n}", "q", b"", code=f"c{number}") for n in range(3)])
        if number % 3 == 0:
            broker.cancel_code("q", f"c{number}")
        broker.unstage("q", f"h{number}", canceled=number % 3 == 1)
        lease = broker.lease("q", 9, worker="w", call=number, duration=SECOND, max_deliveries=3)
        broker.settle("q", [Settlement(item.uuid, item.token) for item in lease.deliveries])

    queue = store.queue("q")
    kinds = [queue.messages, queue.holds, queue.codes, queue.ending, queue.delayed, queue.pending[0]]
    assert list(map(len, kinds)) == [0] * 6  # type: ignore[arg-type]  # all have a length


def test_released_plans_leave_nothing():
    clock, store = ManualClock(), Records()
    backend = MemoryBackend(clock, store)
    for number in range(100):
        inner = Group(Signature("t"), Signature("t"), group_uuid=f"g{number}")
        root = f"c{number}"
        backend.store_plan(plan(Chain(Signature("t"), inner, Signature("t"), chain_uuid=root)))
        if number % 2:
            backend.commit_plan(root)
        backend.report([Report(inner.group_uuid, 0, succeeded=True), Report(root, 0, succeeded=False)])
        backend.release_plan(root, SECOND * (number % 3))
    clock.advance(10 * SECOND)
    backend.get_nodes(["x"])

    plans = store.plans
    kinds = (plans.nodes, plans.steps, plans.results, plans.every, plans.members, plans.uncommitted, plans.expiry)
    assert [len(left) for left in kinds] == [0] * 7
