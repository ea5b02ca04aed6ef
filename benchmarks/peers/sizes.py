"""How much of each is sent and watched."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Sizes:
    """Counts of tasks, and seconds. `own_`: of vecna, where the peers get less."""

    send: int = 20_000  # at most, for `limit` seconds at most
    bulk: int = 30_000
    drain: int = 30_000
    limit: float = 1.5  # seconds of sending
    draining: float = 5.0  # seconds of draining; what has run by then gives the rate
    round_trips: int = 300
    waits: int = 2_000
    burst: int = 5_000
    ahead: float = 6.0  # seconds that sending the burst may take
    single: int = 100
    chords: tuple[int, ...] = (1_000, 5_000)
    own_chords: tuple[int, ...] = (1_000, 5_000, 10_000, 100_000)
    delayed: int = 5_000
    schedules: int = 1_000
    own_delayed: int = 100_000
    own_schedules: int = 10_000
    idle: float = 5.0  # seconds of watching an idle worker
    own_idle: float = 15.0
    plain: int = 10_000  # as many as the chord that they are compared to
    coded: int = 100_000
    grown: int = 1_000_000
    imports: int = 5

    def again(self) -> "Sizes":
        """Those of further rounds: without the largest chord, of which only one is needed."""
        return replace(self, own_chords=self.own_chords[: max(2, len(self.own_chords) - 1)])

    def scaled(self, times: float) -> "Sizes":
        """All counts and seconds so many times; at least ten tasks and half a second."""
        sizes: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, tuple):
                sizes[name] = tuple(dict.fromkeys(max(10, round(one * times)) for one in value))
            else:
                sizes[name] = max(10, round(value * times)) if isinstance(value, int) else max(0.5, value * times)
        return replace(self, **{**sizes, "imports": self.imports if times >= 1 else 1})


QUICK = Sizes(
    limit=0.7,
    bulk=10_000,
    drain=10_000,
    draining=2.0,
    round_trips=100,
    ahead=3.0,
    single=40,
    chords=(1_000,),
    own_chords=(1_000, 10_000),
    own_delayed=10_000,
    own_schedules=1_000,
    delayed=1_000,
    schedules=100,
    idle=3.0,
    own_idle=5.0,
    coded=10_000,
    grown=100_000,
)
