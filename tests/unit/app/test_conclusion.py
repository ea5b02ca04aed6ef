"""What the end of a task means: the same for whoever comes to it, as often as they do, wherever they die."""

import itertools
from collections import Counter
from random import Random
from typing import Any

import pytest

from tests.unit.app.schedules.rig import Died, Fate, Hand
from tests.unit.app.workflow_outcomes import Tasks, Workers, calls, check_outcome
from vecna.adapters.clock import ManualClock
from vecna.app.conclusion import Ended, conclude
from vecna.app.config import Config
from vecna.app.launchers import MOST_AT_ONCE, STEP
from vecna.app.sweeping import sweep_records
from vecna.bootstrap import Server
from vecna.domain.arg import TaskResult
from vecna.domain.plan import plan
from vecna.domain.signature import Signature
from vecna.domain.state import State, TaskState
from vecna.domain.workflow import Chain, Chord, Group
from vecna.ports.plans import NodeStatus


def serving(**settings) -> Any:
    return Server(Config(broker="memory://", lease=5, **settings), clock=ManualClock())


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def tasks(server):
    return Tasks(server)


def one(**options):
    return Signature("one", [1], **options)


def note(**options):
    return Signature("note", [2], **options)


class Told:
    """A workflow whose plan is stored, and the ends that the test tells of."""

    def __init__(self, server: Any, link: Any) -> None:
        self.backend, self.clock = server.backend, server.clock
        self.plan = plan(link)
        self.backend.store_plan(self.plan)
        self.backend.commit_plan(self.plan.root)
        steps = [call for step in self.plan.steps for call in step.first]
        self.calls = {call.uuid: call for call in (*self.plan.first, *steps)}

    def end(self, call: Any, state: State = State.SUCCESS, *, childless: bool = False, results: Any = (7,)) -> Any:
        """What follows from an end; asked twice, as after a crash."""
        given = tuple(map(TaskResult.of, results)) if state is State.SUCCESS else ()
        error = "" if state is State.SUCCESS else "RuntimeError: boom"
        (recorded,) = self.backend.put_states([TaskState(task_uuid=call.uuid, state=state, results=given, error=error)])
        ended = Ended(self.calls.get(call.uuid, call), recorded, childless)
        first, second = (conclude(self.backend, [ended], self.clock.now())[0] for _ in range(2))
        assert first == second
        return first

    def state(self, call: Any) -> Any:
        return self.backend.get_state(call.uuid)

    def status(self, uuid: str) -> NodeStatus:
        return self.backend.get_nodes([uuid])[0].status


def passed(conclusion: Any) -> dict[str, list[Any]]:
    return {call.uuid: [arg.value for arg in call.args] for call in conclusion.follow_ups}


# -- chains ------------------------------------------------------------------------------------------------------------


def test_a_link_leads_to_the_next_with_its_results(server):
    a, b, c = one(), one(), one()
    told = Told(server, Chain(a, b, c))

    first = told.end(a, results=(5, 6))
    assert passed(first) == {b.uuid: [1, 5, 6]}
    assert (first.goes_on, first.ended_roots, first.failed_roots) == (True, [], [])
    assert passed(told.end(b, results=())) == {c.uuid: [1]}
    last = told.end(c)
    assert (last.follow_ups, last.ended_roots, last.goes_on) == ([], [told.plan.root], False)


def test_an_immutable_link_passes_nothing_on(server):
    a, b = one(immutable=True, on_success=note()), one()
    told = Told(server, Chain(a, b))

    assert passed(told.end(a)) == {a.on_success[0].uuid: [2], b.uuid: [1]}


@pytest.mark.parametrize("state", [State.FAILURE, State.CANCELED])
def test_a_link_that_fails_ends_the_later_ones(server, state):
    """With the reason, naming it; with their callbacks, however deep they stand."""
    deep = one(on_success=note(on_error=note()), on_error=note())
    a, b, c = one(), one(on_error=note()), one(on_success=note())
    link = Chain(a, b, Group(Chain(one(), deep), one()), c)
    told = Told(server, link)
    told.backend.put_states([TaskState(task_uuid=call.uuid) for call in calls(link)])

    conclusion = told.end(a, state)

    assert conclusion.follow_ups == []
    assert conclusion.failed_roots == [told.plan.root]
    later = [call for call in calls(link) if call.uuid != a.uuid]
    assert {told.state(call).state for call in later} == {State.CANCELED}
    for call in link.signatures():
        assert call.uuid == a.uuid or (a.uuid in told.state(call).error and "boom" in told.state(call).error)
    assert told.status(told.plan.root) is NodeStatus.FAILED


def test_a_link_that_was_cancelled_while_it_ran_causes_nothing(server):
    """It has succeeded; what would follow is canceled, and the chain has not."""
    a, b = one(on_success=note()), one()
    told = Told(server, Chain(a, b))

    conclusion = told.end(a, childless=True)

    assert conclusion.follow_ups == []
    assert conclusion.failed_roots == [told.plan.root]
    assert told.state(a).is_success
    assert [told.state(call).state for call in (b, *a.on_success)] == [State.CANCELED] * 2
    assert f"{a.uuid} was canceled while it ran" in told.state(b).error


