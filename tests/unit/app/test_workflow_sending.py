"""Workflows are sent as a whole or not at all, wherever their sender dies."""

import contextlib
import datetime as dt
import threading
from collections import Counter
from random import Random
from typing import Any

import pytest

from tests.unit.app.schedules.rig import Died, Fate, Mortal
from tests.unit.app.workflow_outcomes import Tasks, Workers, calls
from vecna.adapters.clock import ManualClock
from vecna.app.config import Config
from vecna.app.sweeping import sweep_records, sweep_senders
from vecna.app.workflow_sending import BATCH
from vecna.bootstrap import Server
from vecna.domain.errors import BrokerUnavailable, InvalidArgument, InvalidSignature
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.domain.workflow import Chain, Chord, Group
from vecna.ports.values import Adapters

pytestmark = pytest.mark.slow  # left out by `make unit`

SETTINGS: dict[str, Any] = {"broker": "memory://", "lease": 5, "publish_timeout": 60, "results_expire_in": 3600}


def serving(**settings) -> Any:
    return Server(Config(**SETTINGS, **settings), clock=ManualClock())


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def tasks(server):
    return Tasks(server)


def one(**options):
    return Signature("one", [1], **options)


SHAPES: dict[str, Any] = {
    "a chain": lambda: Chain(one(), one(queue="q2"), one()),
    "a group of one queue": lambda: Group(one(), one(), Chain(one(), one())),
    "a group of two queues": lambda: Group(one(), one(queue="q2"), one()),
    "a chord": lambda: Chord(Group(one(), one(queue="q2", delay=1)), one(on_success=Signature("note", [2]))),
    "a large group": lambda: Group(*[one() for _ in range(BATCH + 1)]),
    "large messages": lambda: Group(*[Signature("one", ["x" * 250_000]) for _ in range(5)]),
}


def mortal(server: Any, fate: Any) -> Any:
    """The server's ports, as a sender has them who dies."""
    broker: Any = Mortal(server.broker, fate)
    backend: Any = Mortal(server.backend, fate)
    return Adapters(broker, backend, server.lock, server.clock)


def send(server, link, ports=None):
    ports = ports or Adapters(server.broker, server.backend, server.lock, server.clock)
    return server._workflows.send(link, ports, threading.Event())


def points(server, link):
    """How many calls a sending takes."""
    fate = Fate()
    send(server, link, mortal(server, fate))
    return fate.points


def states(server, link):
    return Counter(server.lookup.states([leaf.uuid for leaf in calls(link)], {}))


def sweep(server):
    sweep_senders(server, server.broker.queues())
    sweep_records(server)


def check_all_or_nothing(server, tasks, link):
    """Either all of it has run, once, or all of it is canceled, or nobody knows it."""
    found = server.backend.get_states([leaf.uuid for leaf in calls(link)])
    kinds = {None if state is None else state.state for state in found}
    ran = [uuid for uuid, _ in tasks.runs]
    if State.SUCCESS in kinds:
        assert kinds == {State.SUCCESS}
        assert sorted(ran) == sorted(call.uuid for call in calls(link))
    else:
        assert kinds <= {State.CANCELED, None}
        assert ran == []
    return State.SUCCESS in kinds


# -- senders that die --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_dead_sender_leaves_runs_as_a_whole_or_not_at_all(shape):
    """Its sender dies before any of its calls, and nobody repeats it: sweeps bring it to an end or on its way."""
    with serving() as trial:
        Tasks(trial)
        count = len(points(trial, SHAPES[shape]()))
    runs = []
    for at in range(count + 1):
        with serving() as server:
            tasks, link = Tasks(server), SHAPES[shape]()
            with contextlib.suppress(Died):
                send(server, link, mortal(server, Fate(at)))
            server.clock.advance(61)
            sweep(server)
            Workers(server, Random(at)).run()

            runs.append(check_all_or_nothing(server, tasks, link))
            for _ in range(3):
                sweep(server)
                server.clock.advance(3600)
            assert states(server, link) == Counter({None: len(calls(link))})
            assert server.backend.uncommitted(dt.timedelta(0), 10) == []
            assert server.backend.get_nodes([link.group_uuid if isinstance(link, Group) else link.chain_uuid]) == [None]
    assert runs == sorted(runs)  # from some call on it is sent
    assert runs[-1]
    assert not runs[0]


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_call_again_completes_what_a_dead_sender_began(shape, swept):
    with serving() as trial:
        Tasks(trial)
        count = len(points(trial, SHAPES[shape]()))
    for at in range(count):
        with serving() as server:
            tasks, link = Tasks(server), SHAPES[shape]()
            with pytest.raises(Died):
                send(server, link, mortal(server, Fate(at)))
            Workers(server, Random(at)).once()
            if swept:
                server.clock.advance(61)
                sweep(server)

            send(server, link)
            Workers(server, Random(at)).run()

            assert check_all_or_nothing(server, tasks, link) or swept


