"""Dramatiq: at least once, after a heartbeat that was missed for a minute (fast) or ten seconds (safe)."""

import sys
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.rate_limits.backends import RedisBackend as Barriers
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.peers.drivers.protocol import CONCURRENCY, PATIENCE, RESULTS, SAFE, URL, Driver
from benchmarks.peers.drivers.tally import tally

broker = RedisBroker(url=URL, **({"heartbeat_timeout": 10_000} if SAFE else {}))
backend = RedisBackend(url=URL)
broker.add_middleware(Results(backend=backend, store_results=RESULTS))
broker.add_middleware(dramatiq.middleware.GroupCallbacks(Barriers(url=URL)))
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(a: int, b: int) -> None:
    tally.noop()


@dramatiq.actor
def wait(a: int, b: int) -> None:
    started = tally.started()
    time.sleep(0.05)
    tally.ended(started)


@dramatiq.actor
def late(due: float) -> None:
    tally.late(due)


@dramatiq.actor(store_results=True)
def member(a: int, b: int) -> int:
    tally.noop()
    return a


@dramatiq.actor
def callback() -> None:
    """Takes no results: a group's callback does not get them."""
    tally.mark()


class Peer(Driver):
    def workers(self, processes: int, *, delays: bool) -> list[list[str]]:
        command = [sys.executable, "-m", "dramatiq", __name__, "--processes", str(processes)]
        return [[*command, "--threads", str(CONCURRENCY), "--skip-logging"]]

    def send(self, number: int, kind: str) -> None:
        noop.send(number, 1)

    def round_trip(self, number: int) -> None:
        noop.send(number, 1).get_result(backend=backend, block=True, timeout=int(PATIENCE * 1000))

    def wait(self, number: int, kind: str) -> None:
        wait.send(number, 1)

    def delay(self, due: float) -> None:
        late.send_with_options(args=(due,), delay=max(0, round((due - time.time()) * 1000)))

    def chord(self, count: int) -> None:
        group = dramatiq.group([member.message(number, 1) for number in range(count)])
        group.add_completion_callback(callback.message())
        group.run()