def test_a_cancel_that_is_heard_of_late_still_counts(server):
    """The first look knew nothing of it; its settlement was refused, and the second look takes it all back."""
    a, b = one(on_success=note(), on_error=note()), one()
    told = Told(server, Chain(a, b))
    assert len(told.end(a).follow_ups) == 2

    conclusion = told.end(a, childless=True)

    assert conclusion.follow_ups == []
    assert [told.state(call).state for call in (b, *a.on_success, *a.on_error)] == [State.CANCELED] * 3


# -- groups and chords -------------------------------------------------------------------------------------------------


def test_the_last_member_leads_to_the_callback_by_reference(server):
    """Results are read when it runs: no message grows with them."""
    members, callback = [one(), one(), one()], one()
    chord = Chord(Group(members), callback)
    told = Told(server, chord)

    assert [told.end(member).follow_ups for member in members[:2]] == [[], []]
    conclusion = told.end(members[2])

    assert passed(conclusion) == {callback.uuid: [1]}
    assert conclusion.follow_ups[0].position.takes == chord.group_uuid
    assert told.end(callback).ended_roots == [told.plan.root]


def test_an_immutable_callback_takes_nothing(server):
    member, callback = one(), one(immutable=True)
    told = Told(server, Chord(Group(member), callback))

    (follow_up,) = told.end(member).follow_ups

    assert follow_up.position.takes == ""


@pytest.mark.parametrize("state", [State.FAILURE, State.CANCELED])
def test_a_member_that_fails_ends_the_chord_at_once(server, state):
    """The callback shares its fate and names it; its `on_error` runs if the member failed, once."""
    first, other = one(), one()
    callback = one(on_error=note(), on_success=note())
    told = Told(server, Chord(Group(first, other), callback))

    conclusion = told.end(first, state)
    late = told.end(other, State.FAILURE)

    end = told.state(callback)
    assert (end.state, late.follow_ups) == (state, [])
    assert first.uuid in end.error
    caused = {callback.on_error[0].uuid: [end.error, 2]} if state is State.FAILURE else {}
    assert passed(conclusion) == caused
    assert told.state(callback.on_success[0]).state is State.CANCELED
    assert (told.state(callback.on_error[0]) is None) == bool(caused)
    assert (late.ended_roots, late.failed_roots, late.goes_on) == ([], [], False)


def test_a_callback_of_many_parts_shares_the_fate_whole(server):
    """Each part that counts as failed causes its `on_error`; what never ran is nobody's success."""
    a, b, c = one(on_error=note()), one(on_error=note()), one(on_error=note(), on_success=note())
    member = one()
    told = Told(server, Chord(Group(member), Chain(a, Group(Chain(b, c)))))

    conclusion = told.end(member, State.FAILURE)

    assert {told.state(call).state for call in (a, b, c)} == {State.FAILURE}
    assert sorted(passed(conclusion)) == sorted(call.on_error[0].uuid for call in (a, b, c))
    assert told.state(c.on_success[0]).state is State.CANCELED


def test_a_callback_that_was_cancelled_before_causes_nothing(server):
    member, callback = one(), one(on_error=note(), on_success=note())
    told = Told(server, Chord(Group(member), callback))
    told.backend.put_states([TaskState(task_uuid=callback.uuid, state=State.CANCELED, error="canceled")])

    conclusion = told.end(member, State.FAILURE)

    assert conclusion.follow_ups == []
    assert told.state(callback).error == "canceled"
    assert [told.state(each).state for each in (*callback.on_error, *callback.on_success)] == [State.CANCELED] * 2


def test_ends_of_one_batch_are_concluded_one_by_one(server):
    """Two chords and a plain task in one flush: each is answered for itself."""
    first, second = Chord(Group(one(), one()), one()), Chord(Group(one(), one()), one())
    backend, now = server.backend, server.clock.now()
    ended = []
    for chord in (first, second):
        whole = plan(chord)
        backend.store_plan(whole)
        ended += [Ended(call, TaskState(task_uuid=call.uuid, state=State.SUCCESS)) for call in whole.first]
    plain = one(on_success=note())
    ended.insert(2, Ended(plain, TaskState(task_uuid=plain.uuid, state=State.SUCCESS)))
    failed = ended[-1].recorded.task_uuid
    ended[-1] = Ended(ended[-1].signature, TaskState(task_uuid=failed, state=State.FAILURE, error="boom"))

    found = conclude(backend, ended, now)

    uuids = [[call.uuid for call in conclusion.follow_ups] for conclusion in found]
    assert uuids == [[], [first.uuid], [plain.on_success[0].uuid], [], []]
    assert [bool(conclusion.failed_roots) for conclusion in found] == [False, False, False, False, True]
    assert backend.get_state(second.uuid).state is State.FAILURE


def test_a_step_that_begins_with_many_is_launched(server):
    """More tasks than go with one settlement: one message, the same whoever makes it."""
    first = one()
    told = Told(server, Chain(first, Group([one() for _ in range(MOST_AT_ONCE + 1)]), one()))

    (launcher,) = told.end(first, results=(5,)).follow_ups

    assert launcher.name == STEP
    assert [arg.value for arg in launcher.args[2:]] == [5]


