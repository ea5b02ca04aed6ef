"""The rules of the design, each of which can be switched off here. A history without it must break a law.

Only in the simulation: what is replaced is put back when the context ends.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from tests.simulation.ports import Port
from vecna.adapters.memory import backend as memory_backend
from vecna.adapters.memory import broker as memory_broker
from vecna.adapters.memory import plans as memory_plans
from vecna.adapters.memory import queue as memory_queue
from vecna.adapters.memory import schedule_store, schedules, staging
from vecna.app import (
    cancelling,
    conclusion,
    delivery_admit,
    delivery_finish,
    delivery_run,
    firing,
    passing,
    sweeping,
    workflow_sending,
)
from vecna.app.worker import sweeper
from vecna.domain.state import FINAL, TaskState
from vecna.kit import rules
from vecna.ports.plans import Following, NodeStatus, Reported
from vecna.ports.schedules import Fired
from vecna.ports.values import Answer, Canceling, SettleAs, Standing, Verdict

Queue = memory_queue.Queue
Patch = Callable[[Callable[[Any, str, Any], None]], None]


@attrs.frozen
class Ablation:
    """A rule that can be switched off.

    Attributes:
        name: of the rule's absence.
        section: of DESIGN where the rule stands.
        rule: the rule.
        patch: switches it off, given a function that replaces attributes for a while.
        world: in which it is missed.
        laws: what the laws that it was made to break begin with; another may be broken first.
        seeds: how many histories may be looked at until that shows.
    """

    name: str
    section: str
    rule: str
    patch: Patch
    world: str = "mix"
    laws: tuple[str, ...] = ()
    seeds: int = 3000

    @property
    def first(self) -> int:
        """Where to begin to look: before the first history that was seen to break a law, where that comes late."""
        return _FIRST.get(self.name, 0)

    @contextmanager
    def off(self) -> Iterator[None]:
        """Without the rule."""
        undo: list[tuple[Any, str, Any]] = []

        def replace(where: Any, name: str, value: Any) -> None:
            undo.append((where, name, where.__dict__[name]))
            setattr(where, name, value)

        try:
            self.patch(replace)
            yield
        finally:
            for where, name, value in reversed(undo):
                setattr(where, name, value)


ABLATIONS: dict[str, Ablation] = {}
_FIRST = {
    "firing_without_compare": 700,
    "flagged_settles_with_follow_ups": 350,
    "occurrences_after_firing": 250,
    "registration_revives": 700,
    "states_go_back": 1400,
    "settle_forgets": 1300,
    "code_without_mark": 500,
    "local_outcome_counts": 700,
    "stale_firings_count": 750,
    "late_extend_shortens": 500,
}


def ablation(section: str, rule: str, *laws: str, world: str = "mix", seeds: int = 3000) -> Callable[[Patch], Patch]:
    """Enter what switches a rule off."""

    def enter(patch: Patch) -> Patch:
        name = patch.__name__
        ABLATIONS[name] = Ablation(name, section, rule, patch, world, laws, seeds)
        return patch

    return enter


# -- 3: the broker -----------------------------------------------------------------------------------------------------


@ablation("3 Broker", "settle acts only for the live token", "10 an old lease", world="racing")
def settle_without_token(replace):
    def check(self, settlement):
        held = self.messages.get(settlement.uuid)
        return Answer.GONE if held is None else Answer.OK if held.token else Answer.LOST

    real = Queue._drop_lease

    def drop_lease(self, settlement):
        return real(self, attrs.evolve(settlement, token=self.messages[settlement.uuid].token))

    replace(Queue, "check", check)
    replace(Queue, "_drop_lease", drop_lease)


@ablation("3 Broker", "never two live leases on a message", "10 one live lease")
def lease_what_is_leased(replace):
    real = Queue._next

    def next_(self, count, verdicts_only):
        taken = list(real(self, count, verdicts_only))
        for held in self.messages.values():
            if held.token and len(taken) < count and not verdicts_only:
                del self.leases[held.token].messages[held.message.uuid]
                taken.append(held)
        return iter(taken)

    replace(Queue, "_next", next_)


@ablation("3 Broker", "a message with a future ETA is never leased early", "6 nothing")
def eta_leased_early(replace):
    replace(Queue, "_wait_until", lambda self, held, due, now: self._to_pending(held))


@ablation(
    "3 Broker",
    "a repeated lease call gets the same batch, a late one nothing",
    "10 a repeated",
    "10 a late",
    world="racing",
)
def lease_without_nonce(replace):
    real = Queue._take

    def take(self, *args):
        self._calls.clear()
        return real(self, *args)

    replace(Queue, "_take", take)


@ablation("3 Broker", "a repeated settle is answered as the first was (already)", "4 ", "1 ", "3 ")
def settle_forgets(replace):
    def answer_to(settlement, *, token, settled, flagged):
        if settlement.token and token == settlement.token:
            return Answer.FLAGGED if flagged and settlement.follow_ups else Answer.OK
        return Answer.LOST

    replace(memory_queue, "answer_to", answer_to)


@ablation("3 Broker", "a lease past its deadline goes back", "4 everything ends")
def leases_never_end(replace):
    replace(Queue, "_end_leases", lambda self, now, max_deliveries: None)


@ablation(
    "3 Broker", "leases that run out are counted, up to the crash limit", "12 the crash", "4 everything", world="poison"
)
def crashes_not_counted(replace):
    replace(memory_queue, "is_forgiven", lambda **_: True)


@ablation("3 Broker", "a lease that ran out counts as a crash, not as a retry", "1 ", world="mix")
def crash_counts_as_retry(replace):
    real = Queue._end_leases

    def end(self, now, max_deliveries):
        before = {uuid: held.crashes for uuid, held in self.messages.items()}
        real(self, now, max_deliveries)
        for uuid, held in self.messages.items():
            if held.crashes > before[uuid]:
                held.attempts = attrs.evolve(held.attempts, retries=held.attempts.retries + 1)

    replace(Queue, "_end_leases", end)


@ablation("3 Broker", "settling and emitting follow-ups is one step", "3 what follows", world="crossing")
def follow_ups_after_settle(replace):
    real = delivery_finish.Finisher._settle

    def settle(self, items):
        broker = self._wiring.broker

        class Split:
            def settle(self, queue, settlements):
                answers = broker.settle(queue, [attrs.evolve(each, follow_ups=()) for each in settlements])
                for each, answer in zip(settlements, answers, strict=True):
                    if answer is Answer.OK and each.follow_ups:
                        broker.enqueue(each.follow_ups)
                return answers

        _with_broker(self, Split(), lambda: real(self, items))

    replace(delivery_finish.Finisher, "_settle", settle)


@ablation(
    "3 Broker",
    "settling and emitting follow-ups is one step, also not before",
    "3 ",
    "2 ",
    "7 ",
    "4 ",
    world="crossing",
)
def follow_ups_before_settle(replace):
    real = delivery_finish.Finisher._settle

    def settle(self, items):
        broker = self._wiring.broker

        class Split:
            def settle(self, queue, settlements):
                for each in settlements:
                    if each.follow_ups:
                        broker.enqueue(each.follow_ups)
                return broker.settle(queue, [attrs.evolve(each, follow_ups=()) for each in settlements])

        _with_broker(self, Split(), lambda: real(self, items))

    replace(delivery_finish.Finisher, "_settle", settle)


class _Instead:
    """Wiring with another broker for a while."""

    def __init__(self, wiring, broker):
        self._wiring, self.broker = wiring, broker

    def __getattr__(self, name):
        return getattr(self._wiring, name)


def _with_broker(finisher, broker, call):
    wiring = finisher._wiring
    finisher._wiring = _Instead(wiring, broker)
    try:
        call()
    finally:
        finisher._wiring = wiring


@ablation("3 Broker", "the outbox's cursor moves in the same step", "3 each follow-up")
def outbox_without_cursor(replace):
    real = memory_broker.MemoryBroker.relay

    def relay(self, queue, limit=500):
        outbox = self._store.queue(queue).outbox
        moved = list(outbox)[:limit]
        left = real(self, queue, limit)
        if not getattr(self._store.queue(queue), "again", False):  # the cursor is written by a call of its own
            self._store.queue(queue).again = True
            outbox.extend(moved)
        else:
            self._store.queue(queue).again = False
        return left

    replace(memory_broker.MemoryBroker, "relay", relay)


@ablation("3 Broker", "what waits in an outbox is kept until it has arrived", world="crossing")
def outbox_taken_before_it_arrives(replace):
    def relay(self, queue, limit=500):
        outbox = self.world.broker._store.queue(queue).outbox
        moved = [outbox.popleft()[0] for _ in range(min(limit, len(outbox)))]
        if moved:
            self.enqueue(moved)
        return len(outbox)

    replace(Port, "relay", relay)


@ablation("3 Broker", "sweepers relay what dead workers left", "4 everything", world="crossing")
def outbox_not_swept(replace):
    def sweep(self):
        broker = self._wiring.broker
        known = broker.queues()
        for queue in known:
            try:
                _, ended = self._deliveries.admit(self._deliveries.lease(queue, 100, verdicts_only=True))
                self._deliveries.finish(ended)
            finally:
                self._deliveries.let_go(self._deliveries.items())
        sweeping.sweep_records(self._wiring)
        sweeping.sweep_senders(self._wiring, known)

    replace(sweeper.Sweeper, "sweep", sweep)


@ablation("3 Broker", "the broker never ends a message on its own", "4 everything", "1 what is accepted")
def broker_buries(replace):
    real = Queue._go_back

    def go_back(self, held, verdict):
        if verdict is Verdict.DEAD:
            held.standing = Standing.DEAD
            held.reason = "too many crashes"
            self.dead[held.message.uuid] = held
        else:
            real(self, held, verdict)

    replace(Queue, "_go_back", go_back)


@ablation("3 Broker", "cancel marks what waits, so that it never starts", "7 canceled", world="canceling")
def cancel_without_mark(replace):
    real = Queue.cancel

    def cancel(self, uuid):
        held = self.messages.get(uuid)
        if held is not None and held.standing in (Standing.PENDING, Standing.DELAYED):
            return Canceling.CANCELED
        return real(self, uuid)

    replace(Queue, "cancel", cancel)


@ablation(
    "3 Broker", "cancel flags what is leased, and the flag outlives the lease", "7 a cancel covers", world="canceling"
)
def cancel_without_flag(replace):
    real = Queue.cancel

    def cancel(self, uuid):
        answer = real(self, uuid)
        if answer is Canceling.RUNNING:
            self.messages[uuid].flagged = False
        return answer

    replace(Queue, "cancel", cancel)


@ablation("3 Broker", "settling a flagged message with follow-ups is refused", "7 a cancel covers", world="canceling")
def flagged_settles_with_follow_ups(replace):
    real = rules.answer_to
    replace(memory_queue, "answer_to", lambda settlement, **known: real(settlement, **{**known, "flagged": False}))


@ablation(
    "3 Broker", "the finalisation entry of a cancel is worked off", "7 canceled", "4 everything", world="canceling"
)
def cancel_without_entry(replace):
    def to_ending(self, held, verdict, *, head=False):
        if verdict is Verdict.CANCELED:
            self.drop(held)
            return
        real(self, held, verdict, head=head)

    real = Queue._to_ending
    replace(Queue, "_to_ending", to_ending)


@ablation("3 Broker", "a cancel by code walks again until nothing new appears", "7 a cancel covers", world="walking")
def one_walk_for_a_code(replace):
    replace(cancelling, "_ROUNDS", 1)


@ablation("3 Broker", "a code is marked while it is cancelled", "7 a cancel covers", world="walking")
def code_without_mark(replace):
    replace(delivery_finish, "marked", lambda *_: set())


@ablation("3 Broker", "nothing of a group starts until all members are there", "4 nothing starts", world="senders")
def members_start_at_once(replace):
    def stage(self, hold, messages):
        return self.enqueue(messages)

    replace(staging.MemoryStaging, "stage", stage)


@ablation("3 Broker", "uncommitted groups end after publish_timeout", "4 everything", world="senders")
def uncommitted_not_swept(replace):
    replace(sweeper, "sweep_senders", lambda *_: None)


@ablation(
    "3 Broker",
    "a group is committed by one write, and not once it was given up",
    "4 nothing starts",
    "2 ",
    "5 ",
    world="senders",
)
def commit_after_all(replace):
    real = memory_plans.MemoryPlans.commit_plan

    def commit(self, root):
        real(self, root)
        return True

    replace(memory_plans.MemoryPlans, "commit_plan", commit)


@ablation(
    "3 Schedules",
    "firing is a compare-and-set on due time and definition",
    "8 each occurrence",
    "3 each",
    world="keepers",
)
def firing_without_compare(replace):
    def fired(record, call, now):
        if record is not None and call.due != record.next_fire_at:
            record = attrs.evolve(record, next_fire_at=call.due)
        if record is not None:
            call = attrs.evolve(call, version=record.version)
        return real(record, call, now)

    real = rules.fired
    replace(schedules, "fired", fired)


@ablation(
    "3 Schedules", "what is fired goes to the outbox in the step that fires", "8 what is fired", world="schedules"
)
def occurrences_after_firing(replace):
    real_fire = firing.Firer._fire

    def fire(self, shots):
        broker = self._broker

        class Split:
            def fire(self, calls):
                answers = broker.fire([attrs.evolve(call, messages=()) for call in calls])
                sent = [call.messages for call, answer in zip(calls, answers, strict=True) if answer is Fired.FIRED]
                for messages in sent:
                    broker.enqueue(messages)
                return answers

        self._broker = Split()
        try:
            return real_fire(self, shots)
        finally:
            self._broker = broker

    replace(firing.Firer, "_fire", fire)


@ablation("3 Schedules", "a registration that began before a removal does not revive", "8 none starts", world="keepers")
def registration_revives(replace):
    real = rules.registered
    replace(
        schedule_store,
        "registered",
        lambda stands, record, began_at, removed_at, version: real(stands, record, None, removed_at, version),
    )


@ablation("3 Schedules", "versions go on over a removal", "8 ", world="triggers")
def versions_begin_anew(replace):
    real = rules.registered
    replace(
        schedule_store,
        "registered",
        lambda stands, record, began_at, removed_at, version: real(stands, record, began_at, removed_at, 0),
    )


@ablation("3 Schedules", "cancelling a schedule relays and stops what it has fired", "8 none starts", world="schedules")
def removal_leaves_occurrences(replace):
    from vecna.app import schedules as app_schedules
    from vecna.domain.cancellation import Cancellation

    def cancel_occurrences(self, code):
        return self.broker.remove_schedule(code), Cancellation()

    replace(app_schedules.ScheduleServer, "_cancel_occurrences", cancel_occurrences)


@ablation("3 Schedules", "a firing whose next lies in the past is refused", "8 the next", world="schedules")
def stale_firings_count(replace):
    real = rules.fired
    replace(schedules, "fired", lambda record, call, now: real(record, attrs.evolve(call, may_be_past=True), now))


@ablation("3 Broker", "a late duplicate extend never shortens a lease", "10 ", world="reloaded")
def late_extend_shortens(replace):
    real = Queue.extend

    def extend(self, token, duration, now):
        lease = self.leases.get(token)
        if lease is not None:
            self.deadlines.put(token, now, lease.number)
        return real(self, token, duration, now)

    replace(Queue, "extend", extend)


@ablation("3 Broker", "a queue is registered before its first enqueue", "7 ", world="canceling")
def queue_registered_late(replace):
    real_accept, real_lease = Queue.accept, Queue.lease

    def accept(self, *args, **kwargs):
        known = self.known
        new = real_accept(self, *args, **kwargs)
        self.known = known
        return new

    def lease(self, *args, **kwargs):
        self.known = True
        return real_lease(self, *args, **kwargs)

    replace(Queue, "accept", accept)
    replace(Queue, "lease", lease)


@ablation("3 Broker", "who leases is told when the next message is due", "6 what is due", world="tiny")
def next_due_untold(replace):
    real = Queue.lease
    replace(Queue, "lease", lambda self, count, **known: attrs.evolve(real(self, count, **known), next_due=None))


# -- 3: the backend ----------------------------------------------------------------------------------------------------


@ablation("3 Backend", "the first end wins", "5 ends are final")
def ends_overwritten(replace):
    replace(TaskState, "gives_way_to", lambda self, other: True)


@ablation("3 Backend", "what stands is decided upon, never the local outcome", "3 ", "4 ", "11 ", world="contending")
def local_outcome_counts(replace):
    real = delivery_finish.Finisher._record

    def record(self, items, notes=()):
        fresh = [item for item in items if item.recorded is None]
        real(self, items, notes)
        for item in fresh:
            if item.recorded is not None and item.recorded.state in FINAL and hasattr(item.decision, "state"):
                item.recorded = self._state(item)

    replace(delivery_finish.Finisher, "_record", record)


@ablation("3 Backend", "states go forward by (token, rank)", "5 states go forward", world="racing")
def states_go_back(replace):
    replace(TaskState, "gives_way_to", lambda self, other: not self.state.is_final)


@ablation("3 Backend", "a result does not expire before its workflow is over", "11 ", "2 ", world="short")
def released_at_once(replace):
    real = memory_backend.MemoryBackend.put_states

    def put(self, states):
        answers = real(self, states)
        self.release([each.task_uuid for each in answers if each.is_completed], dt.timedelta(seconds=14))
        return answers

    replace(memory_backend.MemoryBackend, "put_states", put)


@ablation("3 Backend", "unreleased results are swept", "4 everything ends")
def unreleased_not_swept(replace):
    replace(sweeper, "sweep_records", lambda *_: None)


@ablation(
    "3 Backend", "each member is counted once however often it reports", "4 a callback", "11 ", "4 nothing follows"
)
def members_counted_by_number(replace):
    real = rules.reported

    def reported(state, report, *, counted):
        return real(state, report, counted=False)

    replace(memory_plans, "reported", reported)


@ablation(
    "3 Backend",
    "a repeated report of the closing member gets the same answer",
    "3 what follows",
    "4 everything",
    world="crossing",
)
def closing_told_once(replace):
    real = memory_plans.MemoryPlans.report

    def report(self, reports):
        was = [self._plans.nodes.get(each.node) for each in reports]
        over = [kept is not None and kept.state.status is not NodeStatus.OPEN for kept in was]
        answers = real(self, reports)
        return [
            Reported(Following.CLOSED, answer.node) if known and answer.node is not None else answer
            for known, answer in zip(over, answers, strict=True)
        ]

    replace(memory_plans.MemoryPlans, "report", report)


@ablation("3 Backend", "later members get a record at sending", "4 everything", "7 ", "1 ", world="canceling")
def later_not_recorded(replace):
    replace(workflow_sending, "later_records", lambda *_: [])


# -- 4: from send to result --------------------------------------------------------------------------------------------


@ablation("4.3 admit", "an end that is recorded is not run again", "2 not admitted")
def admit_without_look(replace):
    def sort(self, batch):
        real_get = self._wiring.backend.get_states
        self._wiring.backend.get_states = lambda uuids: [None] * len(uuids)
        try:
            return real(self, batch)
        finally:
            self._wiring.backend.get_states = real_get

    real = delivery_admit.Admission.sort
    replace(delivery_admit.Admission, "sort", sort)


@ablation("4.3 admit", "what is recorded is reported and settled with its follow-ups", "3 what follows", "4 everything")
def recorded_ends_without_report(replace):
    real = delivery_finish.Finisher._conclude

    def conclude(self, items):
        return real(self, [item for item in items if item.outcome is not None])

    replace(delivery_finish.Finisher, "_conclude", conclude)


@ablation("4.3 admit", "a verdict is recorded, and nothing is run", "12 the crash", "7 ", world="canceling")
def verdicts_ignored(replace):
    real = delivery_admit.Admission._judge

    def judge(self, item, now):
        if item.delivery.verdict is not None and item.readable:
            item.canceled = item.childless = False
            object.__setattr__(item.delivery, "verdict", None)
        real(self, item, now)

    replace(delivery_admit.Admission, "_judge", judge)


@ablation("4.3 admit", "what was passed already is not passed again", "11 ", world="passing")
def passed_again(replace):
    real = passing.with_passed

    def with_passed(backend, signature):
        return real(backend, signature).evolve(position=signature.position)

    replace(delivery_admit, "with_passed", with_passed)


@ablation("4.4 run", "past its trust limit a worker starts nothing", "7 ", "8 ", world="canceling")
def no_trust_limit(replace):
    real = delivery_run.Runner._begin

    def begin(self, item):
        was, item.hold.trusted_until = item.hold.trusted_until, float("inf")
        try:
            return real(self, item)
        finally:
            item.hold.trusted_until = was

    replace(delivery_run.Runner, "_begin", begin)


@ablation("4.6 order", "record before settle", "4 everything", "7 ", "1 ")
def settle_before_record(replace):
    real_settle = delivery_finish.Finisher._settle

    def finish(self, items, notes=()):
        items = [item for item in items if not item.over]
        backend = self._wiring.backend
        kept = []
        for item in items:
            if item.decision is None and item.recorded is None:
                item.decision = self._decide(item)
            if item.recorded is None and isinstance(item.decision, delivery_finish._DECISIONS):
                item.recorded = self._state(item)
                kept.append(item.recorded)
        real_settle(self, items)
        if kept:
            backend.put_states(kept)
        self._relay()
        self._releases.carry_out()

    replace(delivery_finish.Finisher, "finish", finish)


@ablation("4.6 order", "report before settle", "3 what follows", "4 everything")
def settle_before_report(replace):
    real = delivery_finish.Finisher._settle

    def settle(self, items):
        broker = self._wiring.broker
        for queue in dict.fromkeys(item.delivery.queue for item in items):
            mine = [item for item in items if item.delivery.queue == queue and delivery_finish._has_end(item)]
            answers = broker.settle(queue, [delivery_finish._settlement(item, ()) for item in mine]) if mine else []
            for item, answer in zip(mine, answers, strict=True):
                item.answer, item.over = answer, True
                if answer is Answer.OK:
                    caused = self._conclude([item]).get(item.uuid, delivery_finish._NOTHING)
                    if caused.messages:
                        broker.enqueue(caused.messages)
                    self._settled(item, delivery_finish._settlement(item, ()), caused)
        real(self, [item for item in items if not item.over])

    replace(delivery_finish.Finisher, "_settle", settle)


@ablation("4.6 order", "settle before release", "2 not admitted", "11 ", world="short")
def release_before_settle(replace):
    real = delivery_finish.Finisher._settle

    def settle(self, items):
        uuids = [item.uuid for item in items if delivery_finish._has_end(item)]
        keep = dt.timedelta(seconds=self._wiring.config.results_expire_in)
        self._wiring.backend.release(uuids, keep)
        real(self, items)

    replace(delivery_finish.Finisher, "_settle", settle)


@ablation("4.7 retry", "attempts are counted with the message", "1 ", "4 everything")
def attempts_not_kept(replace):
    real = Queue.settle

    def settle(self, settlement, now, limit):
        if settlement.settle is SettleAs.RETRY:
            settlement = attrs.evolve(settlement, attempts=self.messages[settlement.uuid].attempts)
        real(self, settlement, now, limit)

    replace(Queue, "settle", settle)


@ablation("4 outage", "after an outage holders can extend before anything is reclaimed", "10 one live", "10 a live")
def no_outage_grace(replace):
    replace(Queue, "touch", lambda self, now: None)


@ablation("4 outage", "what ran out in an outage is not counted as a crash", "1 dead only", world="frail")
def outage_counts_as_crash(replace):
    replace(memory_queue, "is_forgiven", lambda **_: False)


@ablation("3 Broker", "enqueue is idempotent by id while the message lives", "10 ", "2 ", "12 ", "4 ", "3 ")
def enqueue_not_idempotent(replace):
    real = Queue.accept

    def accept(self, message, now, since=None, hold=""):
        held = self.messages.get(message.uuid)
        if held is not None and held.standing is Standing.LEASED:
            self.messages.pop(message.uuid)
        return real(self, message, now, since, hold)

    replace(Queue, "accept", accept)


@ablation("4.1 send", "a uuid that has ended is not sent again", "3 ", "2 ", world="small")
def ended_sent_again(replace):
    from vecna.app import sending

    replace(sending.Sending, "old", lambda self, signatures: [])


@ablation(
    "3 Broker",
    "what a cancelled run would cause ends, and its later steps with it",
    "7 a cancel",
    "4 everything",
    world="canceling",
)
def descendants_of_canceled_go_on(replace):
    real = conclusion.conclude

    def conclude(backend, ended, now):
        return real(backend, [attrs.evolve(each, childless=False) for each in ended], now)

    replace(delivery_finish, "conclude", conclude)
