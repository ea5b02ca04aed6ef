"""What the domain needs from outside. Authors of adapters implement `Broker`, `Backend`, `Lock` and `Clock`."""

from vecna.ports.backend import Backend, Listener, States, Waiting
from vecna.ports.broker import Broker, Cancelling, Inspection, Queueing, Waiter, Wakeup
from vecna.ports.clock import Clock
from vecna.ports.lock import Grant, Lock
from vecna.ports.values import (
    Adapters,
    Answer,
    Canceling,
    DeadLetter,
    Delivery,
    Extension,
    Lease,
    Place,
    QueueCounts,
    SettleAs,
    Settlement,
    Standing,
    Verdict,
)

__all__ = [
    "Adapters",
    "Answer",
    "Backend",
    "Broker",
    "Canceling",
    "Cancelling",
    "Clock",
    "DeadLetter",
    "Delivery",
    "Extension",
    "Grant",
    "Inspection",
    "Lease",
    "Listener",
    "Lock",
    "Place",
    "QueueCounts",
    "Queueing",
    "SettleAs",
    "Settlement",
    "Standing",
    "States",
    "Verdict",
    "Waiter",
    "Waiting",
    "Wakeup",
]
