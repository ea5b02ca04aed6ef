"""A worker that dies at one chosen call of its ports: `python -m tests.faults.crash_app`.

The calls that carry deliveries from their lease to their last follow-up are counted by method. The process ends without
any clean-up right after the chosen one; if that is not reached, it works until nothing is left.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Callable
from typing import Any

from vecna.app.config import Config
from vecna.bootstrap import Server
from vecna.domain.errors import VecnaError

#: The way of a delivery through the ports. `lease` counts when it got something.
STEPS = {
    "broker": ("lease", "settle", "relay"),
    "backend": ("get_states", "put_states", "report", "get_step", "get_tasks", "get_nodes", "release", "release_plan"),
}


def dies_at(method: str, nth: int) -> Callable[[str, Callable[..., Any]], Callable[..., Any]]:
    """Wrap port methods so that the process dies right after the `nth` call of `method`."""
    lock = threading.Lock()
    calls = 0

    def wrap(name: str, method_itself: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method_itself)
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            answer = method_itself(*args, **kwargs)
            if name != method or (name == "lease" and not answer.deliveries):
                return answer
            with lock:
                calls += 1
                if calls == nth:
                    die(name)
            return answer

        return call

    return wrap


def die(name: str) -> None:
    os.write(1, f"died at {name}\n".encode())
    os._exit(137)


def register(server: Server, ran: Callable[[str], None]) -> None:
    """The tasks of the scenario; each says that it runs."""

    def step(name: str, *numbers: int) -> int:
        ran(name)
        return sum(numbers) + 1

    def boom(name: str) -> None:
        ran(name)
        raise RuntimeError("boom")

    def note(error: str, name: str) -> None:
        ran(name)

    server.register_task("step", step)
    server.register_task("boom", boom)
    server.register_task("note", note)


def main() -> None:
    server = Server(Config.from_env())
    with server:
        import redis

        control = redis.Redis.from_url(server.config.broker)

        def ran(name: str) -> None:
            control.rpush(f"control:{server.config.namespace}:ran", name)

        register(server, ran)
        wrap = dies_at(os.environ["CRASH_METHOD"], int(os.environ["CRASH_NTH"]))
        for port, names in STEPS.items():
            target = getattr(server, port)
            for name in names:
                setattr(target, name, wrap(name, getattr(target, name)))
        worker = server.new_worker("crashing", 1, queues=["one", "two"])
        worker.set_error_handler(lambda *_: None)
        with worker:
            for uuid in os.environ["AWAIT"].split(","):
                with contextlib.suppress(VecnaError):
                    server.result(uuid).get(timeout=60)
    os.write(1, b"done\n")


if __name__ == "__main__":
    main()
