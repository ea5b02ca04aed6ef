"""What is known of tasks: states and results."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Sequence

from vecna.domain.state import TaskState
from vecna.ports.plans import Plans


class States(ABC):
    """Records of tasks, by id. All methods are atomic per id, may be repeated, and take any number of ids."""

    @abstractmethod
    def put_states(self, states: Sequence[TaskState]) -> list[TaskState]:
        """Record states, each if it may follow what is recorded (`TaskState.gives_way_to`).

        The first end state of a task wins and is never changed by `put_states` again. Other states move forward by
        (lease counter, rank), so a late writer with an old lease changes nothing. End states are stored without
        expiry until `release`, other states for as long as it takes. Whoever awaits an id is told of its end.

        Returns:
            For each, what is recorded now: the given state, or the one that stood against it.

        Raises:
            BrokerUnavailable: the store cannot be reached or refuses to write; all, some or none were recorded, and
                the call may be repeated.
        """

    @abstractmethod
    def get_state(self, uuid: str) -> TaskState | None:
        """What is recorded for one id; None if nothing, or expired."""

    @abstractmethod
    def get_states(self, uuids: Sequence[str]) -> list[TaskState | None]:
        """What is recorded for each id, in order. An unreadable end is a FAILURE that says so."""

    @abstractmethod
    def release(self, uuids: Sequence[str], keep: dt.timedelta) -> None:
        """Start the expiry of end states: each is dropped `keep` from now, by the store's clock; 0 or less: at once.

        Ids without an end state, or released before, are left alone.
        """

    @abstractmethod
    def forget(self, uuids: Sequence[str]) -> None:
        """Drop all that is recorded for these ids, now."""

    @abstractmethod
    def unreleased(self, age: dt.timedelta, limit: int) -> list[str]:
        """Ids whose end was recorded at least `age` ago and never released, oldest first, at most `limit`.

        They are those whose worker died after recording; a sweeper releases them once the broker has let go of them.
        """

    @abstractmethod
    def waiting_callbacks(self, age: dt.timedelta, limit: int) -> list[str]:
        """Ids that were recorded at least `age` ago as `TaskState.is_waiting_callback`, and still are so; oldest first.

        At most `limit`. Recorded again they count as new. A sweeper forgets those whose parent was never sent.
        """


class Listener(ABC):
    """Hears of the end of tasks. One connection, however many ids. `watch`, `unwatch` and `close` from any thread."""

    @abstractmethod
    def watch(self, uuids: Sequence[str]) -> None:
        """Begin to listen for these ids. An end recorded after the return is heard; read the state after it."""

    @abstractmethod
    def unwatch(self, uuids: Sequence[str]) -> None:
        """Stop listening for these ids."""

    @abstractmethod
    def poll(self, timeout: float) -> list[str]:
        """Wait up to `timeout` seconds for news; called by one thread at a time.

        Returns:
            Ids whose end was recorded; a hint, which may be lost (a cut connection) or come for nothing: read the
            state. Empty after the timeout, after `close`, and when `wake` was called.

        Raises:
            BrokerUnavailable: the connection is lost; the next call connects and subscribes again.
        """

    @abstractmethod
    def wake(self) -> None:
        """End the `poll` that is under way, or else the next one."""

    @abstractmethod
    def close(self) -> None:
        """Stop listening; ends a `poll` under way. May be repeated."""


class Waiting(ABC):
    """Hearing of ends."""

    @abstractmethod
    def listen(self) -> Listener:
        """A new listener; it opens its connection when first used."""


class Backend(States, Waiting, Plans, ABC):
    """Where states and results are kept."""

    @abstractmethod
    def close(self) -> None:
        """Close what this object opened in this process. May be repeated; a later call opens it again."""
