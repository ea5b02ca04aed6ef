"""Finishing deliveries: record the end, find what follows from what is recorded, settle, relay, release.

The order makes each crash harmless: a message is settled only when its end is recorded, its follow-ups are enqueued in
the same step as the settlement, and the record begins to expire only after that.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import attrs

from vecna import log
from vecna.app.conclusion import Ended, conclude
from vecna.app.delivery_failure import error_text
from vecna.app.delivery_release import Releases
from vecna.app.delivery_values import Item, Launched, Parked, QueuesAway, Wiring, with_options
from vecna.app.launchers import RESERVED, WHICH
from vecna.app.launching import Launching
from vecna.app.signing import message_of, signed_plans
from vecna.app.stopping import marked, slowed
from vecna.domain.codec import MAX_MESSAGE
from vecna.domain.decide import NO_RESULT, Attempts, Decision, End, Repeat, decide
from vecna.domain.errors import BrokerUnavailable, InvalidArgument, InvalidSignature
from vecna.domain.making import maker
from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.domain.state import FINAL, State, TaskState
from vecna.ports.values import Answer, SettleAs, Settlement

#: Tasks of a workflow that are looked up or released by one call.
#: Relays of one queue in one go; what is left after that is the sweeper's.
_RELAYS = 20
#: Workflows one after the other that cannot be asked, until no more are tried.
_ENOUGH: Final = 2
#: Tuples: unions would be made anew for every task.
_PREPARED: Final = (Launched, Parked)
_DECISIONS: Final = (End, Repeat)
_REPEATED: Final = (Repeat, Parked)
_LONG_AGO: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@attrs.frozen
class _Caused:
    """What follows from one end.

    Attributes:
        messages: to be enqueued.
        goes_on: its workflow does, and needs its result.
        ended_roots: workflows that have succeeded with it: all of them is over.
        failed_roots: workflows that have failed with it: parts of them may go on.
        never: ids of tasks that it was to launch, and that will never run.
    """

    messages: tuple[Message, ...] = ()
    goes_on: bool = False
    ended_roots: tuple[str, ...] = ()
    failed_roots: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


_NOTHING = _Caused()
_made: Final = maker(Settlement)
_NO_DELAY: Final = dt.timedelta(0)
_NO_ATTEMPTS: Final = Attempts()


class Finisher:
    """Brings batches of deliveries to their end. For one thread at a time.

    Args:
        wiring: of the server.
        worker: name of the worker, for the records.
    """

    def __init__(self, wiring: Wiring, worker: str) -> None:
        self._wiring = wiring
        self._worker = worker
        self._launching = Launching(wiring)
        self._to_relay: set[str] = set()
        self._releases = Releases(wiring)

    @property
    def owes(self) -> bool:
        """Whether a call was broken off between settling and releasing; the next one makes up for it."""
        return bool(self._to_relay or self._releases)

    def finish(self, items: Sequence[Item], notes: Sequence[TaskState] = ()) -> None:
        """Go on with each item from where it stands, to `over`.

        Args:
            items: deliveries with an outcome, a decision or a recorded end, and whose leases are not known to be lost.
            notes: further states to write with theirs.

        Raises:
            BrokerUnavailable: broker or backend cannot be reached. Call again with the same items; nothing is done
                twice.
            QueuesAway: the same, of the items of some queues or workflows only.
        """
        items = [item for item in items if not item.over]
        for item in items:
            if item.decision is None and item.recorded is None:
                item.decision = self._decide(item)
        self._record(items, notes)
        away, workflows = self._settle(items)
        away.update(self._relay())
        self._releases.carry_out()
        if away or workflows:
            raise QueuesAway(away, workflows)

    def _decide(self, item: Item) -> Decision | Launched | Parked:
        assert item.outcome is not None
        if item.outcome is NO_RESULT:  # nearly always: no dice are cast for it
            return decide(item.signature, item.outcome, item.delivery.attempts, chance=0.0, canceled=item.canceled)
        if isinstance(item.outcome, _PREPARED):
            return item.outcome
        chance = self._wiring.random.random()
        return decide(item.signature, item.outcome, item.delivery.attempts, chance=chance, canceled=item.canceled)

    # -- record ------------------------------------------------------------------------------------------------------

    def _record(self, items: Sequence[Item], notes: Sequence[TaskState] = ()) -> None:
        open_items = [item for item in items if item.recorded is None and isinstance(item.decision, _DECISIONS)]
        states = [*notes, *map(self._state, open_items)]
        if states:
            recorded = self._wiring.backend.put_states(states)
            for item, state in zip(open_items, recorded[len(notes) :], strict=True):
                item.recorded = state

    def _state(self, item: Item) -> TaskState:
        decision, delivery, position = item.decision, item.delivery, item.signature.position
        assert isinstance(decision, _DECISIONS)
        end = decision if isinstance(decision, End) else None
        return TaskState.of_run(
            delivery.uuid,
            item.name,
            end.state if end else State.RETRY,
            results=end.results if end else (),
            several=end.several if end else False,
            error=decision.error,
            error_type=decision.error_type,
            traceback=decision.traceback,
            dead_reason=end.dead_reason if end else "",
            created_at=delivery.enqueued_at,
            started_at=item.started_at,
            finished_at=(item.finished_at or self._wiring.clock.now()) if end else None,
            attempt=item.attempt,
            worker=self._worker,
            progress=item.context.last_progress if item.context is not None else None,
            token=delivery.token,
            node=position.node if position is not None else "",
        )

    # -- settle ------------------------------------------------------------------------------------------------------

    def _settle(self, items: Sequence[Item]) -> tuple[dict[str, Exception], dict[str, Exception]]:
        """Settle; once more, without follow-ups, what turns out to be cancelled.

        Returns:
            Queues that are out of reach, and tasks whose workflow is.
        """
        remaining = list(items)
        away: dict[str, Exception] = {}
        stuck: dict[str, Exception] = {}
        while remaining:
            self._record(remaining)  # what a cancel has ended only now
            caused, unknown = self._conclude_all(remaining)
            if unknown:
                stuck.update(unknown)
                remaining = [item for item in remaining if item.uuid not in unknown]
            by_queue: dict[str, tuple[list[Item], list[Settlement]]] = {}
            for item in remaining:
                group = by_queue.get(item.delivery.queue)
                if group is None:
                    group = by_queue[item.delivery.queue] = ([], [])
                group[0].append(item)
                follow_ups = caused[item.delivery.uuid].messages if item.delivery.uuid in caused else ()
                group[1].append(_settlement(item, follow_ups))
            stopping = self._stopping([ended for _, settlements in by_queue.values() for ended in settlements])
            remaining = []
            for queue, (group_items, settlements) in by_queue.items():
                told = [_slowed(settlement, stopping) for settlement in settlements] if stopping else settlements
                try:
                    answers = self._wiring.broker.settle(queue, told)
                except BrokerUnavailable as exc:  # no other queue waits for it
                    away[queue] = exc
                    continue
                for item, settlement, answer in zip(group_items, told, answers, strict=True):
                    if answer is Answer.FLAGGED:
                        item.canceled = item.childless = True
                        if isinstance(item.decision, Launched):
                            item.decision = End(State.CANCELED, error="canceled")
                        remaining.append(item)
                        continue
                    item.answer = answer
                    item.over = True
                    if answer is not Answer.LOST:
                        self._settled(item, settlement, caused.get(item.delivery.uuid, _NOTHING))
        return away, stuck

    def _settled(self, item: Item, settlement: Settlement, caused: _Caused) -> None:
        """Note what is to be relayed and released."""
        queue = item.delivery.queue
        if settlement.follow_ups and any(message.queue != queue for message in settlement.follow_ups):
            self._to_relay.add(queue)
        if not _has_end(item):
            return
        if caused is not _NOTHING:
            self._releases.end(caused.ended_roots)
            self._releases.fail(caused.failed_roots, item.signature)
            self._releases.keep(caused.never, self._wiring.config.results_expire_in)
        if not caused.goes_on and not caused.failed_roots:
            self._releases.plan(item.signature)

    def _stopping(self, settlements: Iterable[Settlement]) -> set[str]:
        """Codes of what would follow that are being cancelled."""
        codes = {
            message.code
            for settlement in settlements
            if settlement.follow_ups
            for message in settlement.follow_ups
            if message.code
        }
        return marked(self._wiring.backend, codes, self._wiring.clock.now()) if codes else set()

    def _conclude_all(self, items: Sequence[Item]) -> tuple[dict[str, _Caused], dict[str, Exception]]:
        """What the ends among these cause; and those of which that cannot be found out, the untried ones first.

        They hold up no other. Their ends are recorded, so that the backend as a whole is there: a node of it is away,
        or a key is damaged.
        """
        try:
            return self._conclude(items), {}
        except BrokerUnavailable as exc:
            away = exc
        caused: dict[str, _Caused] = {}
        untried: dict[str, Exception] = {}
        failed: dict[str, Exception] = {}
        nodes: dict[str, Exception] = {}
        in_a_row = 0
        for item in items:
            if not (_may_cause(item.signature) and _has_end(item)):
                continue
            node = item.signature.position.node if item.signature.position is not None else ""
            if node in nodes:
                failed[item.uuid] = nodes[node]
            elif in_a_row >= _ENOUGH:  # each may have taken a time limit to fail
                untried[item.uuid] = away
            else:
                try:
                    caused.update(self._conclude([item]))
                    in_a_row = 0
                except BrokerUnavailable as exc:
                    failed[item.uuid] = exc
                    in_a_row += 1
                    if node:
                        nodes[node] = exc
        return caused, {**untried, **failed}

    def _conclude(self, items: Sequence[Item]) -> dict[str, _Caused]:
        """What the ends among these cause. Ends that they rule out are recorded on the way."""
        causing = [item for item in items if _may_cause(item.signature) and _has_end(item)]
        if not causing:
            return {}
        never = {item.uuid: self._launching.abandon(item) for item in causing if item.signature.name in RESERVED}
        ended = [Ended(item.signature, item.recorded, item.childless) for item in causing if item.recorded]
        conclusions = conclude(signed_plans(self._wiring.backend, self._wiring.config), ended, self._wiring.clock.now())
        return {
            item.uuid: _Caused(
                self._messages(conclusion.follow_ups, item),
                conclusion.goes_on,
                tuple(conclusion.ended_roots),
                tuple(conclusion.failed_roots),
                never.get(item.uuid, ()),
            )
            for item, conclusion in zip(causing, conclusions, strict=True)
        }

    def _messages(self, signatures: Sequence[Signature[Any]], item: Item) -> tuple[Message, ...]:
        """The follow-ups as messages. One that cannot be made, or is too large, has its end recorded as FAILURE.

        It goes out all the same, without what made it so: whoever is handed it finds that end, does not run it, and
        reports it to its workflow like any other.
        """
        messages: list[Message] = []
        for signature in signatures:
            complete = with_options(signature, self._wiring.registry.get(signature.name))
            try:
                messages.append(self._message(complete))
            except (InvalidArgument, InvalidSignature) as exc:
                self._wiring.backend.put_states([self._stillborn(signature, item, exc)])
                log.error(
                    f"follow-up {signature.name} {signature.uuid} of task {item.uuid} cannot be sent: {exc}",
                    task_uuid=signature.uuid,
                )
                messages += self._husk(complete)
        return tuple(messages)

    def _message(self, signature: Signature[Any]) -> Message:
        message = message_of(signature, self._wiring.config)
        if len(message.body) > MAX_MESSAGE:
            raise InvalidArgument(f"its message has {len(message.body)} bytes; at most {MAX_MESSAGE}")
        return message

    def _husk(self, signature: Signature[Any]) -> Iterator[Message]:
        """The message of a call whose end is recorded already; expired, so that it never runs without its arguments."""
        options = {name: value for name, value in signature.set_options.items() if name not in ("eta", "delay")}
        options["expires"] = _LONG_AGO
        which = signature.args[:WHICH] if signature.name in RESERVED else ()
        try:
            yield self._message(signature.evolve(args=which, set_options=options))
        except (InvalidArgument, InvalidSignature):
            self._releases.plan(signature)  # nobody will be handed it

    def _stillborn(self, signature: Signature[Any], item: Item, exc: Exception) -> TaskState:
        position = signature.position
        return TaskState(
            task_uuid=signature.uuid,
            task_name=signature.name,
            state=State.FAILURE,
            error=f"could not be sent after task {item.uuid}: {error_text(exc)}",
            finished_at=self._wiring.clock.now(),
            node=position.node if position else "",
        )

    # -- relay and release -------------------------------------------------------------------------------------------

    def _relay(self) -> dict[str, Exception]:
        """Carry over what was left for other queues; those from which, or to which, it could not be carried."""
        away: dict[str, Exception] = {}
        for queue in list(self._to_relay):
            try:
                for _ in range(_RELAYS):
                    if not self._wiring.broker.relay(queue):
                        break
            except BrokerUnavailable as exc:
                away[queue] = exc
                continue
            self._to_relay.discard(queue)
        return away


def _has_end(item: Item) -> bool:
    return item.recorded is not None and item.recorded.state in FINAL


def _slowed(settlement: Settlement, codes: set[str]) -> Settlement:
    if not codes or not settlement.follow_ups:
        return settlement
    return attrs.evolve(settlement, follow_ups=slowed(settlement.follow_ups, codes))


def _may_cause(signature: Signature[Any]) -> bool:
    return bool(signature.on_success or signature.on_error or signature.position)


def _settlement(item: Item, follow_ups: tuple[Message, ...]) -> Settlement:
    """How the broker is told, from what is recorded and not from what was to be."""
    uuid, token, decision, recorded = item.delivery.uuid, item.hold.token, item.decision, item.recorded
    if recorded is not None and recorded.state in FINAL:
        if recorded.dead_reason:
            return Settlement(uuid, token, SettleAs.DEAD, reason=recorded.dead_reason, follow_ups=follow_ups)
        return _made(uuid, token, SettleAs.DONE, _NO_DELAY, _NO_ATTEMPTS, "", follow_ups)
    if isinstance(decision, Launched):
        return Settlement(uuid, token, SettleAs.DONE, follow_ups=decision.messages)
    if isinstance(decision, _REPEATED):
        return Settlement(uuid, token, SettleAs.RETRY, decision.delay, decision.attempts)
    return Settlement(uuid, token, SettleAs.RETURN)
