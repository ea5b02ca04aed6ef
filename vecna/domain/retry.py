"""When a failed task runs again."""

from __future__ import annotations

import datetime as dt
import math
from typing import Final

import attrs

from vecna.domain.durations import LONGEST, to_duration
from vecna.domain.errors import InvalidArgument, InvalidSignature
from vecna.domain.shown import shown


def fibonacci_after(number: float) -> int:
    """The smallest Fibonacci number of 1, 2, 3, 5, 8 ... above `number` (as Machinery's `retry.FibonacciNext`)."""
    low, high = 0, 1
    while high <= number:
        low, high = high, low + high
    return high


@attrs.frozen
class Fibonacci:
    """Wait 1, 2, 3, 5, 8 ... seconds; with `retry_timeout` the n-th Fibonacci number above it.

    Machinery's rule, which the Go library documents for `RetryTimeout`.
    """

    def wait(self, retry: int, start: dt.timedelta, chance: float) -> dt.timedelta:
        """How long to wait before the `retry`-th repeat (1 is the first).

        Args:
            retry: which repeat, from 1.
            start: the task's `retry_timeout`.
            chance: 0 <= chance < 1, unused here.
        """
        number = start.total_seconds()
        for _ in range(retry):
            number = fibonacci_after(number)
            if number >= LONGEST.total_seconds():
                return LONGEST
        return dt.timedelta(seconds=number)


def _seconds(value: float | dt.timedelta) -> float:
    seconds = to_duration(value, "a wait of Exponential").total_seconds()
    if seconds <= 0:
        raise InvalidArgument("a wait of Exponential must be above 0")
    return seconds


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidArgument(f"Exponential's {what} takes a number, not {shown(value)}")
    try:
        return float.__float__(value) if isinstance(value, float) else int.__float__(value)
    except OverflowError:
        raise InvalidArgument(f"Exponential's {what} of {shown(value)} is out of range") from None


def _factor(value: float) -> float:
    factor = _number(value, "factor")
    if not math.isfinite(factor) or factor <= 0:
        raise InvalidArgument(f"Exponential's factor must be a finite number above 0, not {shown(value)}")
    return factor


def _share(value: float) -> float:
    share = _number(value, "jitter")
    if not 0 <= share <= 1:
        raise InvalidArgument(f"Exponential's jitter must lie between 0 and 1, not {shown(value)}")
    return share


@attrs.frozen
class Exponential:
    """Wait `base`, `base * factor`, `base * factor**2` ... seconds, at most `maximum`, less a random share.

    Args:
        base: the first wait, seconds or timedelta.
        factor: what each further wait is multiplied by.
        maximum: the longest wait, seconds or timedelta.
        jitter: share of the wait that chance may take away, 0 (none) to 1 (all).

    Raises:
        InvalidArgument: one of them is of another type or out of its range.
    """

    base: float = attrs.field(default=1.0, converter=_seconds)
    factor: float = attrs.field(default=2.0, converter=_factor)
    maximum: float = attrs.field(default=3600.0, converter=_seconds)
    jitter: float = attrs.field(default=0.5, converter=_share)

    def wait(self, retry: int, start: dt.timedelta, chance: float) -> dt.timedelta:
        """How long to wait before the `retry`-th repeat; never less than `retry_timeout`.

        Args:
            retry: which repeat, from 1.
            start: the task's `retry_timeout`.
            chance: 0 <= chance < 1, drawn by the caller.
        """
        try:
            wait = self.base * self.factor ** (retry - 1)
        except OverflowError:
            wait = math.inf
        wait = min(wait, self.maximum)
        wait *= 1 - self.jitter * chance
        return max(dt.timedelta(seconds=wait), start)


RetryPolicy = Fibonacci | Exponential
FIBONACCI: Final = Fibonacci()


def policy_to_plain(policy: RetryPolicy) -> dict[str, object]:
    """A policy as it stands in a message."""
    if isinstance(policy, Exponential):
        return {"Kind": "exponential", "Base": policy.base, "Factor": policy.factor, "Maximum": policy.maximum,
                "Jitter": policy.jitter}  # fmt: skip
    return {"Kind": "fibonacci"}


def policy_from_plain(plain: object) -> RetryPolicy:
    """The policy that stands in a message.

    Raises:
        InvalidSignature: it is none that this version knows.
    """
    if isinstance(plain, dict):
        if plain.get("Kind") == "fibonacci":
            return FIBONACCI
        if plain.get("Kind") == "exponential":
            try:
                return Exponential(
                    **{
                        key.lower(): plain[key]
                        for key in ("Base", "Factor", "Maximum", "Jitter")
                        if plain.get(key) is not None
                    }
                )
            except InvalidArgument as exc:
                raise InvalidSignature(f"Retry of the message: {exc}") from None
    raise InvalidSignature("Retry of the message is neither fibonacci nor exponential")
