"""What the domain needs from outside. Authors of adapters implement `Broker`, `Backend`, `Lock` and `Clock`.

Here are the ports and the values that they take and give back; `vecna.kit` has the parts that adapters are built from.
"""

from vecna.domain.decide import Attempts
from vecna.domain.ids import check_id
from vecna.domain.message import Message
from vecna.domain.plan import Node, Plan, Step
from vecna.domain.presence import RunningTask, WorkerRecord
from vecna.domain.schedule import ScheduleRecord
from vecna.ports.async_queueing import AsyncQueueing
from vecna.ports.backend import Backend, Listener, States, Waiting
from vecna.ports.broker import Broker, Cancelling, Inspection, Queueing, Waiter, Wakeup
from vecna.ports.clock import Clock
from vecna.ports.leaving import Leaving
from vecna.ports.lock import Grant, Lock
from vecna.ports.plans import Following, NodeState, NodeStatus, Plans, Report, Reported
from vecna.ports.presence import Presence
from vecna.ports.ringing import Ringing
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
    Purge,
    QueueCounts,
    SettleAs,
    Settlement,
    Standing,
    Verdict,
)

__all__ = [
    "Adapters",
    "Answer",
    "AsyncQueueing",
    "Attempts",
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
    "Leaving",
    "Listener",
    "Lock",
    "Message",
    "Node",
    "NodeState",
    "NodeStatus",
    "Place",
    "Plan",
    "Plans",
    "Presence",
    "Purge",
    "QueueCounts",
    "Queueing",
    "Report",
    "Reported",
    "Ringing",
    "RunningTask",
    "ScheduleRecord",
    "Schedules",
    "SettleAs",
    "Settlement",
    "Staging",
    "Standing",
    "States",
    "Step",
    "Verdict",
    "Waiter",
    "Waiting",
    "Wakeup",
    "WorkerRecord",
    "check_id",
]
