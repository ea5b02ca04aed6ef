"""What the onlooker knows of workflows and schedules: what was given up, and of what a firing was made."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

from vecna.ports.schedules import Fired

_DIED = "its sender died"


class PlanBooks:
    """Watches commits: a workflow that was given up is not let go any more.

    Args:
        witness: whose books these are.
    """

    def __init__(self, witness: Any) -> None:
        self._witness = witness
        self._committed: set[str] = set()
        self._given_up: set[str] = set()
        self.watches = {"commit_plan": self._commit, "report": self._report, "release_plan": self._release}

    def _commit(self, process: Any, args: Any, answer: bool) -> None:
        root = args[0]
        if answer and root in self._given_up:
            raise self._witness.violated("4 nothing starts until all is there", f"{root} was given up, and is let go")
        if answer:
            self._committed.add(root)

    def _report(self, process: Any, args: Any, answer: Any) -> None:
        for each in args[0]:
            if each.reason.startswith(_DIED) and each.node not in self._committed:
                self._given_up.add(each.node)

    def _release(self, process: Any, args: Any, answer: Any) -> None:
        root, keep = args
        if keep < dt.timedelta(minutes=10):  # within a history it may be sent anew
            self._given_up.discard(root)


class ScheduleBooks:
    """Watches firings: each of what stands, and on to what lies ahead.

    Args:
        witness: whose books these are.
    """

    def __init__(self, witness: Any) -> None:
        self._witness = witness
        self.fired: Counter[tuple[str, dt.datetime]] = Counter()
        self.registrations: list[int] = []
        self.stored: dict[str, Any] = {}  # as they were first stored
        self._stands: dict[str, tuple[int, int]] = {}  # which one under a code, counted from 1, and its version
        self._count = 0
        self._read: dict[tuple[str, str], int] = {}  # (who, code): which one it has read last
        self.watches = {
            "fire": self._fire,
            "put_schedule": self._put,
            "due_schedules": self._look,
            "get_schedules": self._get,
            "remove_schedule": self._remove,
        }

    def _fire(self, process: Any, args: Any, answer: Any) -> None:
        witness, now = self._witness, self._witness.clock.now()
        for call, said in zip(args[0], answer, strict=True):
            witness.note(process, "fire", call.code, call.due.strftime("%M:%S"), str(said))
            if said is not Fired.FIRED:
                continue
            extra = call.following == call.due
            if call.occurred_at is not None and not extra:
                self.fired[call.code, call.occurred_at] += 1
            if call.following is not None and call.following <= now and not (call.may_be_past or extra):
                raise witness.violated("8 the next occurrence lies ahead", f"{call.code} is due at {call.following}")
            stands, read = self._stands.get(call.code), self._read.get((process.identity, call.code))
            if stands is not None and read != stands[0] and not witness.duplicate:
                raise witness.violated("8 what is fired is what stands", f"{call.code}: {process} has read another one")
            if call.following is None:
                self._stands.pop(call.code, None)

    def _look(self, process: Any, args: Any, answer: Any) -> None:
        if args and args[0] == 0:  # whoever is about to store one: what it stores counts from here
            self.registrations.append(self._witness.note(process, "begins to register"))
        self._reads(process, answer.records)

    def _get(self, process: Any, args: Any, answer: Any) -> None:
        self._reads(process, answer)

    def _reads(self, process: Any, records: Any) -> None:
        for record in records:
            if record is not None and record.code in self._stands:
                self._read[process.identity, record.code] = self._stands[record.code][0]

    def _put(self, process: Any, args: Any, answer: Any) -> None:
        if answer is None:
            return
        self.stored.setdefault(answer.code, answer)
        stands = self._stands.get(answer.code)
        if stands is None or stands[1] != answer.version:
            self._count += 1
            self._stands[answer.code] = (self._count, answer.version)

    def _remove(self, process: Any, args: Any, answer: bool) -> None:
        self._stands.pop(args[0], None)
