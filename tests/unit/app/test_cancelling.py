"""Cancels while others work: what was said to be canceled never starts, and nothing follows from what was stopped."""

import itertools
from random import Random
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.app.schedules.rig import SECOND, Died, Fate, Hand, Mortal
from tests.unit.app.workflow_outcomes import Tasks, Workers, calls, workflows
from vecna.adapters.clock import ManualClock
from vecna.app import stopping
from vecna.app.cancelling import Canceller
from vecna.app.config import Config
from vecna.app.lookup import Lookup
from vecna.app.sweeping import sweep_records
from vecna.bootstrap import Server
from vecna.domain.errors import InvalidArgument
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.domain.workflow import Chain, Chord, Group

pytestmark = pytest.mark.slow  # left out by `make unit`

QUEUES = ("q1", "q2")


def serving(**settings) -> Any:
    return Server(Config(broker="memory://", lease=5, **settings), clock=ManualClock())


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def tasks(server):
    return Tasks(server)


def one(number=0, **options):
    return Signature("one", [number], **{"queue": QUEUES[number % 2], **options})


def note(**options):
    return Signature("note", [1], **options)


def send(server, link):
    if isinstance(link, Signature):
        return server.send_task(link)
    return getattr(server, f"send_{type(link).__name__.lower()}")(link)


def in_hands(server, queue="q1"):
    """A worker that has leased and admitted what a queue has, and not run it yet."""
    hand = Hand(server, name="holder")
    batch = hand.deliveries.lease(queue, 10)
    runnable, ended = hand.deliveries.admit(batch)
    hand.deliveries.finish(ended)
    return hand, runnable


def state(server, call):
    return server.backend.get_state(call.uuid).state


# -- one task ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"delay": 100}, {"eta": "later"}])
def test_what_waits_is_canceled_at_once(server, tasks, options):
    """Without any worker its end shows, and who waits for it hears."""
    call = one(
        **{name: server.clock.now().replace(year=2999) if name == "eta" else each for name, each in options.items()}
    )
    handle = server.send_task(call)

    for _ in range(3):
        assert server.cancel_delayed_task(call.uuid).canceled == (call.uuid,)
        assert handle.get_state().state is State.CANCELED
    assert server.cancel_delayed_task(call)
    Workers(server, Random(1)).run()
    assert tasks.runs == []


def test_what_waits_for_its_next_attempt_is_canceled(server, tasks):
    call = Signature("bad", [1], queue="q1", retry_count=5, retry_timeout=100)
    server.send_task(call)
    workers = Workers(server, Random(1))
    workers.once()
    assert state(server, call) is State.RETRY

    assert server.cancel_delayed_task(call).canceled == (call.uuid,)

    assert state(server, call) is State.CANCELED
    workers.run()
    assert len(tasks.runs) == 1


def test_what_runs_is_told_and_causes_nothing(server, tasks):
    call = one(on_success=note(), on_error=note())
    server.send_task(call)
    hand, (item,) = in_hands(server)
    hand.deliveries.run(item)

    for _ in range(2):
        answer = server.cancel_delayed_task(call.uuid)
        assert (answer.running, bool(answer)) == ((call.uuid,), False)
    hand.deliveries.finish([item])

    assert state(server, call) is State.SUCCESS
    assert [state(server, each) for each in (*call.on_success, *call.on_error)] == [State.CANCELED] * 2
    assert server.cancel_delayed_task(call.uuid).finished == (call.uuid,)
    Workers(server, Random(1)).run()
    assert len(tasks.runs) == 1


def test_what_ends_between_the_looks_for_its_code_and_for_its_id_causes_nothing(server, tasks, monkeypatch):
    call = one(on_success=note(queue="q2"))
    server.send_task(call)
    hand, (item,) = in_hands(server)
    hand.deliveries.run(item)
    looks = {name: getattr(Canceller, name) for name in ("code", "tasks")}
    settled: list[object] = []

    def then_settled(look):
        def looked(self, what):
            answer = look(self, what)
            if not settled:
                settled.append(hand.deliveries.finish([item]))
            return answer

        return looked

    for name, look in looks.items():
        monkeypatch.setattr(Canceller, name, then_settled(look))

    server.cancel(call)

    assert [state(server, each) for each in (call, *call.on_success)] == [State.SUCCESS, State.CANCELED]
    server.clock.advance(60)
    Workers(server, Random(1)).run()
    assert len(tasks.runs) == 1


