"""What a test can have go wrong."""

from __future__ import annotations

from vecna.app.server import Server
from vecna.app.task import AnyTask
from vecna.domain.errors import InvalidArgument
from vecna.testing.crashing import Faults, crash_point, port_method
from vecna.testing.failing import Error, PlannedErrors
from vecna.testing.sent import SentTasks
from vecna.testing.stepping import Stepper


class Breaking:
    """The part of the harness that breaks things."""

    server: Server
    _errors: PlannedErrors
    _faults: Faults
    _sent: SentTasks
    _stepper: Stepper

    def fail_next(self, name: AnyTask | str, error: Error, times: int = 1) -> None:
        """Have the next run of a task raise an error instead of calling the function. Calls add up.

        Args:
            name: the task.
            error: an exception, or a class of one.
            times: for so many runs.

        Raises:
            TaskNotRegistered: there is no such task. InvalidArgument: that is no exception, or no number above 0.
        """
        task = self.server.get_registered_task(self._sent.name_of(name))
        if not (isinstance(error, BaseException) or (isinstance(error, type) and issubclass(error, BaseException))):
            raise InvalidArgument(f"fail_next takes an exception, not {type(error).__name__}")
        self._stepper.put_down()
        self._errors.add(task.name, error, checked_count(times, "times"))

    def crash_next(self, point: str) -> None:
        """Have the worker die when it next comes to a point. What it held is held until its lease has run out.

        Another worker takes its place at once, and goes on with all else; `advance` lets the lease run out.

        Args:
            point: of `vecna.testing.CrashPoint`, or its name.

        Raises:
            InvalidArgument: there is no such point; names the nearest.
        """
        self._stepper.put_down()
        self._faults.crash_next(crash_point(point))

    def drop_next_reply(self, method: str) -> None:
        """Have the next call of a method of a port have its effect, and its reply get lost.

        Whoever has called, server or worker, tries again, as it does when a connection breaks.

        Args:
            method: of `vecna.ports.Broker`, `Backend` or `Lock`: `settle`; also `broker.settle`.

        Raises:
            InvalidArgument: there is no such method; names the nearest.
        """
        self._stepper.put_down()
        self._faults.drop_next_reply(*port_method(method))

    @property
    def crashes(self) -> int:
        """How often a worker has died; see `crash_next`."""
        return self._faults.crashes


def checked_count(count: int, name: str) -> int:
    """A number of things, 1 or more.

    Raises:
        InvalidArgument: it is none.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InvalidArgument(f"{name} takes an int of 1 or more, not {count!r}")
    return count
