"""What a queue keeps: messages, leases, holds."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict

import attrs

from vecna.domain.decide import Attempts
from vecna.domain.message import Message
from vecna.ports.values import SettleAs, Standing, Verdict


@attrs.define(eq=False)
class Held:
    """A message that the queue holds, and what has happened to it."""

    message: Message
    enqueued_at: dt.datetime
    due_at: dt.datetime | None
    standing: Standing = Standing.PENDING
    hold: str = ""  # of the workflow that it waits for
    attempts: Attempts = Attempts()
    crashes: int = 0
    forgiven: bool = False  # a lease of it that ran out after an outage was not counted
    verdict: Verdict | None = None
    flagged: bool = False  # cancelled while leased
    token: str = ""  # of the lease that holds it
    settled: tuple[str, SettleAs] | None = None  # how the last lease ended, to know a repeated call
    reason: str = ""
    died_at: dt.datetime | None = None


@attrs.define(eq=False)
class HeldLease:
    """A lease and the messages that it still holds, in the order in which they were delivered."""

    number: int
    token: str
    messages: dict[str, Held]
    spared: bool = False  # an outage made it last longer; nobody has extended it since


@attrs.define(eq=False)
class Hold:
    """Messages that are held back until their whole workflow is here."""

    began_at: dt.datetime
    messages: OrderedDict[str, Held] = attrs.field(factory=OrderedDict)


@attrs.define(eq=False)
class Call:
    """The newest lease call of one worker."""

    number: int
    token: str
    made_at: dt.datetime
