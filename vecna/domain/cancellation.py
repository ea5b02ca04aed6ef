"""What a cancel found."""

from __future__ import annotations

import attrs


@attrs.frozen
class Cancellation:
    """What became of what was to be cancelled. True when nothing of it runs, has finished or is unknown.

    Attributes:
        canceled: ids of tasks that will never start, on any worker; those that were cancelled before included.
        running: ids of tasks that are, or possibly still are, in the hands of a worker, which was told to stop.
        finished: ids of tasks that had ended already.
        unknown: ids that neither broker nor backend knows.
        schedules: codes of the schedules that were removed.
    """

    canceled: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    finished: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not (self.running or self.finished or self.unknown)
