"""The job: one task per file, one that is repeated, one that is delayed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.demo.screen import Screen
from examples.demo.tasks import TextStatistics, greet, measure, measure_async, server, unsteady
from examples.demo.workers import Check
from vecna import AsyncResult, State, VecnaError

DELAY = 2.0  # seconds
LONGEST_RUN = 60.0  # seconds until the demo gives up
_TICK = 0.1  # seconds between two looks at what is still under way


@dataclass
class Outcome:
    """What became of the job; an error stands where a task has failed."""

    statistics: dict[Path, TextStatistics | VecnaError]
    repeated: int | VecnaError
    greeting: str | VecnaError
    greeting_after: float
    seconds: float
    by_worker: Counter[str]


async def run_job(files: Sequence[Path], screen: Screen, check: Check) -> Outcome:
    """Send everything, show how far it is, and gather the results.

    Args:
        files: what to measure.
        screen: where progress is shown.
        check: called now and then; raises if the workers are not well.
    """
    clock = asyncio.get_running_loop().time
    start = clock()
    # Sent first: they take longest. Each call returns at once, with a handle.
    unsteady_handle = await unsteady.send_async()
    due = clock() + DELAY  # at the earliest: the delay counts from when the broker has accepted the task
    greet_handle = await greet.options(delay=DELAY).send_async("later")
    # Every second file is measured by a function, the others by a coroutine; all are sent in one round trip.
    calls = [(measure if number % 2 else measure_async).signature(path) for number, path in enumerate(files)]
    before = clock()
    handles = await server.send_tasks_async(calls)
    screen.progress(f"sent {len(handles)} tasks in {1000 * (clock() - before):.0f} ms", last=True)

    measured = [asyncio.ensure_future(_value(handle)) for handle in handles]
    repeated = asyncio.ensure_future(_value(unsteady_handle))
    greeting = asyncio.ensure_future(_value(greet_handle))
    greeted_at: list[float] = []
    greeting.add_done_callback(lambda _: greeted_at.append(clock()))

    under_way: set[asyncio.Future[Any]] = {*measured, repeated, greeting}
    while under_way:
        _, under_way = await asyncio.wait(under_way, timeout=_TICK)
        check()
        notes = [f"files {sum(future.done() for future in measured)}/{len(measured)}"]
        if not repeated.done():
            notes.append(await _how_it_goes(unsteady_handle))
        if not greeting.done():
            notes.append(f"delayed task: due in {max(0.0, due - clock()):.1f} s")
        screen.progress(" | ".join(notes), last=not under_way)

    uuids = [unsteady_handle.uuid, greet_handle.uuid, *[handle.uuid for handle in handles]]
    states = await asyncio.to_thread(server.backend.get_states, uuids)
    await asyncio.to_thread(server.backend.forget, uuids)  # a demo leaves no results behind
    return Outcome(
        statistics={path: future.result() for path, future in zip(files, measured, strict=True)},
        repeated=repeated.result(),
        greeting=greeting.result(),
        greeting_after=greeted_at[0] - (due - DELAY),
        seconds=clock() - start,
        by_worker=Counter(state.worker for state in states if state),
    )


async def _value(handle: AsyncResult[Any]) -> Any:
    """What the task returned, or the error with which it ended."""
    try:
        return await handle.get_async(timeout=LONGEST_RUN)
    except VecnaError as error:
        return error


async def _how_it_goes(handle: AsyncResult[int]) -> str:
    state = await handle.get_state_async()
    if state.state is State.RETRY:
        return f"unsteady task: attempt {state.attempt} failed, waits"
    return f"unsteady task: {state.state}"
