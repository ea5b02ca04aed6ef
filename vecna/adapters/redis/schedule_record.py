"""A schedule as Redis keeps it: what changes with each firing as a line of text, the rest as JSON."""

from __future__ import annotations

import re
from typing import Final

import attrs

from vecna.domain.errors import InvalidSignature
from vecna.domain.schedule import ScheduleRecord
from vecna.kit.rules import instant_of, microseconds

_HEAD: Final = re.compile(rb"([0-9]+) (-?[0-9]+) ([01]) ([0-9]+) (\S+) (\S*)")
_NEVER: Final = b"-"


def head(record: ScheduleRecord) -> str:
    """What scripts read and write of it: '<version> <next> <paused> <skipped> <last or -> <uuid>'."""
    last = "-" if record.last_fire_at is None else microseconds(record.last_fire_at)
    due, paused = microseconds(record.next_fire_at), "1" if record.paused else "0"
    return f"{record.version} {due} {paused} {record.skipped} {last} {record.last_uuid}"


@attrs.frozen
class Stored:
    """What there is under a code.

    Attributes:
        code: the code.
        head: the line; None if there is none.
        record: the JSON; None if there is none.
        removed_at: when the code was removed last, microseconds since 1970; None if that is not known.
        version: the version that it had then; 0 if it had none.
    """

    code: str
    head: bytes | None
    record: bytes | None
    removed_at: bytes | None = None
    version: int = 0

    def read(self) -> ScheduleRecord | None:
        """The schedule; None if there is none.

        Raises:
            InvalidSignature: it cannot be read.
        """
        if self.head is None and self.record is None:
            return None
        try:
            read = self._with_head(ScheduleRecord.from_json(self.record or b""))
        except InvalidSignature as exc:
            raise InvalidSignature(f"schedule {self.code}: {exc}; send it again, or cancel it") from None
        if read is None or read.code != self.code:
            raise InvalidSignature(f"schedule {self.code} cannot be read; send it again, or cancel it")
        return read

    def _with_head(self, record: ScheduleRecord) -> ScheduleRecord | None:
        match = _HEAD.fullmatch(self.head or b"")
        if match is None:
            return None
        version, due, paused, skipped, last, uuid = match.groups()
        try:
            return attrs.evolve(
                record,
                version=int(version),
                next_fire_at=instant_of(int(due)),
                paused=paused == b"1",
                skipped=int(skipped),
                last_fire_at=None if last == _NEVER else instant_of(int(last)),
                last_uuid=uuid.decode(),
            )
        except ValueError:
            return None

    def is_removed_since(self, began_at: int) -> bool:
        """Whether it was removed at this instant (microseconds since 1970) or later."""
        return self.removed_at is not None and float(self.removed_at) >= began_at

    def replaced_by(self, new: ScheduleRecord) -> tuple[ScheduleRecord | None, ScheduleRecord]:
        """What stands now, and what does after `new` was sent under this code: the same object if nothing changes.

        Of what cannot be read, the readable part is kept.
        """
        try:
            stands = self.read()
        except InvalidSignature:
            # Sending it again heals it: whatever the rest says, this is a change of it.
            kept = self._with_head(new)
            if kept is not None:
                return None, attrs.evolve(kept, version=kept.version + 1, next_fire_at=new.next_fire_at)
            stands = None
        if stands is not None:
            return stands, stands.replaced_by(new)
        # Versions go on over a removal: a firing that was decided before it must not hit what came after.
        return None, attrs.evolve(new, version=max(new.version, self.version + 1))
