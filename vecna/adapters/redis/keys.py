"""Names of keys and channels. docs/redis-keys.md shows an example of each.

The scripts make the names of a queue's other keys from its first one, which is what they are given; `QUEUE_KEYS` lists
them all. A name in braces is a hash tag: keys with the same one lie in the same slot of a cluster.
"""

from __future__ import annotations

import functools
import zlib
from typing import Final

#: How many hashes a queue's messages are spread over: one giant hash would block the migration of its slot.
BUCKETS: Final = 64
#: How many slots records of tasks are spread over.
RECORD_BUCKETS: Final = 64

#: What the names of a queue's keys end with; `m:` goes on with a bucket, `p:` with a priority, `outbox:` with a queue,
#: `hold:` with the name of a hold, `code:` with a shared code.
QUEUE_KEYS: Final = (
    "m:",
    "p:",
    "delayed",
    "ending",
    "dead",
    "leased",
    "leases",
    "held",
    "left",
    "spared",
    "verdicts",
    "flagged",
    "stale",
    "counts",
    "crashes",
    "reasons",
    "calls",
    "workers",
    "wake",
    "meta",
    "sent",
    "outbox:",
    "outboxes",
    "inbox",
    "hold:",
    "holds",
    "staged",
    "code:",
)

#: What the names of the keys of schedules end with; `outbox:` goes on with a queue.
SCHEDULE_KEYS: Final = (
    "heads",
    "records",
    "due",
    "paused",
    "removed",
    "versions",
    "meta",
    "sent",
    "outbox:",
    "outboxes",
)

_WEIGHTS: Final = (1, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)


def queue(namespace: str, name: str) -> str:
    """What all keys of a queue begin with."""
    return f"{namespace}:q:{{{name}}}"


def queues(namespace: str) -> str:
    """The set of all queues."""
    return f"{namespace}:queues"


def bucket(uuid: str) -> int:
    """Which of a queue's hashes a message lies in; the same sum as in lua/bucket.lua."""
    return sum([weight * ord(char) for weight, char in zip(_WEIGHTS, uuid.rjust(12, "0")[-12:], strict=True)]) % BUCKETS


def records(namespace: str, number: int) -> str:
    """The index of ends that were not released, in one bucket of records; what its records begin with."""
    return f"{namespace}:r:{{{number}}}"


def waiting(namespace: str, number: int) -> str:
    """The index of callbacks that wait for their parent, in one bucket of records."""
    return f"{namespace}:r:{{{number}}}:-"  # no id begins so


def record_bucket(uuid: str) -> int:
    """Which bucket the record of a task lies in."""
    return zlib.crc32(uuid.encode()) % RECORD_BUCKETS


@functools.lru_cache(maxsize=2048)
def record(namespace: str, uuid: str) -> str:
    """The record of a task. Whoever finishes one names it three times within milliseconds."""
    return f"{namespace}:r:{{{zlib.crc32(uuid.encode()) % RECORD_BUCKETS}}}:{uuid}"


@functools.lru_cache(maxsize=256)
def node(namespace: str, uuid: str) -> str:
    """A group or chain of a running workflow; the bitmap of its members has `m:` in place of `n:`."""
    return f"{namespace}:w:{{{record_bucket(uuid)}}}:n:{uuid}"


def uncommitted(namespace: str, number: int) -> str:
    """The index of workflows that are not known to be sent as a whole, in one bucket."""
    return f"{namespace}:w:{{{number}}}:uncommitted"


def schedules(namespace: str) -> str:
    """What all keys of schedules begin with: what falls due together is fired together, so they share a slot."""
    return f"{namespace}:s:{{{namespace}}}"


def workers(namespace: str) -> tuple[str, str]:
    """What workers say of themselves, and until when that counts."""
    return f"{namespace}:p:{{{namespace}}}:records", f"{namespace}:p:{{{namespace}}}:until"


def ends(namespace: str) -> str:
    """What the channels begin with on which the ends of tasks are told; the id follows."""
    return f"{namespace}:end:"


def lock(namespace: str, name: str) -> tuple[str, str]:
    """The holder of a lock, and its fence counter."""
    return f"{namespace}:l:{{{name}}}", f"{namespace}:l:{{{name}}}:fence"


def wake(namespace: str, queue_name: str) -> str:
    """The list whose one entry wakes a waiter."""
    return f"{queue(namespace, queue_name)}:wake"
