"""A worker process dies at every single step between lease and last follow-up; another one completes the work.

The steps are all calls of the port methods on that way: the first of each, the second, and so on, until a run comes to
its end without having reached the chosen one. So none can be forgotten.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.crash_app import STEPS, register
from tests.servers import RedisServer
from vecna import Chain, Chord, Config, Group, Server, Signature, State, TaskFailed

ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds
#: Short, since what the dead worker held is there again after it; heartbeats come often enough for a busy machine.
LEASE, HEARTBEAT = 1.5, 0.3
#: More calls of one method than any run makes.
MOST = 60
AT_ONCE = 8


def _step(name: str, queue: str = "one") -> Signature:
    return Signature("step", [name], queue=queue)


class Run:
    """One run of the scenario: a chain with a nested group over two queues, callbacks, and a chord that fails."""

    def __init__(self, url: str, namespace: str) -> None:
        self.url = url
        self.namespace = namespace
        self.config = Config(broker=url, namespace=namespace, lease=LEASE, heartbeat=HEARTBEAT)
        self.server = Server(self.config)
        register(self.server, self._ran)
        self.local: list[str] = []
        told = Signature("note", ["told"], queue="two")
        last = _step("last", "two").replace(on_success=[_step("after")])
        self.chain = self.server.send_chain(
            Chain(_step("first"), Group(_step("left", "two"), Chain(_step("right"), _step("farther", "two"))), last)
        )
        # The one that fails is first in its queue, so that the other always reports to a group that has failed.
        self.chord = self.server.send_chord(
            Chord(
                Group(Signature("boom", ["boom"], queue="one"), _step("member")),
                _step("never").replace(on_error=[told]),
            )
        )
        callbacks = [last.on_success[0].uuid, told.uuid]
        self.awaited = [self.chain.uuid, self.chord.uuid, self.chord.group[1].uuid, *callbacks]

    def _ran(self, name: str) -> None:
        self.local.append(name)

    def crash(self, method: str, nth: int) -> bool:
        """Run the worker that dies; whether it came that far."""
        names = {"broker": self.url, "namespace": self.namespace, "lease": LEASE, "heartbeat": HEARTBEAT}
        environment = {f"VECNA_{name.upper()}": str(value) for name, value in names.items()}
        more = {"CRASH_METHOD": method, "CRASH_NTH": str(nth), "AWAIT": ",".join(self.awaited)}
        run = subprocess.run(
            [sys.executable, "-m", "tests.faults.crash_app"],
            cwd=ROOT,
            env={**os.environ, **environment, **more},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        last = run.stdout.splitlines()[-1] if run.stdout else ""
        assert last in {"done", f"died at {method}"}, (run.stdout, run.stderr)
        return last != "done"

    def complete(self, before: list[str]) -> None:
        """Let another worker finish, and see that everything happened, and nothing twice."""
        leaves = [*self.chain.leaves(), *self.chord.leaves()]
        recorded = {
            leaf.signature.args[0].value
            for leaf in leaves
            if leaf.signature and (state := self.server.backend.get_state(leaf.uuid)) and state.is_completed
        }
        worker = self.server.new_worker("rescuer", 1, queues=["one", "two"])
        worker.set_error_handler(lambda *_: None)
        with worker:
            for uuid in self.awaited:
                if uuid != self.chord.uuid:
                    self.server.result(uuid).get(timeout=PATIENCE)
                    continue
                with pytest.raises(TaskFailed, match="boom"):
                    self.server.result(uuid).get(timeout=PATIENCE)
        # 1; left: 2, right: 2, farther: 3; last: 2 + 3 + 1
        assert self.chain.get(timeout=PATIENCE) == 6
        assert self.chord.get_state().state is State.FAILURE
        assert "boom" in self.chord.get_state().error
        runs = Counter([*before, *self.local])
        assert set(runs) == {"first", "left", "right", "farther", "last", "after", "member", "boom", "told"}
        # What had been recorded was not run again; what had run unrecorded may have been.
        assert not recorded.intersection(self.local), (recorded, self.local)
        assert max(runs.values()) <= 2
        counts = self.server.queue_counts().values()
        assert all((each.pending, each.delayed, each.ending, each.held, each.dead) == (0,) * 5 for each in counts)


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    from tests.servers import redis8_binary

    with RedisServer(redis8_binary()) as server:
        yield server


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_worker_may_die_at_any_step(own_server: RedisServer, namespace: str) -> None:
    def one(method: str, nth: int) -> bool:
        run = Run(own_server.url, f"{namespace}-{method}-{nth}")
        with run.server, own_server.client(decode_responses=True) as client:
            reached = run.crash(method, nth)
            ran = client.lrange(f"control:{run.namespace}:ran", 0, -1)
            run.complete(list(map(str, ran)))
        return reached

    def each(method: str) -> int:
        """How often a worker could die at this method: calls are batched as they come, so one more is tried."""
        died = 0
        for nth in range(1, MOST):
            if one(method, nth):
                died = nth
            elif nth > died + 1:
                return died
        raise AssertionError(f"no end of calls of {method}")

    # To die before a call leaves the same behind as to die after the one before it, so one of the two is enough.
    methods = [name for names in STEPS.values() for name in names]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        deaths = dict(zip(methods, threads.map(each, methods), strict=True))
    # The scenario leads through every step there is.
    assert all(deaths.values()), deaths
