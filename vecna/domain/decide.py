"""What follows from the outcome of a run. Pure: outcome in, decision out.

One run's outcome goes through `decide` (end, or another run), is recorded, and what the backend then holds, which may
be another worker's earlier end, goes through `follow_ups`.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import attrs

from vecna.domain.arg import Arg, TaskResult
from vecna.domain.signature import Signature
from vecna.domain.state import State, TaskState


@attrs.frozen
class Attempts:
    """What a message has behind it; kept with the message, never in the signature.

    Attributes:
        retries: repeats that used up `retry_count`.
        repeats: all repeats, those of `RetryTaskLater` included: the attempt is 1 + repeats.
        parks: how often a worker that does not know the task put it back.
    """

    retries: int = 0
    repeats: int = 0
    parks: int = 0

    @property
    def attempt(self) -> int:
        """Which run comes next, from 1."""
        return 1 + self.repeats


@attrs.frozen
class Succeeded:
    """The task returned."""

    results: tuple[TaskResult, ...] = ()
    several: bool = False


#: What most tasks come to. As it cannot be changed, one is enough; so with the end that it leads to.
NO_RESULT: Final = Succeeded()


@attrs.frozen
class Failed:
    """The task raised, could not be called, or its result cannot travel.

    Attributes:
        error: text of the error, e.g. `RuntimeError: boom`.
        error_type: qualified name of the exception's class.
        traceback: the traceback as text.
        classes: qualified names of the class and its bases, for `retry_on`.
        permanent: another run would fail the same way: no retry.
        dead_reason: why it became a dead letter, "" if it did not.
    """

    error: str
    error_type: str = ""
    traceback: str = ""
    classes: tuple[str, ...] = ()
    permanent: bool = False
    dead_reason: str = ""


@attrs.frozen
class Postponed:
    """The task raised `RetryTaskLater`."""

    error: str
    delay: dt.timedelta


@attrs.frozen
class Canceled:
    """The task was cancelled, or expired, before or while it ran."""

    reason: str = "canceled"


Outcome = Succeeded | Failed | Postponed | Canceled


@attrs.frozen
class Repeat:
    """Run again after `delay`."""

    delay: dt.timedelta
    attempts: Attempts
    error: str
    error_type: str = ""
    traceback: str = ""


@attrs.frozen
class End:
    """The task ends in this state."""

    state: State
    results: tuple[TaskResult, ...] = ()
    several: bool = False
    error: str = ""
    error_type: str = ""
    traceback: str = ""
    dead_reason: str = ""


Decision = Repeat | End
_NO_RESULT: Final = End(State.SUCCESS)


def decide(
    signature: Signature, outcome: Outcome, attempts: Attempts, *, chance: float, canceled: bool = False
) -> Decision:
    """What a run's outcome means for the task.

    Args:
        signature: with the options in force filled in.
        outcome: of the run that has just ended.
        attempts: what lay behind the message before this run.
        chance: 0 <= chance < 1, drawn by the caller, for jitter.
        canceled: whether a cancel has reached it: then nothing repeats.
    """
    match outcome:
        case Succeeded(results, several):
            return End(State.SUCCESS, results, several) if results or several else _NO_RESULT
        case Canceled(reason):
            return End(State.CANCELED, error=reason)
        case Postponed(error, delay):
            if canceled:
                return End(State.CANCELED, error="canceled")
            again = attrs.evolve(attempts, repeats=attempts.repeats + 1)
            return Repeat(delay, again, error)
        case Failed():
            if attempts.retries >= signature.retry_count or not is_retried(signature, outcome):
                return End(
                    State.FAILURE,
                    error=outcome.error,
                    error_type=outcome.error_type,
                    traceback=outcome.traceback,
                    dead_reason=outcome.dead_reason,
                )
            if canceled:
                return End(State.CANCELED, error=f"canceled after {outcome.error}", error_type=outcome.error_type)
            again = attrs.evolve(attempts, retries=attempts.retries + 1, repeats=attempts.repeats + 1)
            wait = signature.retry.wait(again.retries, signature.retry_timeout, chance)
            return Repeat(wait, again, outcome.error, outcome.error_type, outcome.traceback)


def is_retried(signature: Signature, failure: Failed) -> bool:
    """Whether a failure of this kind is retried at all, counts aside."""
    if failure.permanent:
        return False
    classes = set(failure.classes)
    if classes.intersection(signature.no_retry_on):
        return False
    return not signature.retry_on or bool(classes.intersection(signature.retry_on))


def follow_ups(signature: Signature, recorded: TaskState) -> tuple[Signature, ...]:
    """What a finished task causes, from the state that the backend recorded.

    Success passes the results on behind each callback's own arguments, unless the signature is immutable. Failure
    passes the error text before them. A cancelled task causes nothing. What has too many arguments then cannot be
    written (`to_json` raises InvalidSignature): that concerns this one callback, not the others.
    """
    match recorded.state:
        case State.SUCCESS:
            passed = () if signature.immutable else tuple([Arg(item.type, item.value) for item in recorded.results])
            return tuple([callback.evolve(args=(*callback.args, *passed)) for callback in signature.on_success])
        case State.FAILURE:
            error = Arg("string", recorded.error)
            return tuple([callback.evolve(args=(error, *callback.args)) for callback in signature.on_error])
        case _:
            return ()
