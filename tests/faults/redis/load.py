"""Work that goes on while a test breaks something, and the sums afterwards: nothing lost, nothing doubled.

Senders send rounds of single tasks, chains and chords over two queues, a few at a time; workers in threads run them.
What a sender was refused it sends again, unchanged, as users are told to.
"""

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final, Self

import attrs

from vecna import Chain, Chord, Config, Group, RedisConfig, Server, Signature, TaskContext
from vecna.domain.errors import BrokerUnavailable

PATIENCE: Final = 40.0
QUEUES: Final = ("one", "two")
SENDERS: Final = 2
#: Rounds under way at a time.
_UNDER_WAY: Final = 6


@attrs.define
class Round:
    """What is sent together, and its handles once it was accepted."""

    number: int
    single: Signature
    chain: Chain
    chord: Chord
    handles: list[Any] = attrs.field(factory=list)

    @classmethod
    def of(cls, number: int) -> Self:
        def step(name: str, queue: str) -> Signature:
            return Signature("step", [f"{number}-{name}"], queue=queue)

        group = Group(step("left", "one"), step("middle", "two"), step("right", "one"))
        chain = Chain(step("first", "one"), step("second", "two"), step("third", "one"))
        return cls(number, step("single", "two"), chain, Chord(group, step("back", "two")))

    @property
    def names(self) -> list[str]:
        parts = ("single", "first", "second", "third", "left", "middle", "right", "back")
        return [f"{self.number}-{part}" for part in parts]

    def send(self, server: Server) -> None:
        self.handles = [server.send_task(self.single), server.send_chain(self.chain), server.send_chord(self.chord)]

    def results(self) -> list[Any]:
        return [handle.get(timeout=PATIENCE) for handle in self.handles]


#: A step returns one more than the sum of what it was passed.
RESULTS: Final = [1, 3, 4]


def _probe() -> None:
    """Only sent to see whether it can be."""


class Load:
    """A server, its senders and its workers; `with` starts and ends them.

    Args:
        url: of the Redis.
        namespace: of its keys.
        for_workers: another way to it, for the workers.
        **settings: of the config.
    """

    def __init__(
        self, url: str, namespace: str, for_workers: str = "", *, redis: RedisConfig | None = None, **settings: Any
    ) -> None:
        options = {"lease": 8, "send_timeout": 0.5, "poll_interval": 0.5, "publish_timeout": 30, **settings}
        options["redis"] = redis or RedisConfig(read_timeout=2)
        self.sender = Server(Config(broker=url, namespace=namespace, **options))
        self.worker = Server(Config(broker=for_workers or url, namespace=namespace, **options))
        for server in (self.sender, self.worker):
            server.register_task("step", self._step)
            server.register_task("probe", _probe)
        self.rounds: list[Round] = []
        self.ran: Counter[str] = Counter()
        #: Sends that were refused, and why.
        self.refused: list[BrokerUnavailable] = []
        self.deliveries: Counter[int] = Counter()
        self._lock = threading.Condition()
        self._free = threading.Semaphore(_UNDER_WAY)
        self._enough = threading.Event()
        self._numbers = 0
        self._faults: list[BaseException] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.sender)
        self._stack.enter_context(self.worker)
        for name in ("w1", "w2"):
            self._stack.enter_context(self.worker.new_worker(name, 4, queues=QUEUES))
        self._senders = [threading.Thread(target=self._send, name=f"sender-{number}") for number in range(SENDERS)]
        for thread in self._senders:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finish_sending()
        self._stack.close()

    def _step(self, ctx: TaskContext, name: str, *numbers: int) -> int:
        with self._lock:
            self.ran[name] += 1
            self.deliveries[ctx.delivery] += 1
            self._lock.notify_all()
        if name.endswith("-back"):
            self._free.release()
        return sum(numbers) + 1

    def _send(self) -> None:
        try:
            while not self._enough.is_set():
                if not self._free.acquire(timeout=0.1):
                    continue
                with self._lock:
                    self._numbers += 1
                    each = Round.of(self._numbers)
                while not each.handles:
                    try:
                        each.send(self.sender)
                    except BrokerUnavailable as exc:
                        self.refused.append(exc)
                with self._lock:
                    self.rounds.append(each)
        except BaseException as exc:  # shown by `finish`
            self._faults.append(exc)

    def until(self, true: Callable[[], object], what: str) -> None:
        """Wait until something is true of what has run."""
        with self._lock:
            assert self._lock.wait_for(lambda: true() or self._faults, PATIENCE), f"{what}: {self.state()}"
        assert not self._faults, self._faults

    def until_more(self, count: int) -> None:
        """Wait until so many more tasks have run."""
        wanted = self.ran.total() + count
        self.until(lambda: self.ran.total() >= wanted, f"{count} more runs")

    def refusal(self, *queues: str) -> str:
        """Send until it is refused, and say why. Senders may have nothing left to send by then."""
        for number in range(2000):
            try:
                self.sender.send_task(Signature("probe", queue=(queues or QUEUES)[number % len(queues or QUEUES)]))
            except BrokerUnavailable as exc:
                return str(exc)
            threading.Event().wait(0.01)
        raise AssertionError("nothing was refused")

    def state(self) -> str:
        """Where things stand, for a failing test."""
        return f"{len(self.rounds)} rounds sent, {self.ran.total()} runs, refused {self.refused[-1:]}"

    def _finish_sending(self) -> None:
        self._enough.set()
        for thread in self._senders:
            thread.join(PATIENCE)
            assert not thread.is_alive(), self.state()

    def finish(self, *, most: int = 1) -> int:
        """Let all that was sent come to its end, and check it.

        Args:
            most: how often one task may have run.

        Returns:
            How many tasks ran.
        """
        self._finish_sending()
        assert not self._faults, self._faults
        assert self.rounds
        for each in self.rounds:
            assert (results := each.results()) == RESULTS, f"{results} of {each}"
        wanted = {name for each in self.rounds for name in each.names}
        assert set(self.ran) == wanted
        assert max(self.ran.values()) <= most, {name: times for name, times in self.ran.items() if times > most}
        assert self._settled(), self.sender.queue_counts()
        return self.ran.total()

    def _settled(self) -> bool:
        """Whether nothing is left in the queues: a result is there a moment before its message is gone."""
        never = threading.Event()
        for _ in range(int(PATIENCE / 0.02)):
            counts = [self.sender.broker.counts(queue) for queue in QUEUES]
            if not any((c.pending, c.delayed, c.leased, c.ending, c.held, c.dead) != (0,) * 6 for c in counts):
                return True
            never.wait(0.02)
        return False
