"""What vecna wants to reach, each as a ratio within one run of `make bench-peers`, and how far it is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.peers.figures import CEILING, Figures, Key

OURS = ("vecna", "safe")  # full guarantees, results kept
MEMBERS = (1_000, 10_000, 100_000)


@dataclass(frozen=True)
class Target:
    """One line: `value` has to be at least, or at most, `bound`.

    Attributes:
        what: what is compared.
        value: finds it in a run; None: it was not measured.
        bound: the limit.
        at_least: whether more is better.
        unit: of value and bound; × for ratios.
    """

    what: str
    value: Callable[[Figures], float | None]
    bound: float
    at_least: bool = True
    unit: str = "×"

    def met(self, value: float) -> bool:
        """Whether `value` is on the right side of the bound."""
        return value >= self.bound if self.at_least else value <= self.bound

    @property
    def wanted(self) -> str:
        """The bound as it is written."""
        return f"{'≥' if self.at_least else '≤'} {self.bound:g} {self.unit}"


def ours(metric: str) -> Callable[[Figures], float | None]:
    """The median of one of our own figures."""
    return lambda figures: figures.median(*OURS, metric)


def against(metric: str, other: Callable[[Figures], Key | None]) -> Callable[[Figures], float | None]:
    """Our figure as a multiple of another one."""

    def value(figures: Figures) -> float | None:
        key = other(figures)
        return figures.ratio((*OURS, metric), key) if key else None

    return value


def peer(name: str, metric: str, *, least: bool = False) -> Callable[[Figures], Key | None]:
    """The better one of that peer's settings."""
    return lambda figures: figures.best(metric, [name], least=least)


def fixed(*key: str) -> Callable[[Figures], Key | None]:
    """That figure and no other."""
    name, setting, metric = key
    return lambda _: (name, setting, metric)


def linear(figures: Figures) -> float | None:
    """The time per member of the largest chord, as a multiple of that of the smallest."""
    small, large = (figures.median(*OURS, f"chord-{count}") for count in (MEMBERS[0], MEMBERS[-1]))
    return (large / MEMBERS[-1]) / (small / MEMBERS[0]) if small and large else None


CHORD = "chord-5000"

TARGETS = (
    Target("drain, as a share of the bare loop", against("drain", fixed(CEILING, "", "drain")), 0.6),
    Target("drain, to BullMQ", against("drain", peer("bullmq", "drain")), 3),
    Target(
        "drain, to the best at-least-once Python peer", against("drain", lambda f: f.python_at_least_once("drain")), 10
    ),
    Target("drain, to Celery", against("drain", peer("celery", "drain")), 40),
    Target("drain, coroutines to functions", against("drain-coroutines", fixed(*OURS, "drain")), 1),
    Target("drain, 2 processes to one", against("drain-2", fixed(*OURS, "drain")), 1.4),
    Target("send one by one, to BullMQ", against("send", peer("bullmq", "send")), 1),
    Target("send one by one, to a bare RPUSH loop", against("send", fixed(CEILING, "", "send")), 0.8),
    Target("send in bulk, to BullMQ", against("bulk", peer("bullmq", "bulk")), 3),
    Target("send in bulk", ours("bulk"), 50_000, unit="/s"),
    Target("send_async from 100 coroutines, to one by one", against("send-async", fixed(*OURS, "send")), 3),
    Target("send and wait, p50, to Huey", against("latency-p50", peer("huey", "latency-p50", least=True)), 1, False),
    Target("send and wait, p99 to p50", against("latency-p99", fixed(*OURS, "latency-p50")), 2, False),
    Target("2,000 × 50 ms, coroutines", ours("waits-coroutines"), 1.08, False, "× ideal"),
    Target("2,000 × 50 ms, functions", ours("waits-functions"), 1.15, False, "× ideal"),
    Target("lateness, idle worker, p50", ours("late-p50"), 2, False, "ms"),
    Target("lateness, idle worker, p99", ours("late-p99"), 10, False, "ms"),
    Target(
        "lateness of 5,000 at once, p99, to BullMQ",
        against("burst-p99", peer("bullmq", "burst-p99", least=True)),
        1,
        False,
    ),
    Target("idle worker, commands", ours("idle-commands"), 1, False, "/s"),
    Target("idle worker, of a core", ours("idle-cpu"), 0.5, False, "%"),
    Target("worker memory, idle", ours("memory"), 45, False, "MiB"),
    Target("worker memory after 1,000,000 tasks, to before", ours("memory-growth"), 1.05, False),
    Target(
        "Redis memory of a queued task, to BullMQ", against("bytes", peer("bullmq", "bytes", least=True)), 1.1, False
    ),
    Target("chord, time per member, 100,000 to 1,000", linear, 1.1, False),
    Target(
        "chord of 10,000, to the same tasks ungrouped", against("chord-10000", fixed(*OURS, "plain-10000")), 1.5, False
    ),
    Target("chord of 5,000, to BullMQ", against(CHORD, peer("bullmq", CHORD, least=True)), 1 / 3, False),
    Target("import of vecna", ours("import"), 150, False, "ms"),
    Target("start of a worker", ours("start"), 400, False, "ms"),
)


def lines(figures: Figures) -> Iterator[tuple[str, str, str, str]]:
    """What, wanted, measured, verdict; of every target, those that were not measured as well."""
    for target in TARGETS:
        value = target.value(figures)
        if value is None:
            yield target.what, target.wanted, "", "not measured"
        else:
            verdict = "met" if target.met(value) else f"missed by {abs(value / target.bound - 1):.0%}"
            yield target.what, target.wanted, f"{value:,.3g} {target.unit}", verdict
