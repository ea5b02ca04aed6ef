"""What stands between a process and its stores: whatever can happen to a call happens here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vecna.ports.backend import Backend
from vecna.ports.broker import Broker


class Died(BaseException):
    """The process ends here. Nothing in the engine catches it."""


class Port:
    """The port of one process: its calls go to the store, watched, and disturbed where the history says so."""

    def __init__(self, real: Any, world: Any, process: Any) -> None:
        self.real = real
        self.world = world
        self.process = process


def _call(name: str) -> Callable[..., Any]:
    def call(self: Port, *args: Any, **kwargs: Any) -> Any:
        world = self.world
        world.calm -= 1
        if world.calm < 0 or self.process.dead:
            return world.disturbed(self, name, args, kwargs)
        return world.execute(self, name, args, kwargs)

    call.__name__ = name
    return call


#: `queues` and `close` change nothing and are of no interest to anybody.
_LEFT = frozenset({"close", "listen", "waiter"})
CALLS = sorted((Broker.__abstractmethods__ | Backend.__abstractmethods__) - _LEFT)
for _name in CALLS:
    setattr(Port, _name, _call(_name))
