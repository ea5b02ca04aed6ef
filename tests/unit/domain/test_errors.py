"""Errors: what a caller can rely on, also after they went through another process."""

import copy
import inspect
import pickle

import pytest

from vecna.domain import errors
from vecna.domain.errors import BrokerUnavailable, RetryTaskLater, TaskFailed, VecnaError
from vecna.domain.signature import Signature

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, VecnaError)]
KINDS = {
    ValueError: {
        "ConfigError", "InvalidArgument", "InvalidSignature", "InvalidSpec", "NoTasks", "InconsistentCode",
        "TaskAlreadyRegistered",
    },
    LookupError: {"TaskNotRegistered", "UnknownTask", "UnknownSchedule"},
    TimeoutError: {"ResultTimeout", "TaskTimeout"},
    ConnectionError: {"BrokerUnavailable"},
}  # fmt: skip


def test_the_documented_classes_are_of_the_documented_kinds():
    for kind, names in KINDS.items():
        assert names <= {cls.__name__ for cls in CLASSES if issubclass(cls, kind)}
    assert {"TaskFailed", "TaskCanceled", "WorkerAborted", "RetryTaskLater"} <= {cls.__name__ for cls in CLASSES}


def test_a_task_failed_says_what_and_where():
    error = TaskFailed("RuntimeError: boom", task_uuid="u", error_type="builtins.RuntimeError", traceback="Trace")

    assert str(error) == "task u failed: RuntimeError: boom"
    assert str(TaskFailed("boom")) == "boom"
    assert (error.task_uuid, error.error, error.error_type, error.traceback) == (
        "u", "RuntimeError: boom", "builtins.RuntimeError", "Trace"
    )  # fmt: skip


@pytest.mark.parametrize("through", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_survive_copies_and_other_processes(through):
    signature = Signature("add", uuid="u")
    for error in (
        *[cls("why") for cls in CLASSES if cls not in {RetryTaskLater}],
        TaskFailed("boom", task_uuid="u", error_type="t", traceback="tb"),
        BrokerUnavailable("gone", [signature]),
        RetryTaskLater("busy", 5),
    ):
        twin = through(error)

        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
    assert through(BrokerUnavailable("gone", [signature])).signatures == (signature,)
