"""What no worker knows is looked at less and less often."""

from __future__ import annotations

import datetime as dt
from typing import Final

import attrs

from vecna.app.delivery_values import Item, Parked

#: Times that it is put back as in production; there it would be once a minute, for a year.
_PATIENT: Final = 6
_LONGEST_PARK: Final = 86_400.0


def be_patient(item: Item, park_limit: int | None) -> None:
    """Put back for longer what was put back often, unless that is counted."""
    decision = item.decision
    if isinstance(decision, Parked) and item.task is None and park_limit is None:
        parks = decision.attempts.parks
        if parks > _PATIENT:
            delay = dt.timedelta(seconds=min(2.0 ** min(parks, 30), _LONGEST_PARK))
            item.decision = attrs.evolve(decision, delay=delay)
