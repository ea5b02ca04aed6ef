"""What a supervisor knows of its children, and what it makes of it when one dies."""

from __future__ import annotations

import attrs

from vecna.app.group.reports import Held
from vecna.ports.values import Settlement


@attrs.define
class Run:
    """A task that a child holds.

    Attributes:
        name: of the task.
        until: its hard limit, by the monotonic clock.
        passed: its child has said itself that it is over that.
    """

    name: str
    until: float
    passed: bool = False


@attrs.define
class Books:
    """What is known of one child.

    Attributes:
        heard_at: when it last said all that it holds.
        reported: that, and what came since: reports by queue and token, and when they came.
        ended: tasks whose runs were over since then.
        asked: by queue, as whom and with which number it asked last, if it has not said what it got.
        silent: that it is was logged.
        guilty: what it is killed for.
    """

    heard_at: float
    reported: dict[tuple[str, str], tuple[Held, float]] = attrs.field(factory=dict)
    ended: set[str] = attrs.field(factory=set)
    asked: dict[str, tuple[str, int]] = attrs.field(factory=dict)
    silent: bool = False
    guilty: frozenset[str] = frozenset()

    def runs(self, held: Held, at: float, to_record: float) -> dict[str, Run]:
        """What is held under a lease. Only now is the report looked into: most leases are over long before.

        Args:
            held: as it was reported.
            at: when.
            to_record: seconds until the hard limit of what only waits to be recorded: it is not held for ever either.
        """
        return {
            run.uuid: Run(
                run.name,
                at + (to_record if run.left is None or run.uuid in self.ended else run.left),
                passed=run.left is not None and run.left <= 0,
            )
            for run in held.runs()
        }


@attrs.define
class Estate:
    """What a dead child held of one queue.

    Attributes:
        queue: the queue.
        returned: these go back uncounted, first.
        tokens: what is left under these goes back as after a crash.
        asked: as whom and with which number it asked for more; what it got it has not begun to run.
        until: when the leases have run out by themselves, by the monotonic clock.
    """

    queue: str
    until: float
    returned: list[Settlement] = attrs.field(factory=list)
    tokens: list[str] = attrs.field(factory=list)
    asked: tuple[str, int] | None = None
