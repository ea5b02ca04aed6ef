"""A message as a broker keeps it: where it stands, and what each call makes of it. Pure.

A broker adds what its store needs beside it: the place in a line, an index. It reads a message, calls one method, and
writes it back, in one step.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

import attrs

from vecna.domain.decide import Attempts
from vecna.domain.errors import InvalidSignature
from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.kit.rules import (
    after,
    answer_to,
    due_at,
    instant_of,
    is_forgiven,
    microseconds,
    stopped,
    verdict_after_lease,
)
from vecna.ports.values import Answer, Canceling, DeadLetter, Delivery, Place, SettleAs, Settlement, Standing, Verdict


@attrs.define(eq=False)
class Kept:
    """A message that a queue keeps.

    Attributes:
        queue, uuid, body, priority, code: of the message.
        enqueued_at: when the broker accepted it.
        due_at: the instant that it was enqueued for; None for at once.
        standing: where it stands; None once it is done, and to be removed.
        until: DELAYED: when it becomes pending.
        hold: HELD: under which name.
        token: LEASED: of the lease.
        attempts: what the last RETRY settlement kept.
        crashes: how many leases of it ran out.
        forgiven: whether one that ran out after an outage was not counted.
        verdict: why it must be ended and not run.
        flagged: whether it was cancelled while leased.
        settled: token and kind of the last settlement, by which a repeated call is known.
        reason: DEAD: why.
        died_at: DEAD: when.
    """

    COLUMNS: ClassVar[tuple[str, ...]]

    queue: str
    uuid: str
    body: bytes
    priority: int
    code: str
    enqueued_at: dt.datetime
    due_at: dt.datetime | None
    standing: Standing | None = Standing.PENDING
    until: dt.datetime | None = None
    hold: str = ""
    token: str = ""
    attempts: Attempts = Attempts()
    crashes: int = 0
    forgiven: bool = False
    verdict: Verdict | None = None
    flagged: bool = False
    settled: tuple[str, str] | None = None
    reason: str = ""
    died_at: dt.datetime | None = None

    @classmethod
    def of(cls, message: Message, now: dt.datetime, hold: str = "") -> Kept:
        """A message that is accepted now, and held back under a name if one is given."""
        due = due_at(message, now)
        kept = cls(message.queue, message.uuid, message.body, message.priority, message.code, now, due, hold=hold)
        if hold:
            kept.standing = Standing.HELD
        else:
            kept._wait_until(due, now)
        return kept

    # -- what calls make of it -----------------------------------------------------------------------------------------

    def become_due(self) -> None:
        """From DELAYED to PENDING: its time has come."""
        self._wait_until(None, self.enqueued_at)

    def let_go(self, now: dt.datetime, *, canceled: bool) -> None:
        """From HELD to where it would have gone without, or to be ended."""
        self.hold = ""
        if canceled:
            self._go_on(Verdict.CANCELED)
        else:
            self._wait_until(self.due_at, now)

    def lease(self, token: str) -> None:
        """To a lease."""
        self.standing, self.token = Standing.LEASED, token

    def run_out(self, *, spared: bool, max_deliveries: int) -> None:
        """From a lease that ran out to the head.

        Args:
            spared: whether an outage had made the lease last longer, and nobody has extended it since.
            max_deliveries: the crash limit.
        """
        if is_forgiven(spared=spared, forgiven=self.forgiven, crashes=self.crashes):
            self.forgiven = True
        else:
            self.crashes += 1
        is_dead = self.crashes >= max_deliveries
        self._go_on(verdict_after_lease(self.verdict, flagged=self.flagged, is_dead=is_dead))

    def settle(self, settlement: Settlement, now: dt.datetime) -> Answer:
        """End its lease as the settlement says; anything but OK: nothing has changed.

        RETURN goes to the head, the other ways to the end of a line. After DONE it stands nowhere.
        """
        answer = answer_to(settlement, token=self.token, settled=self.settled, flagged=self.flagged)
        if answer is not Answer.OK:
            return answer
        verdict = verdict_after_lease(self.verdict, flagged=self.flagged, settle=settlement.settle)
        self.settled = (settlement.token, settlement.settle)
        match settlement.settle:
            case SettleAs.DONE:
                self.standing, self.token = None, ""
            case SettleAs.DEAD:
                self.standing, self.token = Standing.DEAD, ""
                self.reason, self.died_at = settlement.reason, now
            case SettleAs.RETRY:
                self.attempts = settlement.attempts
                self._go_on(verdict, after(now, settlement.delay), now)
            case SettleAs.RETURN:
                self._go_on(verdict)
        return answer

    def cancel(self) -> Canceling:
        """Stop it; where it goes from one place to another, to the end of the line."""
        if self.standing is Standing.DEAD:
            return Canceling.UNKNOWN
        if self.verdict is Verdict.CANCELED:
            return stopped(crashes=self.crashes, forgiven=self.forgiven)
        if self.standing is Standing.LEASED:
            self.flagged = True
            return Canceling.RUNNING
        if self.standing is not Standing.ENDING:
            self._go_on(Verdict.CANCELED)
        return stopped(crashes=self.crashes, forgiven=self.forgiven)

    def purge(self) -> None:
        """From where it waits to be ended, to the end of the line."""
        self._go_on(Verdict.PURGED)

    def _go_on(self, verdict: Verdict | None, until: dt.datetime | None = None, now: dt.datetime | None = None) -> None:
        if verdict is None:
            self._wait_until(until, now or self.enqueued_at)
        else:
            self.standing, self.verdict, self.flagged = Standing.ENDING, verdict, False
            self.token, self.hold, self.until = "", "", None

    def _wait_until(self, until: dt.datetime | None, now: dt.datetime) -> None:
        is_due = until is None or until <= now
        self.standing, self.token = Standing.PENDING if is_due else Standing.DELAYED, ""
        self.until = None if is_due else until

    # -- what is told of it --------------------------------------------------------------------------------------------

    def delivery(self) -> Delivery:
        """As it is leased out."""
        what = (self.uuid, self.queue, self.body, self.token, self.attempts, self.crashes)
        return Delivery(*what, self.enqueued_at, self.due_at, self.verdict)

    def place(self) -> Place:
        """Where it stands."""
        standing = Standing.LEASED if self.standing is None else self.standing
        return Place(self.queue, standing, self.body, self.attempts, self.enqueued_at, self.until)

    def dead_letter(self) -> DeadLetter:
        """As a dead letter."""
        return DeadLetter(self.uuid, self.queue, self.reason, self.died_at or self.enqueued_at, self.body)

    @staticmethod
    def readable(kept: Iterable[Kept]) -> list[Signature]:
        """The signatures of messages, what they wait for as `eta`; those that cannot be read are left out."""
        calls: list[Signature] = []
        for each in kept:
            with suppress(InvalidSignature):
                call = Signature.from_json(each.body)
                calls.append(call if each.until is None else call.replace(eta=each.until))
        return calls

    # -- as a row ------------------------------------------------------------------------------------------------------

    def to_row(self) -> tuple[str | int | bytes | None, ...]:
        """As plain values, in the order of `COLUMNS`: texts, bytes, whole numbers (instants in microseconds), None."""
        return tuple([_plain(getattr(self, name)) for name in self.COLUMNS])

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Kept:
        """What `to_row` wrote."""
        fields = dict(zip(cls.COLUMNS, row, strict=True))
        for name in _INSTANTS:
            fields[name] = None if fields[name] is None else instant_of(fields[name])
        fields["standing"] = Standing(fields["standing"])
        fields["attempts"] = Attempts(*map(int, fields["attempts"].split()))
        fields["verdict"] = None if fields["verdict"] is None else Verdict(fields["verdict"])
        fields["settled"] = None if fields["settled"] is None else tuple(fields["settled"].split())
        return cls(**{**fields, "forgiven": bool(fields["forgiven"]), "flagged": bool(fields["flagged"])})


_INSTANTS: Final = ("enqueued_at", "due_at", "until", "died_at")


def _plain(value: Any) -> str | int | bytes | None:
    if isinstance(value, dt.datetime):
        return microseconds(value)
    if isinstance(value, Attempts):
        return f"{value.retries} {value.repeats} {value.parks}"
    if isinstance(value, tuple):
        return " ".join(value)
    if isinstance(value, str):  # an enum's too; a reason may be any text
        return str(value).encode(errors="replace").decode()
    return int(value) if isinstance(value, bool) else value


#: The columns of a table of such messages.
Kept.COLUMNS = tuple([field.name for field in attrs.fields(Kept)])
