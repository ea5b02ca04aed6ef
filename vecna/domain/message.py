"""A message: a signature as the broker stores it."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Final

import attrs

from vecna.domain.ids import ALLOWED
from vecna.domain.signature import Signature

_OCCURRENCES: Final = "@schedule"


@attrs.frozen
class Message:
    """What a broker is given to keep, keyed by the task's id.

    Attributes:
        uuid: the task's id.
        queue: where it goes.
        body: the signature's JSON, opaque to the broker.
        priority: 0 to 9, higher is leased first.
        due: not to be leased before this instant; None for at once.
        delay: the same, counted by the broker's own clock from when it accepts the message.
        code: the code shared with others; "" if it is the task's own id. Occurrences of a schedule share one of their
            own (`code_of_occurrences`): a cancel of the schedule does not reach other tasks under its code.
    """

    uuid: str
    queue: str
    body: bytes
    priority: int = 0
    due: dt.datetime | None = None
    delay: dt.timedelta | None = None
    code: str = ""

    @classmethod
    def of(cls, signature: Signature, default_queue: str) -> Message:
        """The message of a signature."""
        option = signature.set_options.get
        return cls(
            signature.uuid,
            option("queue") or default_queue,
            signature.to_json(),
            option("priority", 0),
            option("eta"),
            option("delay"),
            _shared_code(signature),
        )


def _shared_code(signature: Signature) -> str:
    if signature.spec:
        return code_of_occurrences(signature.code)
    return "" if signature.code == signature.uuid else signature.code


def code_of_occurrences(code: str) -> str:
    """What the messages of all occurrences of a schedule share, and those of no other task."""
    made = code + _OCCURRENCES
    return made if ALLOWED.fullmatch(made) else str(uuid.uuid5(uuid.NAMESPACE_OID, made))
