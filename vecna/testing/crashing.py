"""What can go wrong on purpose: a worker that dies between two steps, a reply that gets lost, a task that fails."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, Final

from vecna.app.config_checks import nearest
from vecna.domain.errors import BrokerUnavailable, InvalidArgument
from vecna.domain.state import State
from vecna.ports.backend import Backend
from vecna.ports.broker import Broker
from vecna.ports.lock import Lock


class CrashPoint(enum.StrEnum):
    """Where a worker can die: between any two steps of a task's, or of a schedule's, way through the engine."""

    #: The task was handed to the worker; nothing of it has begun.
    AFTER_LEASE = "after_lease"
    #: Everything is ready; the function is about to be called.
    BEFORE_RUN = "before_run"
    #: The function has returned, or raised; nobody else knows.
    AFTER_RUN = "after_run"
    #: The end (or the repeat) is recorded; nothing has followed from it.
    AFTER_RECORD = "after_record"
    #: A member of a workflow has reported its end to it; what comes next was not sent.
    AFTER_REPORT = "after_report"
    #: The message is gone, and what follows was sent with that; other queues have not got theirs yet.
    AFTER_SETTLE = "after_settle"
    #: Other queues have got what follows; the result has not begun to expire.
    AFTER_RELAY = "after_relay"
    #: A part of a large workflow was sent, and is held back until all of it is there.
    AFTER_STAGE = "after_stage"
    #: A schedule has gone on to its next time; the task of this one has not arrived in its queue.
    AFTER_FIRE = "after_fire"
    #: The task of an occurrence has arrived in its queue.
    AFTER_FIRE_RELAY = "after_fire_relay"


class Died(BaseException):
    """The process of the worker ends here. Nothing in the engine catches it."""


Arguments = tuple[Any, ...]
#: Looks at a call and its answer: None if it is not the one; else what to do.
Watch = Callable[[Arguments, Any], Callable[[], None] | None]

#: Methods whose replies can get lost, by name with and without port.
_PORTS: Final[Mapping[str, type]] = {"broker": Broker, "backend": Backend, "lock": Lock}
_NO_CALLS: Final = frozenset({"close", "listen", "waiter"})


def _methods() -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for port, kind in _PORTS.items():
        for method in sorted(kind.__abstractmethods__ - _NO_CALLS):  # type: ignore[attr-defined]  # of every ABC
            found.setdefault(method, (port, method))
            found[f"{port}.{method}"] = (port, method)
    return found


METHODS: Final = _methods()


def crash_point(point: str) -> CrashPoint:
    """The crash point of a name.

    Raises:
        InvalidArgument: there is none; names the nearest.
    """
    try:
        return CrashPoint(point)
    except ValueError:
        meant = nearest(str(point), [each.value for each in CrashPoint])
        hint = f"did you mean {meant!r}? " if meant else ""
        raise InvalidArgument(f"unknown crash point {point!r}: {hint}They are {', '.join(CrashPoint)}") from None


def port_method(method: str) -> tuple[str, str]:
    """Port and method of a name such as `settle` or `broker.settle`.

    Raises:
        InvalidArgument: there is none; names the nearest.
    """
    if method not in METHODS:
        meant = nearest(str(method), METHODS)
        hint = f"did you mean {meant!r}?" if meant else "they are those of vecna.ports.Broker, Backend and Lock"
        raise InvalidArgument(f"no port has a method {method!r}: {hint}")
    return METHODS[method]


class Faults:
    """Lies in wait on ports. What is not asked for costs nothing: a method is replaced only until it was called.

    Args:
        worker: the ports of the worker, by name; it dies there.
        every: all ports, by name, of whoever calls; replies get lost there.
    """

    def __init__(self, worker: Mapping[str, Any], every: Mapping[str, list[Any]]) -> None:
        self._worker = worker
        self._every = every
        self._watches: dict[tuple[int, str], list[Watch]] = {}
        #: Where the worker will die next.
        self.points: list[CrashPoint] = []
        #: How often it has died.
        self.crashes = 0

    def crash_next(self, point: CrashPoint) -> None:
        """Have the worker die when it comes to this point."""
        self.points.append(point)
        match point:
            case CrashPoint.AFTER_LEASE:
                self._crash("broker", "lease", lambda _, lease: self._die(point) if lease.deliveries else None)
            case CrashPoint.AFTER_RECORD:
                self._crash("backend", "put_states", lambda args, _: self._die(point) if _is_record(args) else None)
            case CrashPoint.AFTER_REPORT:
                self._crash("backend", "report", lambda _, __: self._die(point))
            case CrashPoint.AFTER_SETTLE:
                self._crash("broker", "settle", lambda _, __: self._die(point))
            case CrashPoint.AFTER_RELAY:
                self._crash("broker", "settle", self._then("relay", point, _leaves_some))
            case CrashPoint.AFTER_STAGE:
                self._crash("broker", "stage", lambda _, __: self._die(point))
            case CrashPoint.AFTER_FIRE:
                self._crash("broker", "fire", lambda _, __: self._die(point))
            case CrashPoint.AFTER_FIRE_RELAY:
                self._crash("broker", "fire", self._then("relay_schedules", point, lambda _: True))
            case CrashPoint.BEFORE_RUN | CrashPoint.AFTER_RUN:
                pass  # no call of a port: whoever runs the task asks

    def passed(self, point: CrashPoint) -> None:
        """The worker is here.

        Raises:
            Died: it was to die here.
        """
        if point in self.points:
            self._died(point)

    def drop_next_reply(self, port: str, method: str) -> None:
        """Let the next call of a method have its effect, and its reply get lost."""

        def watch(_: Arguments, __: Any) -> Callable[[], None]:
            return lose

        def lose() -> None:
            for each in self._every[port]:
                self._unwatch(each, method, watch)
            raise BrokerUnavailable(f"the reply to {port}.{method} was lost (drop_next_reply)")

        for each in self._every[port]:
            self._watch(each, method, watch)

    # -- dying -------------------------------------------------------------------------------------------------------

    def _crash(self, port: str, method: str, watch: Watch) -> None:
        self._watch(self._worker[port], method, watch)

    def _die(self, point: CrashPoint) -> Callable[[], None]:
        return lambda: self._died(point)

    def _died(self, point: CrashPoint) -> None:
        self.points.remove(point)
        self.crashes += 1
        raise Died(point)

    def _then(self, method: str, point: CrashPoint, condition: Callable[[Arguments], bool]) -> Watch:
        """Die after the call of another method that comes next."""

        def watch(args: Arguments, _: Any) -> Callable[[], None] | None:
            if not condition(args):
                return None
            return lambda: self._crash("broker", method, lambda _, __: self._die(point))

        return watch

    # -- watching ----------------------------------------------------------------------------------------------------

    def _watch(self, port: Any, method: str, watch: Watch) -> None:
        """Have each call of a method of one object looked at, until it is the right one. One a call."""
        watches = self._watches.setdefault((id(port), method), [])
        watches.append(watch)
        if method in vars(port):
            return
        real = getattr(port, method)

        def call(*args: Any, **kwargs: Any) -> Any:
            answer = real(*args, **kwargs)
            for each in tuple(watches):
                act = each(args, answer)
                if act is not None:
                    self._unwatch(port, method, each)
                    act()
                    break
            return answer

        vars(port)[method] = call

    def _unwatch(self, port: Any, method: str, watch: Watch) -> None:
        watches = self._watches.get((id(port), method), [])
        if watch in watches:
            watches.remove(watch)
            if not watches:
                del vars(port)[method]


def _is_record(args: Arguments) -> bool:
    """Whether a call of `put_states` records what became of a run."""
    return any(state.is_completed or state.state is State.RETRY for state in args[0])


def _leaves_some(args: Arguments) -> bool:
    """Whether a call of `settle` leaves something for other queues to be carried over."""
    queue, settlements = args
    return any(message.queue != queue for settlement in settlements for message in settlement.follow_ups)
