"""When a schedule is due, as a program says it."""

from __future__ import annotations

import datetime as dt
from typing import Self

import attrs

from vecna.domain.errors import InvalidArgument
from vecna.domain.ids import check_id
from vecna.domain.schedule import MISSED, Missed, check_kind
from vecna.domain.spec import Spec, parse_spec


@attrs.frozen
class When:
    """The keywords that all periodic calls have in common, checked.

    Attributes:
        spec: when it is due.
        code: what it is called; "" if that follows from what is sent.
        missed: what to do about occurrences when no worker was there.
        overlap: whether an occurrence may begin while an earlier one is not over.
    """

    spec: Spec
    code: str
    missed: Missed
    overlap: bool

    @classmethod
    def of(
        cls,
        spec: str | dt.timedelta,
        *,
        code: str | None = None,
        timezone: str = "UTC",
        missed: Missed = "once",
        overlap: bool = True,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> Self:
        """Check what was given.

        Raises:
            InvalidSpec: spec, timezone, missed, start or end.
            InvalidArgument: code or overlap.
        """
        check_kind(missed, MISSED, "missed")
        if not isinstance(overlap, bool):
            raise InvalidArgument(f"overlap is True or False, not {type(overlap).__name__}")
        return cls(
            parse_spec(spec, timezone, start=start, end=end),
            "" if code is None else check_id(code, "code of a schedule"),
            missed,
            overlap,
        )
