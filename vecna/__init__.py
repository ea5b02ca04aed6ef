"""vecna: a task queue.

Send a task, run it in a worker, get its result; on Redis, or inside one process. Begin with `Server`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vecna import log
    from vecna.app.config import Config, RedisConfig
    from vecna.app.context import TaskContext, current_task
    from vecna.app.registry import Registry
    from vecna.app.results import AsyncResult
    from vecna.app.schedule_handles import Schedule
    from vecna.app.task import Task
    from vecna.app.workflow_results import ChainAsyncResult, ChordAsyncResult, GroupAsyncResult
    from vecna.bootstrap import Server
    from vecna.domain.arg import Arg, TaskResult
    from vecna.domain.cancellation import Cancellation
    from vecna.domain.errors import (
        BrokerUnavailable,
        ConfigError,
        InconsistentCode,
        InvalidArgument,
        InvalidSignature,
        InvalidSpec,
        NoTasks,
        ResultTimeout,
        RetryTaskLater,
        TaskAlreadyRegistered,
        TaskCanceled,
        TaskFailed,
        TaskNotRegistered,
        TaskTimeout,
        UnknownSchedule,
        UnknownTask,
        VecnaError,
        WorkerAborted,
    )
    from vecna.domain.plan import GroupMeta
    from vecna.domain.retry import Exponential, Fibonacci
    from vecna.domain.signature import Signature
    from vecna.domain.state import State, TaskState
    from vecna.domain.workflow import Chain, Chord, Group

__all__ = [
    "Arg",
    "AsyncResult",
    "BrokerUnavailable",
    "Cancellation",
    "Chain",
    "ChainAsyncResult",
    "Chord",
    "ChordAsyncResult",
    "Config",
    "ConfigError",
    "Exponential",
    "Fibonacci",
    "Group",
    "GroupAsyncResult",
    "GroupMeta",
    "InconsistentCode",
    "InvalidArgument",
    "InvalidSignature",
    "InvalidSpec",
    "NoTasks",
    "RedisConfig",
    "Registry",
    "ResultTimeout",
    "RetryTaskLater",
    "Schedule",
    "Server",
    "Signature",
    "State",
    "Task",
    "TaskAlreadyRegistered",
    "TaskCanceled",
    "TaskContext",
    "TaskFailed",
    "TaskNotRegistered",
    "TaskResult",
    "TaskState",
    "TaskTimeout",
    "UnknownSchedule",
    "UnknownTask",
    "VecnaError",
    "WorkerAborted",
    "current_task",
    "log",
]

# Imported when first used: `import vecna` costs next to nothing, and a program that only makes signatures does not
# load a driver.
_MODULES = {
    "vecna.app.config": ("Config", "RedisConfig"),
    "vecna.app.context": ("TaskContext", "current_task"),
    "vecna.app.registry": ("Registry",),
    "vecna.app.results": ("AsyncResult",),
    "vecna.app.schedule_handles": ("Schedule",),
    "vecna.app.task": ("Task",),
    "vecna.app.workflow_results": ("ChainAsyncResult", "ChordAsyncResult", "GroupAsyncResult"),
    "vecna.bootstrap": ("Server",),
    "vecna.domain.arg": ("Arg", "TaskResult"),
    "vecna.domain.cancellation": ("Cancellation",),
    "vecna.domain.plan": ("GroupMeta",),
    "vecna.domain.retry": ("Exponential", "Fibonacci"),
    "vecna.domain.signature": ("Signature",),
    "vecna.domain.state": ("State", "TaskState"),
    "vecna.domain.workflow": ("Chain", "Chord", "Group"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "log":
        return importlib.import_module("vecna.log")
    if name not in __all__:
        raise AttributeError(f"module 'vecna' has no attribute {name!r}")
    # Whatever has no other home is an error.
    value = getattr(importlib.import_module(_HOMES.get(name, "vecna.domain.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
