"""A message: a signature as the broker stores it."""

from __future__ import annotations

import datetime as dt

import attrs

from vecna.domain.signature import Signature


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
        code: the code shared with others; "" if it is the task's own id.
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
        return cls(
            signature.uuid,
            signature.queue or default_queue,
            signature.to_json(),
            signature.priority,
            signature.eta,
            signature.delay,
            "" if signature.code == signature.uuid else signature.code,
        )