@pytest.mark.parametrize("shape", SHAPES)
def test_a_sweep_that_dies_is_completed_by_the_next(shape):
    with serving() as trial:
        Tasks(trial)
        count = len(points(trial, SHAPES[shape]()))
    for at in range(1, count):
        for swept in range(12):
            with serving() as server:
                tasks, link = Tasks(server), SHAPES[shape]()
                with pytest.raises(Died):
                    send(server, link, mortal(server, Fate(at)))
                server.clock.advance(61)
                ports = mortal(server, Fate(swept))
                with contextlib.suppress(Died):
                    sweep(Swept(server, ports))

                sweep(server)
                Workers(server, Random(at)).run()
                check_all_or_nothing(server, tasks, link)


class Swept:
    """A worker's wiring with ports of its own."""

    def __init__(self, server, ports):
        self.config, self.clock, self.random, self.registry = (
            server.config,
            server.clock,
            server.random,
            server.registry,
        )
        self.broker, self.backend = ports.broker, ports.backend


def test_what_was_never_sent_of_a_workflow_that_was_cancelled_ends_too(server, tasks):
    """Its sender died between two queues, and the part that was there was cancelled: the rest waits for nobody."""
    first, second, there = one(on_error=Signature("note", [1])), one(), one(queue="q2")
    link = Group(there, Chain(first, second))
    with pytest.raises(Died):
        send(server, link, mortal(server, Fate(4)))  # get_nodes, store_plan, put_states, stage, stage
    assert [place is not None for place in server.broker.locate([there.uuid, first.uuid])] == [True, False]
    assert server.cancel_delayed_task(there).canceled == (there.uuid,)

    for _ in range(4):
        server.clock.advance(61)
        sweep(server)
    assert check_all_or_nothing(server, tasks, link) is False
    assert server.backend.get_state(second.uuid).is_canceled
    server.clock.advance(3601)
    assert states(server, link) == Counter({None: 4})


@pytest.mark.parametrize("shape", SHAPES)
def test_a_sender_that_was_given_up_sends_nothing(server, tasks, shape):
    """It slept for too long between two of its calls; sweeps have ended it meanwhile."""
    link = SHAPES[shape]()
    for name in ("store_plan", "stage", "enqueue"):
        link = SHAPES[shape]()
        slept: list[str] = []

        def sleep(method, slept=slept, name=name):
            if method == name and not slept:
                slept.append(method)
                return
            if slept and len(slept) == 1:
                slept.append(method)
                server.clock.advance(61)
                sweep(server)

        fate: Any = Fate()
        fate.passed = sleep
        send(server, link, mortal(server, fate))
        Workers(server, Random(1)).run()

        check_all_or_nothing(server, tasks, link)
        tasks.runs.clear()


# -- repeats -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_sent_is_not_sent_again(server, tasks, shape):
    link = SHAPES[shape]()
    method = getattr(server, f"send_{type(link).__name__.lower()}")
    assert method(link).is_new
    assert not method(link).is_new
    workers = Workers(server, Random(3))
    workers.once()
    assert not method(link).is_new
    workers.run()

    again = method(link)

    assert not again.is_new
    workers.run()
    assert check_all_or_nothing(server, tasks, link)


