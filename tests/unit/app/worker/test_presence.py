"""A worker says that it is there, what it runs, and that it goes."""

import os
import threading
from typing import Any

from vecna.adapters.clock import SystemClock
from vecna.adapters.memory import MemoryBroker
from vecna.app.config import Config
from vecna.bootstrap import Server
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.presence import RunningTask, WorkerRecord, read_workers

PATIENCE = 30.0


class Listening(MemoryBroker):
    """Lets a test wait until a worker has said something."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.said = threading.Condition()
        self.heard: list[tuple[WorkerRecord, float]] = []
        self.away = False

    def note_worker(self, noted: WorkerRecord, lasts: Any) -> None:
        with self.said:
            self.heard.append((noted, lasts.total_seconds()))
            self.said.notify_all()
        if self.away:
            raise BrokerUnavailable("away")
        super().note_worker(noted, lasts)

    def wait_for(self, many: int) -> None:
        with self.said:
            assert self.said.wait_for(lambda: len(self.heard) >= many, PATIENCE)


def serving(broker: Listening) -> Server:
    return Server(Config(broker="memory://", heartbeat=2, lease=20), broker=broker)


def test_a_worker_is_listed_while_it_runs() -> None:
    broker = Listening()
    with serving(broker) as server, server.new_worker("mail-1", 3, queues=["mail", "bulk"]) as worker:
        broker.wait_for(1)
        (found,) = server.workers()
        assert (found.name, found.queues, found.concurrency, found.pid) == ("mail-1", ("mail", "bulk"), 3, os.getpid())
        assert (found.held, found.running) == (0, ())
        assert broker.heard[0][1] == 15  # three times five seconds

        worker.quit()

        assert server.workers() == []
        assert broker.heard[-1][1] == 0


def test_it_names_what_it_runs() -> None:
    broker = Listening()
    runs, go = threading.Event(), threading.Event()
    with serving(broker) as server:

        @server.task
        def hold(secret: str) -> None:
            runs.set()
            go.wait(PATIENCE)

        sent = hold.send("hush")
        with server.new_worker("w", 1) as worker:
            assert runs.wait(PATIENCE)
            engine: Any = worker._engine
            engine._presence._wake.set()  # as if its time had come
            broker.wait_for(2)
            found = broker.heard[-1][0]
            assert found.held == 1
            assert [(run.uuid, run.name, run.queue) for run in found.running] == [(sent.uuid, "hold", "vecna_tasks")]
            assert b"hush" not in found.to_json()
            go.set()


def test_a_worker_that_is_started_again_is_another() -> None:
    broker = Listening()
    with serving(broker) as server:
        worker = server.new_worker("w", 1)
        for _ in range(2):
            with worker:
                broker.wait_for(len(broker.heard) + 1)
    assert len({noted.uuid for noted, _ in broker.heard}) == 2


def test_a_broker_that_is_away_does_not_hold_it_up() -> None:
    broker = Listening()
    broker.away = True
    with serving(broker) as server, server.new_worker("w", 1) as worker:
        broker.wait_for(1)
        worker.quit()
    assert [lasts for _, lasts in broker.heard] == [15]  # it is forgotten soon: it need not say that it goes


def test_what_cannot_be_read_is_left_out() -> None:
    good = WorkerRecord(
        "u", "w", ("q",), 0, SystemClock().now(), running=(RunningTask("t", "n", "q", SystemClock().now()),)
    )
    assert read_workers([b"{", b"{}", good.to_json(), good.to_json()[:-1] + b',"new":1}']) == [good, good]