@pytest.mark.parametrize("died_of", ["cancel", "crashes"])
def test_a_step_that_is_not_launched_ends_whole(server, tasks, died_of):
    """With the callbacks of tasks deep in it, and all that would have come after it."""
    deep = one(on_success=note(), on_error=note())
    first, last = one(), one()
    link = Chain(first, Group([*[one() for _ in range(MOST_AT_ONCE)], Chain(one(), deep)]), last)
    server.send_chain(link)
    hand = Hand(server)
    hand.once()
    (launcher,) = [call for call in server.get_pending_tasks() if call.name == STEP]
    if died_of == "cancel":
        server.broker.cancel("vecna_tasks", [launcher.uuid])
    else:
        for _ in range(server.config.max_deliveries):
            assert hand.deliveries.lease("vecna_tasks", 1).items
            for _ in range(4):
                server.clock.advance(2)
                server.broker.extend("vecna_tasks", ["0:nobody:1"], server.clock.now() - server.clock.now())
        hand = Hand(server)
    Workers(server, Random(1)).run()

    state = State.CANCELED if died_of == "cancel" else State.FAILURE
    ends = {call.uuid: server.backend.get_state(call.uuid) for call in calls(link)}
    assert ends.pop(first.uuid).is_success
    assert {ends.pop(call.uuid).state for call in (*deep.on_success, *deep.on_error)} == {State.CANCELED}
    assert {end.state for end in ends.values()} == {state}
    assert [uuid for uuid, _ in tasks.runs] == [first.uuid]


def test_what_reports_to_a_workflow_that_has_expired_is_alone(server):
    a, b = one(), one()
    told = Told(server, Chain(a, b))
    told.backend.release_plan(told.plan.root, server.clock.now() - server.clock.now())

    for state in (State.SUCCESS, State.FAILURE):
        conclusion = conclude(
            told.backend, [Ended(told.calls[a.uuid], TaskState(task_uuid=a.uuid, state=state))], server.clock.now()
        )[0]
        assert (conclusion.follow_ups, conclusion.goes_on, conclusion.ended_roots) == ([], False, [])


# -- through a worker --------------------------------------------------------------------------------------------------


def test_what_only_the_worker_knows_of_a_callback_counts(tasks, server):
    """That it takes no results, where its sender knows nothing of the task."""
    seen = []
    server.register_task("last", lambda *args: seen.append(args), immutable=True)
    with serving() as sender:
        sender._opened = server._here()  # another program with the same store
        sender.send_chord(Chord(Group(one(), one()), Signature("last", [5])))
    Workers(server, Random(1)).run()

    assert seen == [(5,)]


SHAPES: dict[str, Any] = {
    "chain": lambda: Chain(one(on_success=note()), one(queue="q2"), Signature("two", [1]), one(on_success=note())),
    "chord": lambda: Chord(Group(one(), one(queue="q2"), Chain(one(), one())), one(queue="q2", on_success=note())),
    "failing chord": lambda: Chord(
        Group(one(), Signature("bad", [1], queue="q2")), Chain(one(on_error=note(queue="q2")), one())
    ),
    "callbacks": lambda: Group(Signature("bad", [1], on_error=note(on_success=note(queue="q2")), on_success=note())),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_worker_may_die_before_any_of_its_calls(shape):
    """Another takes over: the outcome is the same, what had been recorded does not run again, nothing is sent twice."""
    for at in itertools.count():
        with serving() as server:
            tasks, link = Tasks(server), SHAPES[shape]()
            handle = getattr(server, f"send_{type(link).__name__.lower()}")(link)
            sent: Counter[str] = Counter()
            accept = server.broker._store.queue("vecna_tasks").__class__.accept

            def counting(queue, message, *args, sent=sent, accept=accept, **kwargs):
                is_new = accept(queue, message, *args, **kwargs)
                sent[message.uuid] += is_new
                return is_new

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(server.broker._store.queue("vecna_tasks").__class__, "accept", counting)
                fate = Fate(at)
                hand = Hand(server, fate)
                try:
                    hand.work()
                    died = False
                except Died:
                    died = True
                before = [uuid for uuid, _ in tasks.runs]
                ended = {
                    call.uuid
                    for call in calls(link)
                    if (state := server.backend.get_state(call.uuid)) is not None and state.is_completed
                }
                Workers(server, Random(at)).run()
            after = [uuid for uuid, _ in tasks.runs][len(before) :]

            check_outcome(server, tasks, link, handle, set(), died=1)
            assert not ended & set(after)
            assert max(sent.values()) == 1
            for _ in range(3):
                server.clock.advance(3601)
                sweep_records(server)
            server.clock.advance(3601)
            assert server.backend.get_states([call.uuid for call in calls(link)]) == [None] * len(calls(link))
            assert server.backend.unreleased(server.clock.now() - server.clock.now(), 10) == []
        if not died:
            break
    assert at > 10
