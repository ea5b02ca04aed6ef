"""What `Task.every(...)` returns: a task with its times, waiting for its arguments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, ParamSpec

from vecna.app.schedule_handles import Schedule
from vecna.app.twins import blocking
from vecna.domain.signature import Signature

P = ParamSpec("P")
_Signature = Signature[Any]


class Every(Generic[P]):
    """A task that is to run again and again, typed as the task is.

    Args:
        signature: makes the call of its arguments.
        store: stores it as a schedule.
        store_async: the same without blocking the event loop.
    """

    def __init__(
        self,
        signature: Callable[P, _Signature],
        store: Callable[[_Signature], Schedule],
        store_async: Callable[[_Signature], Awaitable[Schedule]],
    ) -> None:
        self._signature = signature
        self._store = store
        self._store_async = store_async

    @blocking
    def send(self, *args: P.args, **kwargs: P.kwargs) -> Schedule:
        """Store the schedule, with these arguments for every run; see `Server.send_periodic_task`.

        Returns:
            Its handle.

        Raises:
            TypeError: the function cannot be called so.
            InvalidArgument, InvalidSignature, InvalidSpec: it cannot be sent so, or nothing comes any more.
            BrokerUnavailable: the broker could not be reached within `Config.send_timeout`.
        """
        return self._store(self._signature(*args, **kwargs))

    async def send_async(self, *args: P.args, **kwargs: P.kwargs) -> Schedule:
        """As `send`, without blocking the event loop."""
        return await self._store_async(self._signature(*args, **kwargs))