@pytest.mark.parametrize("lost", ["put_states", "store_plan", "enqueue", "stage", "commit_plan", "unstage"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_lost_reply_is_made_up_for(tasks, server, shape, lost):
    """The call was carried out, and nobody heard of it: the sender tries again by itself."""
    link = SHAPES[shape]()
    broken: list[str] = []

    class Losing(Mortal):
        def __getattr__(self, name):
            method = super().__getattr__(name)

            def call(*args, **kwargs):
                answer = method(*args, **kwargs)
                if name == lost and not broken:
                    broken.append(name)
                    raise BrokerUnavailable("the reply was lost")
                return answer

            return call

    class Moving(ManualClock):
        virtual = False

        def wait(self, event, timeout=None):
            self.advance(timeout)
            return False

    fate = Fate()
    broker: Any = Losing(server.broker, fate)
    backend: Any = Losing(server.backend, fate)
    ports = Adapters(broker, backend, server.lock, Moving())
    sent = send(server, link, ports)

    assert len(sent.queues) == len([leaf for leaf in link.signatures() if leaf.uuid in sent.queues])
    Workers(server, Random(2)).run()
    assert check_all_or_nothing(server, tasks, link)


# -- what cannot be sent -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [-1, 1.5, "2", True])
def test_a_wrong_concurrency_is_refused(server, count):
    with pytest.raises(InvalidArgument, match="send_concurrency"):
        server.send_group(Group(one()), count)


def test_something_else_than_the_workflow_asked_for_is_refused(server):
    chain, group = Chain(one()), Group(one())
    for method, wrong in (("group", chain), ("chord", group), ("chain", group), ("chain", one()), ("group", [one()])):
        with pytest.raises(InvalidSignature, match=f"send_{method} takes a {method.title()}, not a"):
            getattr(server, f"send_{method}")(wrong)


@pytest.mark.parametrize("place", range(3))
def test_a_part_that_is_too_large_is_refused_before_anything_is_sent(place):
    with serving(max_message_size=10_000) as server:
        parts = [one(), one(), one()]
        parts[place] = Signature("one", ["x" * 10_000])
        chain = Chain(*parts)
        with pytest.raises(InvalidArgument, match="max_message_size"):
            server.send_chain(chain)

        assert server.backend.get_nodes([chain.chain_uuid]) == [None]
        assert server.broker.queues() == []


def test_a_task_that_was_sent_otherwise_cannot_be_part_of_a_workflow(server, tasks):
    """It would never report to it, and the workflow never end."""
    for ended in (False, True):
        known = one()
        server.send_task(known)
        if ended:
            Workers(server, Random(1)).run()
        for link in (Group(known, one()), Chain(one(), known), Chord(Group(one()), known)):
            with pytest.raises(InvalidSignature, match=f"{known.uuid}.*clone"):
                send(server, link)
            assert server.backend.get_nodes([link.group_uuid if isinstance(link, Group) else link.chain_uuid]) == [None]


def test_the_id_of_a_workflow_stands_for_one(server, tasks):
    """Another one under the same id would wait for the first."""
    first = Group(one(), one(), group_uuid="nightly")
    server.send_group(first)
    for other in (
        Group(one(), one(), group_uuid="nightly"),
        Chord(Group(one(), group_uuid="nightly"), one()),
        Chain(one(), one(), chain_uuid="nightly"),
        Group(Group(one(), group_uuid="nightly"), one()),
    ):
        with pytest.raises(InvalidSignature, match="nightly"):
            send(server, other)
    Workers(server, Random(1)).run()
    assert not server.send_group(first).is_new


def test_every_member_meets_the_pre_publish_handler(server, tasks):
    met = []

    def handler(signature):
        met.append(signature.name)
        return signature.replace(args=[5])

    server.set_pre_publish_handler(handler)
    link = Chain(one(), Group(one(), one()), one())

    server.send_chain(link)
    Workers(server, Random(1)).run()

    assert met == ["one"] * 4
    assert [args[0] for _, args in tasks.runs] == [5] * 4


# -- batches in flight -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "most"), [(0, 4), (1, 1), (2, 2), (None, 3)])
def test_batches_of_a_large_group_are_sent_side_by_side(asked, most):
    """As many as was said; each waits here until all that may be are under way."""
    with serving(default_send_concurrency=3) as server:
        Tasks(server)
        guard, under_way, seen = threading.Lock(), [0], [0]
        together = threading.Barrier(most)
        stage = server.broker.stage

        def slow(hold, batch):
            with guard:
                under_way[0] += 1
                seen[0] = max(seen[0], under_way[0])
                first = len(done) + under_way[0] <= most
            if first:
                together.wait(20)
            answer = stage(hold, batch)
            with guard:
                under_way[0] -= 1
                done.append(len(batch))
            return answer

        done: list[int] = []
        server.broker.stage = slow
        server.send_group(Group(*[one() for _ in range(4 * BATCH)]), asked)

        assert seen == [most]
        assert done == [BATCH] * 4
        assert server.broker.counts("vecna_tasks").pending == 4 * BATCH
