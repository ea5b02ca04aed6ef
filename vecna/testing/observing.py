"""What a test can ask and claim about what has happened."""

from __future__ import annotations

from collections import Counter
from typing import Any

from vecna.app.task import AnyTask
from vecna.domain.signature import Signature
from vecna.testing.sent import SentTasks


class Observing:
    """The part of the harness that is asked."""

    _sent: SentTasks
    _executed: Counter[str]

    def executed(self, name: AnyTask | str) -> int:
        """How many times a task was run, repeats included.

        Raises:
            InvalidArgument: no task is called so, but one is called nearly so.
        """
        return self._executed[self._sent.name_of(name)]

    def sent(self, name: AnyTask | str | None = None) -> list[Signature[Any]]:
        """The calls of a task that were sent, in order; of all tasks, if left out.

        By whomever: the test, other tasks, chains, callbacks, schedules. A later link counts when its turn has come.

        Raises:
            InvalidArgument: no task is called so, but one is called nearly so.
        """
        return self._sent.signatures(name)

    def assert_sent(self, name: AnyTask | str, /, **match: object) -> Signature[Any]:
        """Check that a task was sent.

        Args:
            name: the task.
            **match: the values of its arguments by name, as the function gets them, and of attributes of the signature:
                `queue="mail"`. Those left out may be anything.

        Returns:
            The first that matches.

        Raises:
            AssertionError: none was; it shows what was sent instead.
            InvalidArgument: no task, parameter or attribute is called so.
        """
        __tracebackhide__ = True
        found = self._sent.matching(name, match)
        if not found:
            raise AssertionError(self._sent.complaint(name, match))
        return found[0]

    def assert_not_sent(self, name: AnyTask | str, /, **match: object) -> None:
        """Check that a task was not sent, at all or with these arguments; see `assert_sent`.

        Raises:
            AssertionError: it was.
            InvalidArgument: no task, parameter or attribute is called so.
        """
        __tracebackhide__ = True
        found = self._sent.matching(name, match)
        if found:
            raise AssertionError(f"{self._sent.name_of(name)} was sent {len(found)} times: {self._sent.shown(found)}")
