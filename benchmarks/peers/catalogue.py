"""Who is measured, in which versions and settings, and what each setting guarantees."""

from dataclasses import dataclass, field

AT_MOST_ONCE = "at most once"
AT_LEAST_ONCE = "at least once"


@dataclass(frozen=True)
class Peer:
    """A task queue.

    Attributes:
        name: as it is called on the command line and in the table.
        driver: module in benchmarks/peers/drivers; for a Node package the folder in benchmarks/peers.
        requirements: pinned packages of its environment; none: the environment of vecna itself.
        fast: what its fastest setting guarantees.
        safe: what its safest setting guarantees; empty: it has none.
        node: a package of npm.
        environment: further variables for its driver and workers.
    """

    name: str
    driver: str
    requirements: tuple[str, ...]
    fast: str
    safe: str = ""
    node: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, str]:
        """Guarantees by the name of the setting."""
        return {"fast": self.fast, "safe": self.safe} if self.safe else {"fast": self.fast}


REDIS = ("redis==8.1.0", "hiredis==3.5.0")  # of the peers that take them; arq wants redis-py 5
LOOP = "uvloop==0.23.0"

PEERS = (
    Peer(
        "vecna",
        "vecna_",
        (),
        fast=f"{AT_LEAST_ONCE}: leases of 30 s, fences, heartbeats, states; nothing kept after the end",
        safe=f"{AT_LEAST_ONCE}: the same, with results",
    ),
    Peer(
        "dramatiq",
        "dramatiq_",
        ("dramatiq[redis]==2.2.1", *REDIS),
        fast=f"{AT_LEAST_ONCE}, when a heartbeat was missed for 60 s; no results",
        safe=f"{AT_LEAST_ONCE}, when a heartbeat was missed for 10 s; results",
    ),
    Peer(
        "huey",
        "huey_",
        ("huey==3.5.4", *REDIS),
        fast=f"{AT_MOST_ONCE}: a task is gone from Redis when a worker takes it; no results",
        safe=f"{AT_MOST_ONCE}, it has no other; results",
    ),
)

BY_NAME = {peer.name: peer for peer in PEERS}
