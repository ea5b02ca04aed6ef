"""The options in force, as far as a signature knows them: what is set in it, else the defaults."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from vecna.domain.options import DEFAULTS
from vecna.domain.retry import RetryPolicy


class OptionsInForce:
    """Reads `set_options`, with the defaults behind."""

    __slots__ = ()

    #: The options that were set, in their one spelling. Everything else is open to the registration.
    set_options: Mapping[str, Any]

    def _option(self, name: str) -> Any:
        return self.set_options.get(name, DEFAULTS[name])

    @property
    def queue(self) -> str:
        """The queue it goes to; "" for the registration's, else the default queue."""
        return self._option("queue")  # type: ignore[no-any-return]  # checked when set

    @property
    def routing_key(self) -> str:
        """The same as `queue`."""
        return self.queue

    @property
    def eta(self) -> dt.datetime | None:
        """Not before this instant (UTC)."""
        return self._option("eta")  # type: ignore[no-any-return]  # checked when set

    @property
    def delay(self) -> dt.timedelta | None:
        """Not before this long after it was enqueued."""
        return self._option("delay")  # type: ignore[no-any-return]  # checked when set

    @property
    def expires(self) -> dt.datetime | dt.timedelta | None:
        """Not started by then (instant, or duration from enqueueing): CANCELED."""
        return self._option("expires")  # type: ignore[no-any-return]  # checked when set

    @property
    def timeout(self) -> dt.timedelta | None:
        """Run time allowed to one attempt."""
        return self._option("timeout")  # type: ignore[no-any-return]  # checked when set

    @property
    def retry_count(self) -> int:
        """How often it runs again after the first failure."""
        return self._option("retry_count")  # type: ignore[no-any-return]  # checked when set

    @property
    def retry_timeout(self) -> dt.timedelta:
        """Where the waits between repeats begin, see `Fibonacci`."""
        return self._option("retry_timeout")  # type: ignore[no-any-return]  # checked when set

    @property
    def retry(self) -> RetryPolicy:
        """How the waits between repeats grow."""
        return self._option("retry")  # type: ignore[no-any-return]  # checked when set

    @property
    def retry_on(self) -> tuple[str, ...]:
        """Names of the exception classes that are retried; empty for all."""
        return self._option("retry_on")  # type: ignore[no-any-return]  # checked when set

    @property
    def no_retry_on(self) -> tuple[str, ...]:
        """Names of the exception classes that are not retried."""
        return self._option("no_retry_on")  # type: ignore[no-any-return]  # checked when set

    @property
    def priority(self) -> int:
        """0 to 9, higher is served first within a queue."""
        return self._option("priority")  # type: ignore[no-any-return]  # checked when set

    @property
    def immutable(self) -> bool:
        """Whether its results are kept from callbacks and the next link."""
        return self._option("immutable")  # type: ignore[no-any-return]  # checked when set

    @property
    def pass_result(self) -> bool:
        """The opposite of `immutable`."""
        return not self.immutable

    @property
    def keep_result(self) -> bool:
        """Whether its result is kept after the end."""
        return self._option("keep_result")  # type: ignore[no-any-return]  # checked when set

    @property
    def ignore_when_task_not_registered(self) -> bool:
        """Whether a worker that does not know the name ends it as FAILURE, instead of leaving it to others."""
        return self._option("ignore_when_task_not_registered")  # type: ignore[no-any-return]  # checked when set