@pytest.mark.parametrize("by", ["id", "code"])
def test_what_has_ended_and_whose_worker_then_died_is_finished(server, tasks, by):
    """It went back to its queue unsettled: it is stopped there, and has ended all the same."""
    call = one(code="c")
    server.send_task(call)
    hand, (item,) = in_hands(server)
    hand.deliveries.run(item)
    hand.wiring.broker = Mortal(server.broker, Fate(0))
    with pytest.raises(Died):
        hand.deliveries.finish([item])
    for _ in range(3):
        server.clock.advance(2.5)
        server.broker.extend("q1", [], SECOND)  # no outage
    hand = Hand(server, name="other")
    hand.deliveries.lease("q1", 0)

    answer = server.cancel(call.uuid) if by == "id" else server.cancel("c")

    assert (answer.finished, answer.canceled) == ((call.uuid,), ())
    assert state(server, call) is State.SUCCESS


def test_what_has_not_started_in_the_hands_of_a_worker_does_not_start(server, tasks):
    call = one()
    server.send_task(call)
    hand, items = in_hands(server)
    assert server.cancel_delayed_task(call.uuid).running == (call.uuid,)

    hand.deliveries.extend()
    assert not any(hand.deliveries.run(item) for item in items) or tasks.runs == []
    hand.deliveries.finish(items)

    assert state(server, call) is State.CANCELED
    assert tasks.runs == []


def test_what_has_ended_or_was_never_sent_is_said_to_be_so(server, tasks):
    good, wrong, stopped = one(), Signature("bad", [1], queue="q1"), one(1, delay=100)
    for call in (good, wrong, stopped):
        server.send_task(call)
    server.cancel_delayed_task(stopped)
    Workers(server, Random(1)).run()

    answer = server.cancel_delayed_task([good, wrong.uuid], [stopped], "never")

    assert answer.finished == (good.uuid, wrong.uuid)
    assert (answer.canceled, answer.unknown, answer.running) == ((stopped.uuid,), ("never",), ())
    assert not answer


def test_callbacks_and_later_links_can_be_cancelled_before_their_turn(server, tasks):
    first, second, third = one(on_success=note()), one(), one()
    server.send_chain(Chain(first, second, third))
    callback = first.on_success[0]

    answer = server.cancel_delayed_task(second, callback)

    assert answer.canceled == (second.uuid, callback.uuid)
    assert [state(server, each) for each in (second, callback)] == [State.CANCELED] * 2
    Workers(server, Random(1)).run()
    assert [uuid for uuid, _ in tasks.runs] == [first.uuid]
    assert state(server, third) is State.CANCELED
    assert second.uuid in server.backend.get_state(third.uuid).error


def test_only_what_was_named_is_cancelled(server, tasks):
    """A member's id stands for the member, not for its group."""
    members = [one(number, delay=1) for number in range(3)]
    server.send_group(Group(members))

    assert server.cancel(members[1].uuid).canceled == (members[1].uuid,)

    Workers(server, Random(1)).run()
    assert [state(server, member) for member in members] == [State.SUCCESS, State.CANCELED, State.SUCCESS]


def test_a_whole_workflow_is_known_by_any_id_in_it(server, tasks):
    for which in range(4):
        members = [one(number, delay=1) for number in range(2)]
        chord = Chord(Group(members), one())
        handle = server.send_chord(chord)
        known = (chord.group_uuid, chord.chain_uuid, members[1].uuid, handle)[which]

        answer = server.cancel_delayed_chord(known)

        assert sorted(answer.canceled) == sorted(call.uuid for call in calls(chord))
        assert answer
    Workers(server, Random(1)).run()
    assert tasks.runs == []


def test_what_nobody_knows_is_no_error(server):
    assert server.cancel("nothing").unknown == ("nothing",)
    assert not server.cancel("nothing")
    assert server.cancel_delayed_group("nothing").unknown == ("nothing",)
    for wrong in (5, None, "a b", ["a", 5]):
        with pytest.raises(InvalidArgument):
            server.cancel_delayed_task(wrong)
    with pytest.raises(InvalidArgument):
        server.cancel("a b")


# -- while others work -------------------------------------------------------------------------------------------------


def chain(code=""):
    return Chain([one(number) for number in range(8)], code=code)


def chord(code=""):
    members = Group(one(0), Chain(one(1), one(2)), one(3))
    return Chord(members, Chain(one(4), one(5, on_success=note(queue="q1"))), code=code)


def callbacks(code=""):
    return one(0, on_success=one(1, on_success=one(2, on_success=one(3, queue="q1"))), code=code or None)


SHAPES: dict[str, Any] = {"chain": chain, "chord": chord, "callbacks": callbacks}


