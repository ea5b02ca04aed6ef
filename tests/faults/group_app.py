"""The server of the worker groups of the fault tests: as `worker_app`, with tasks that hold their interpreter."""

import ctypes
import os

from tests.faults.worker_app import control, key, server
from vecna import TaskContext

if os.environ.get("BROKEN") == "in children" and os.getsid(0) == os.getpid():  # these lead sessions of their own
    raise RuntimeError("nothing to be done")


@server.task
def clutch(ctx: TaskContext, path: str) -> str:
    """Hold the interpreter until the test writes to this pipe: no other thread of the process goes on meanwhile."""
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(pipe, True)
    with control() as client:
        client.rpush(key("running"), f"0 {ctx.worker} {ctx.delivery}")
    ctypes.PyDLL(None).read(pipe, ctypes.create_string_buffer(1), 1)  # in C, and without letting go of the interpreter
    os.close(pipe)
    return f"{ctx.worker} {ctx.delivery}"


__all__ = ["server"]
