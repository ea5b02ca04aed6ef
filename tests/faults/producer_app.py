"""Senders that die: `python -m tests.faults.producer_app` forks one for each line that it reads.

A line is `scene workflow method nth`: the child sends that workflow and is killed right after the nth call of that
method of its ports. The answer is one line: `died at METHOD`, or `sent` if it came to no such call.
"""

import os
import signal
import sys
from typing import Any

from tests.faults.crash_app import dies_at
from vecna import Chain, Chord, Config, Group, Server, Signature

#: What a sender calls on its way, by port.
STEPS = {
    "broker": ("enqueue", "stage", "unstage", "locate"),
    "backend": ("get_states", "put_states", "store_plan", "commit_plan", "get_nodes", "get_tasks"),
}


def workflow(scene: str, kind: str) -> Any:
    """The workflow of a scene: its ids are the same whoever asks, so that it can be sent again."""

    def step(name: str, queue: str = "one", **more: Any) -> Signature:
        return Signature("step", [scene, name], uuid=f"{scene}-{name}", queue=queue, **more)

    after = step("after", "two")
    group = Group([step("left"), step("right", "two", on_success=[after]), step("middle")], group_uuid=f"{scene}-group")
    match kind:
        case "task":
            return step("single", on_success=[after])
        case "group":
            return group
        case "chord":
            return Chord(group, step("back", "two"), chain_uuid=f"{scene}-chain")
        case "chain":
            return Chain(step("first"), group, step("last", "two"), chain_uuid=f"{scene}-chain")
    raise ValueError(kind)


def send(server: Server, sent: Any) -> Any:
    """Send it, whatever it is."""
    match sent:
        case Group():
            return server.send_group(sent)
        case Chord():
            return server.send_chord(sent)
        case Chain():
            return server.send_chain(sent)
    return server.send_task(sent)


def _child(scene: str, kind: str, method: str, nth: int) -> None:
    server = Server(Config(broker=os.environ["BROKER"], namespace=os.environ["NAMESPACE"]))
    wrap = dies_at(method, nth)
    for port, names in STEPS.items():
        target = getattr(server, port)
        for name in names:
            setattr(target, name, wrap(name, getattr(target, name)))
    send(server, workflow(scene, kind))
    # Without any clean-up here, too: a sender that is killed when it has just done.
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    for line in sys.stdin:
        scene, kind, method, nth = line.split()
        child = os.fork()
        if child == 0:
            try:
                _child(scene, kind, method, int(nth))
            finally:
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(1, {-signal.SIGKILL: b"sent\n", 137: b""}.get(status, f"failed with {status}\n".encode()))


if __name__ == "__main__":
    main()