class Between:
    """A port before each call of which something happens."""

    def __init__(self, port, happen):
        self._port = port
        self._happen = happen

    def __getattr__(self, name):
        method = getattr(self._port, name)

        def call(*args, **kwargs):
            self._happen(name)
            return method(*args, **kwargs)

        return call


def canceller(server, happen) -> Any:
    broker: Any = Between(server.broker, happen)
    backend: Any = Between(server.backend, happen)
    return Canceller(Lookup(backend, broker), server.clock.now())


def cancel(how, link, found):
    if how == "code":
        return found.code("code")
    return found.tasks({call.uuid: "" for call in calls(link)})


def check(server, tasks, workers, link, answer, held=()):
    """Of what was canceled nothing starts; and of the rest only what was in hands."""
    before = [uuid for uuid, _ in tasks.runs]
    # One that is run to its end between two of the canceller's calls, and whose result is not kept, leaves no trace.
    traceless = {call.uuid for call in calls(link) if not call.keep_result}
    assert not set(before) & set(answer.canceled) - traceless
    for hand, items in held:
        back = [item for item in items if not hand.deliveries.run(item)]
        hand.deliveries.give_back(back)
        hand.deliveries.finish(items)
    workers.run()
    for _ in range(3):
        server.clock.advance(61)
        sweep_records(server)

    after = [uuid for uuid, _ in tasks.runs][len(before) :]
    assert set(after) <= set(answer.running), f"{set(after)} started after the cancel"
    assert max([before.count(uuid) + after.count(uuid) for uuid in {*before, *after}], default=0) <= 1
    states = {call.uuid: server.backend.get_state(call.uuid) for call in calls(link)}
    dropped = {call.uuid for call in calls(link) if not call.keep_result and states[call.uuid] is None}
    assert all(each.is_completed for uuid, each in states.items() if uuid not in dropped)
    assert all(states[uuid].is_canceled for uuid in answer.canceled if uuid in states and uuid not in dropped)
    assert not any(states[uuid].is_canceled for uuid in answer.finished if uuid not in dropped)
    server.clock.advance(3601)
    for _ in range(2):
        sweep_records(server)
        server.clock.advance(3601)
    assert server.backend.get_states(list(states)) == [None] * len(states)


