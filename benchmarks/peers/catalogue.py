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
        requirements: pinned packages of its environment; none: this checkout, with what it asks for.
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
    def is_ours(self) -> bool:
        """Whether it is vecna."""
        return not self.requirements

    @property
    def settings(self) -> dict[str, str]:
        """Guarantees by the name of the setting."""
        return {"fast": self.fast, "safe": self.safe} if self.safe else {"fast": self.fast}


REDIS = ("redis==8.1.0", "hiredis==3.5.0")  # of the peers that take them; arq wants redis-py 5
LOOP = "uvloop==0.23.0"
TASKIQ = ("taskiq[orjson]==0.13.0", "taskiq-redis==1.2.4", *REDIS, LOOP)
# It imports typing_extensions without asking for it.
SAQ = ("saq[redis]==0.26.4", "redis==7.4.1", "hiredis==3.5.0", "typing_extensions==4.16.0", LOOP)

PEERS = (
    Peer(
        "vecna",
        "vecna_",
        (),
        fast=f"{AT_LEAST_ONCE}: leases of 30 s, fences, heartbeats, states; nothing kept after the end",
        safe=f"{AT_LEAST_ONCE}: leases of 30 s, fences, heartbeats, states; results",
    ),
    Peer(
        "bullmq",
        "bullmq",
        ("bullmq==6.7.0", "ioredis==5.11.1"),
        fast=f"{AT_LEAST_ONCE}, locks of 30 s; nothing kept after the end",
        safe=f"{AT_LEAST_ONCE}, locks of 5 s; results",
        node=True,
    ),
    Peer(
        "huey",
        "huey_",
        ("huey==3.5.4", *REDIS),
        fast=f"{AT_MOST_ONCE}: a task is gone from Redis when a worker takes it; no results",
        safe=f"{AT_MOST_ONCE}, it has no other; results",
    ),
    Peer(
        "dramatiq",
        "dramatiq_",
        ("dramatiq[redis]==2.2.1", *REDIS),
        fast=f"{AT_LEAST_ONCE}, when a heartbeat was missed for 60 s; no results",
        safe=f"{AT_LEAST_ONCE}, when a heartbeat was missed for 10 s; results",
    ),
    Peer(
        "taskiq-list",
        "taskiq_",
        TASKIQ,
        fast=f"{AT_MOST_ONCE}: a task is gone from Redis when a worker takes it; no results",
        safe=f"{AT_MOST_ONCE}, it has no other; results",
        environment={"BENCH_BROKER": "list"},
    ),
    Peer(
        "taskiq-stream",
        "taskiq_",
        TASKIQ,
        fast=f"{AT_MOST_ONCE}: acknowledged when a worker takes it; no results",
        safe=f"{AT_LEAST_ONCE}, acknowledged when the result is stored; idle ones are claimed after 5 s",
        environment={"BENCH_BROKER": "stream"},
    ),
    Peer(
        "arq",
        "arq_",
        ("arq==0.28.0", "redis==5.3.1", "hiredis==3.5.0", LOOP),
        fast=f"{AT_LEAST_ONCE}, when the mark of a running job expires after 310 s; no results",
        safe=f"{AT_LEAST_ONCE}, when the mark of a running job expires after 15 s; results",
    ),
    Peer(
        "saq",
        "saq_",
        SAQ,
        fast=f"{AT_MOST_ONCE}: a job whose worker died is swept as aborted; no results",
        safe=f"{AT_LEAST_ONCE}: stuck jobs are swept every 5 s and have 3 tries; results",
    ),
    Peer(
        "streaq",
        "streaq_",
        ("streaq==7.2.0", "hiredis==3.5.0", LOOP),
        fast=f"{AT_LEAST_ONCE}, when idle for 60 s; no results",
        safe=f"{AT_LEAST_ONCE}, when idle for 5 s; results",
    ),
    Peer(
        "celery",
        "celery_",
        ("celery[redis]==5.7.0", *REDIS),
        fast=f"{AT_MOST_ONCE}: threads, acknowledged before the run; no results",
        safe=f"{AT_LEAST_ONCE}: processes, acknowledged after the run, given out again after 60 s; results",
    ),
    Peer(
        "rq",
        "rq_",
        ("rq==3.0.0", *REDIS),
        fast=f"{AT_MOST_ONCE}: a pool of SimpleWorkers, one a core; no results",
        safe=f"{AT_LEAST_ONCE}: a pool of 10 workers that fork for each job; abandoned ones are retried; results",
    ),
)

BY_NAME = {peer.name: peer for peer in PEERS}
