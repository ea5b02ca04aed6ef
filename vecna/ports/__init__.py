"""What the domain needs from outside. Authors of adapters implement `Broker`, `Backend`, `Lock` and `Clock`."""

from vecna.ports.backend import Backend, Listener, States, Waiting
from vecna.ports.broker import Broker, Cancelling, Inspection, Queueing, Waiter, Wakeup
from vecna.ports.clock import Clock
from vecna.ports.lock import Grant, Lock
from vecna.ports.plans import Following, NodeState, NodeStatus, Plans, Report, Reported
from vecna.ports.schedules import DueSchedules, FireCall, Fired, Schedules
from vecna.ports.staging import CodeCancel, CodeCancelling, Staging
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
    "CodeCancel",
    "CodeCancelling",
    "DeadLetter",
    "Delivery",
    "DueSchedules",
    "Extension",
    "FireCall",
    "Fired",
    "Following",
    "Grant",
    "Inspection",
    "Lease",
    "Listener",
    "Lock",
    "NodeState",
    "NodeStatus",
    "Place",
    "Plans",
    "QueueCounts",
    "Queueing",
    "Report",
    "Reported",
    "Schedules",
    "SettleAs",
    "Settlement",
    "Staging",
    "Standing",
    "States",
    "Verdict",
    "Waiter",
    "Waiting",
    "Wakeup",
]