@pytest.mark.parametrize("how", ["code", "ids"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_cancel_and_workers_agree_wherever_they_meet(shape, how):
    """Workers take a turn before one of the canceller's calls, after having taken some before."""
    for turns in range(5):
        for at in itertools.count():
            with serving() as server:
                tasks, link = Tasks(server), SHAPES[shape]("code")
                send(server, link)
                workers = Workers(server, Random(at))
                calls_made: list[str] = []
                for _ in range(turns):
                    workers.once()

                def happen(name, calls_made=calls_made, at=at, workers=workers):
                    calls_made.append(name)
                    if len(calls_made) - 1 == at:
                        workers.once()

                answer = cancel(how, link, canceller(server, happen))
                check(server, tasks, workers, link, answer)
            if at >= len(calls_made):
                break


@pytest.mark.parametrize("how", ["code", "ids"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(40))
def test_a_cancel_and_busy_workers_agree(shape, how, seed):
    """Workers take turns all the time, so that what is looked for is now here, now there."""
    with serving() as server:
        chance = Random(seed)
        tasks, link = Tasks(server), SHAPES[shape]("code")
        if shape == "chain":
            link = Chain([one(number) for number in range(60)], code="code")
        send(server, link)
        workers = Workers(server, chance)
        share = chance.choice([0.2, 0.5, 0.9])

        def happen(_):
            if chance.random() < share:
                workers.once()

        answer = cancel(how, link, canceller(server, happen))
        check(server, tasks, workers, link, answer)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=workflows, seed=st.integers(0, 999), how=st.sampled_from(["code", "ids"]), turns=st.integers(0, 6))
def test_a_cancel_of_anything_and_busy_workers_agree(drawn, seed, how, turns):
    hypothesis.note(drawn)
    with serving() as server:
        chance = Random(seed)
        tasks, link = Tasks(server), drawn.link.with_code("code")
        send(server, link)
        workers = Workers(server, chance)
        for _ in range(turns):
            workers.once()
        share = chance.choice([0.1, 0.3, 0.9])

        def happen(_):
            if chance.random() < share:
                workers.once()

        answer = cancel(how, link, canceller(server, happen))
        check(server, tasks, workers, link, answer)


@pytest.mark.parametrize("how", ["code", "ids"])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_in_hands_while_it_is_cancelled_causes_nothing(shape, how):
    for turns in range(6):
        with serving() as server:
            tasks, link = Tasks(server), SHAPES[shape]("code")
            send(server, link)
            workers = Workers(server, Random(turns))
            for _ in range(turns):
                workers.once()
            held = [in_hands(server, queue) for queue in QUEUES]

            answer = cancel(how, link, canceller(server, lambda _: None))

            assert set(answer.running) == {item.uuid for _, items in held for item in items}
            check(server, tasks, workers, link, answer, held)


def test_a_cancel_by_code_finds_what_is_always_where_it_does_not_look(server, tasks):
    """A chain of short links between two queues, and a canceller that comes too late to each of them."""
    link = Chain([one(number) for number in range(100)], code="code")
    server.send_chain(link)
    hand = Hand(server)

    def happen(name, *args):
        if name == "cancel_code":
            place = next((each for each in server.broker.locate([call.uuid for call in calls(link)]) if each), None)
            if place is not None and place.queue == args[0]:
                hand.once(place.queue)

    class Dodging(Between):
        def __getattr__(self, name):
            method = getattr(self._port, name)

            def call(*args, **kwargs):
                happen(name, *args)
                return method(*args, **kwargs)

            return call

    broker: Any = Dodging(server.broker, None)
    answer = Canceller(Lookup(server.backend, broker), server.clock.now()).code("code")

    ran = len(tasks.runs)
    assert ran < 20
    Workers(server, Random(1)).run()
    assert len(tasks.runs) <= ran + 1  # one that was on its way causes nothing
    assert answer.canceled
    assert state(server, link.tasks[-1]) is State.CANCELED


def test_what_is_sent_under_a_code_after_a_cancel_runs(server, tasks):
    """With all that follows from it."""
    server.send_chain(chain("code"))
    assert server.cancel("code").canceled
    again = chain("code")

    handle = server.send_chain(again)
    Workers(server, Random(1)).run()

    assert [uuid for uuid, _ in tasks.runs] == [call.uuid for call in again.tasks]
    assert handle.get_state().state is State.SUCCESS


def test_what_a_canceller_that_died_has_marked_goes_on_later(server, tasks):
    """It has found nothing, and nothing is lost: links wait a little longer, until the mark has expired."""
    link = chain("code")
    start = server.clock.now()
    stopping.mark(server.backend, "code", start)
    server.send_chain(link)
    workers = Workers(server, Random(1))
    workers.once()
    assert len(tasks.runs) == 1
    assert server.broker.counts("q2").delayed + server.broker.counts("q1").delayed == 1

    workers.run()

    assert len(tasks.runs) == len(link.tasks)
    assert stopping.DELAY * 7 <= server.clock.now() - start <= stopping.DELAY * 8
    server.clock.advance(301)
    assert stopping.marked(server.backend, ["code"], server.clock.now()) == set()
    sweep_records(server)
    assert server.backend.unreleased(server.clock.now() - server.clock.now(), 10) == []


def test_a_mark_is_its_own_cancellers(server):
    """One that is over takes no other's away; what a dead one has left is replaced."""
    backend, now = server.backend, server.clock.now()
    first = stopping.mark(backend, "c", now)
    server.clock.advance(200)
    second = stopping.mark(backend, "c", server.clock.now())

    stopping.unmark(backend, "c", first)
    server.clock.advance(200)
    assert stopping.marked(backend, ["c", "other"], server.clock.now()) == {"c"}
    stopping.unmark(backend, "c", second)
    stopping.unmark(backend, "c", second)
    assert stopping.marked(backend, ["c"], server.clock.now()) == set()


@pytest.mark.parametrize("how", ["code", "ids"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_cancel_that_breaks_off_can_be_repeated(shape, how):
    """Its process dies before any of its calls; another one makes the same cancel."""
    for at in itertools.count():
        with serving() as server:
            tasks, link = Tasks(server), SHAPES[shape]("code")
            send(server, link)
            workers, fate = Workers(server, Random(at)), Fate(at)
            workers.once()
            broker: Any = Mortal(server.broker, fate)
            backend: Any = Mortal(server.backend, fate)
            died = False
            try:
                cancel(how, link, Canceller(Lookup(backend, broker), server.clock.now()))
            except Died:
                died = True
            answer = cancel(how, link, canceller(server, lambda _: None))
            check(server, tasks, workers, link, answer)
        if not died:
            break


def test_a_code_of_thousands_is_cancelled_whole(server, tasks):
    """Page by page; ended at once as far as one call should, the rest by workers."""
    group = Group([one(number, delay=100) for number in range(3_000)], code="many")
    server.send_group(group)

    answer = server.cancel("many")

    assert len(answer.canceled) == 3_000
    assert answer
    assert server.cancel("many").canceled == ()
    Workers(server, Random(1)).run()
    assert tasks.runs == []
