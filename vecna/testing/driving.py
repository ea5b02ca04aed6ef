"""Going through the steps: in this thread alone, or with coroutine tasks on the event loop that runs just now."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from vecna.app.delivery_values import Item
from vecna.testing.coroutines import Coroutines, Stuck

#: Where errors are raised that a test has planned.
_PLANNED: Final = "vecna.testing.failing"


def owners_frames(exc: BaseException, package: str) -> BaseException:
    """The exception with a traceback that begins in the code of its owner, and not in ours.

    One that a test has planned comes from nowhere; one that is ours keeps all.
    """
    frames, last = exc.__traceback__, ""
    while frames is not None:
        last = frames.tb_frame.f_globals.get("__name__", "")
        if last.partition(".")[0] != package:
            return exc.with_traceback(frames)
        frames = frames.tb_next
    return exc.with_traceback(None) if last == _PLANNED else exc


def drain(steps: Generator[Item, None, int], coroutines: Coroutines) -> int:
    """Run all steps in this thread."""
    while True:
        try:
            item = next(steps)
        except StopIteration as end:
            return int(end.value)
        try:
            coroutines.run(item)
        except Stuck:
            steps.close()
            item.exception = None  # the one that says more is raised here
            raise RuntimeError(
                f"coroutine task {item.name} waits for something that nothing here will bring: the harness runs one "
                "task at a time. It was cancelled"
            ) from None


async def adrain(steps: Generator[Item, None, int], coroutines: Coroutines) -> int:
    """Run all steps, coroutines on the loop that runs just now."""
    while True:
        try:
            item = next(steps)
        except StopIteration as end:
            return int(end.value)
        await coroutines.arun(item)
