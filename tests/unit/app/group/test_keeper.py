"""Leases of children that cannot speak, on memory and a virtual clock."""

import datetime as dt

import msgspec
import pytest

from tests.unit.app.doubles import logged
from tests.unit.app.worker.wiring import TestWiring
from vecna.app.group.keeper import Keeper
from vecna.app.group.reports import Alive, Asks, Ended, Held, Run
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.signature import Signature
from vecna.ports.values import Standing

QUEUE = "vecna_tasks"
LEASE, BEAT, HARD = 30.0, 10.0, 100.0


def held(queue, token, runs, over=()):
    return Held(queue, token, msgspec.Raw(msgspec.json.encode(runs)), list(over))


class Child:
    """What the keeper knows of a process."""

    def __init__(self, name="g.1"):
        self.name, self.killed = name, False

    def kill(self):
        self.killed = True


class Scene:
    """A keeper, a child, and the queue that it has leased from."""

    def __init__(self, lines):
        self.lines = lines
        self.wiring = TestWiring.make(lease=LEASE, heartbeat=BEAT)
        self.keeper = Keeper(self.wiring, "g")
        self.child = Child()
        self.broker = self.wiring.broker

    def hold(self, *names, **limits):
        """Have the child lease tasks of these names, and say so; gives the lease."""
        self.wiring.send(*[Signature(name, uuid=name) for name in names])
        lease = self.lease("child")
        self.keeper.heard(self.child, held(QUEUE, lease.token, self.runs(names, limits)))
        return lease

    def runs(self, names, limits):
        return [Run(name, name, limits.get(name, HARD)) for name in names]

    def alive(self, lease=None, **left):
        """Have the child say that it is alive."""
        holds = [held(QUEUE, lease.token, [Run(name, name, limit) for name, limit in left.items()])] if lease else []
        self.keeper.heard(self.child, Alive(holds))

    def lease(self, worker="other", count=100, queue=QUEUE):
        call = self.wiring.clock.monotonic() * 1000 + len(self.broker.calls)
        duration = dt.timedelta(seconds=LEASE)
        return self.broker.lease(queue, count, worker=worker, call=int(call), duration=duration, max_deliveries=5)

    def pass_time(self, seconds):
        """Beat by beat."""
        until = self.wiring.clock.monotonic() + seconds
        while (now := self.wiring.clock.monotonic()) < until:
            following = self.keeper.step()
            assert following > now
            self.wiring.clock.advance(min(following, until) - now)
        self.keeper.step()


@pytest.fixture
def scene():
    with logged() as lines:
        yield Scene(lines)


def crashes(lease):
    return {item.uuid: item.crashes for item in lease.deliveries}


def test_the_leases_of_a_child_that_says_nothing_are_kept_and_that_is_said_once(scene):
    lease = scene.hold("a")
    scene.pass_time(3 * LEASE)

    assert scene.lease().deliveries == ()
    (line,) = scene.lines.of("warning")
    assert line.startswith("worker g.1 was not heard for ")
    scene.alive(lease, a=HARD)
    assert scene.lines.of("info") == ["worker g.1 is heard again"]


def test_what_a_dead_child_held_is_there_at_once_and_counted(scene):
    scene.hold("a", "b")
    scene.keeper.buried(scene.child, True)
    scene.keeper.step()

    assert crashes(scene.lease()) == {"a": 1, "b": 1}


def test_what_a_child_held_that_was_stopped_is_there_at_once_and_not_counted(scene):
    scene.hold("a", "b")
    scene.keeper.buried(scene.child, False)
    scene.keeper.step()

    assert crashes(scene.lease()) == {"a": 0, "b": 0}


def test_a_silent_child_is_killed_for_the_run_over_its_limit_and_that_alone_is_counted(scene):
    scene.hold("a", "b", b=2 * LEASE)
    scene.pass_time(2 * LEASE - 1)
    assert not scene.child.killed
    scene.pass_time(BEAT)
    assert scene.child.killed
    (line,) = scene.lines.of("error")
    assert "over its hard limit is b b;" in line
    scene.keeper.buried(scene.child, True)
    scene.keeper.step()

    assert crashes(scene.lease()) == {"a": 0, "b": 1}


def test_a_child_that_speaks_says_itself_what_is_over_its_limit(scene):
    lease = scene.hold("a", a=5)
    scene.alive(lease, a=1)
    scene.pass_time(BEAT)
    assert not scene.child.killed  # it will say so, or has ended it
    scene.alive(lease, a=-4)
    scene.keeper.step()

    assert scene.child.killed


@pytest.mark.parametrize("report", [Ended(["a"]), Alive([])])
def test_what_has_ended_has_no_limit_any_more(scene, report):
    scene.hold("a", a=5)
    scene.keeper.heard(scene.child, report)
    scene.pass_time(4 * BEAT)

    assert not scene.child.killed


def test_what_is_not_held_any_more_is_not_kept(scene):
    scene.hold("a")
    scene.alive()
    scene.pass_time(LEASE + 1)
    scene.lease()
    scene.pass_time(LEASE + 1)

    assert scene.broker.calls.count("extend") == 0


def test_what_is_said_to_be_over_with_another_report_is_not_kept(scene):
    first = scene.hold("a")
    scene.keeper.heard(scene.child, held("other", "1:child:1", [], [(QUEUE, first.token)]))
    for _ in range(2):  # at first it looks like an outage
        scene.pass_time(LEASE + 1)
        found = scene.lease().deliveries

    assert [item.uuid for item in found] == ["a"]


def test_what_a_silent_child_got_and_could_not_report_any_more_is_kept(scene):
    scene.wiring.send(Signature("a", uuid="a"))
    scene.alive()
    scene.keeper.heard(scene.child, Asks(QUEUE, "child", 1))
    taken = scene.lease("child")
    assert len(taken.deliveries) == 1
    for _ in range(2):
        scene.pass_time(LEASE + 1)
        assert scene.lease().deliveries == ()

    assert scene.broker.extend(QUEUE, [taken.token], dt.timedelta(seconds=1))[0].alive


def test_what_a_child_got_just_before_its_death_goes_back_uncounted(scene):
    scene.hold("a")
    scene.wiring.send(Signature("b", uuid="b"))
    lease = scene.lease("child")
    scene.keeper.heard(scene.child, Asks(QUEUE, "child", int(lease.token.rpartition(":")[2])))
    scene.keeper.buried(scene.child, True)
    scene.keeper.step()

    assert crashes(scene.lease()) == {"a": 1, "b": 0}


def test_what_a_dead_child_asked_for_and_had_not_got_it_does_not_get_any_more(scene):
    scene.keeper.heard(scene.child, Asks(QUEUE, "child", 10**9))
    scene.keeper.buried(scene.child, True)
    scene.keeper.step()
    scene.wiring.send(Signature("a", uuid="a"))

    assert scene.lease("child").deliveries == ()  # its call was on the way
    assert crashes(scene.lease()) == {"a": 0}


def test_a_lease_that_was_lost_is_forgotten(scene):
    lease = scene.hold("a")
    scene.broker.forfeit(QUEUE, [lease.token], max_deliveries=5)
    scene.pass_time(3 * BEAT)

    assert scene.broker.calls.count("extend") == 1


def test_what_could_not_be_handed_over_is_as_soon_as_the_broker_is_back(scene):
    scene.hold("a", "b")
    scene.broker.down = True
    scene.keeper.buried(scene.child, False)
    scene.keeper.step()
    scene.broker.down = False
    scene.pass_time(BEAT)

    assert crashes(scene.lease()) == {"a": 0, "b": 0}


def test_what_another_holds_by_then_is_left_alone(scene):
    lease = scene.hold("a")
    scene.broker.forfeit(QUEUE, [lease.token], max_deliveries=5)
    again = scene.lease()
    scene.keeper.buried(scene.child, False)
    scene.keeper.step()

    assert crashes(again) == {"a": 1}
    assert scene.broker.locate(["a"])[0].standing is Standing.LEASED


@pytest.mark.parametrize("spoken", ["in its report", "at its end"])
def test_a_child_that_is_silent_while_only_ends_wait_to_be_recorded_is_killed_some_time(scene, spoken):
    """Something else than a task holds its interpreter: its process is stopped, or a library waits for ever."""
    lease = scene.hold("a", a=5)
    if spoken == "in its report":
        scene.alive(lease, a=None)
    else:
        scene.keeper.heard(scene.child, Ended(["a"]))
    scene.pass_time(scene.wiring.config.hard_timeout - 1)
    assert not scene.child.killed
    scene.pass_time(BEAT)
    assert scene.child.killed


def test_a_keeper_that_was_stopped_itself_listens_before_it_judges(scene):
    """What the child has said meanwhile was not read."""
    lease = scene.hold("a", a=2 * LEASE)
    scene.keeper.step()
    scene.wiring.clock.advance(3 * LEASE)
    scene.keeper.step()
    assert not scene.child.killed
    scene.alive(lease, a=HARD)
    scene.pass_time(BEAT)
    assert not scene.child.killed


def test_a_keeper_that_was_stopped_itself_judges_who_goes_on_saying_nothing(scene):
    scene.hold("a", a=2 * LEASE)
    scene.keeper.step()
    scene.wiring.clock.advance(3 * LEASE)
    scene.pass_time(2 * BEAT)

    assert scene.child.killed


# -- one queue that is out of reach ------------------------------------------------------------------------------------

ERRORS = [BrokerUnavailable("its node is away"), ValueError("an adapter's fault")]


def break_off(scene, method, error, calls):
    """Have the first calls of a method that name queue `a` raise."""
    act, left = getattr(scene.broker._port, method), iter(range(calls))

    def broken(queue, *args, **kwargs):
        if queue == "a" and next(left, None) is not None:
            raise error
        return act(queue, *args, **kwargs)

    setattr(scene.broker._port, method, broken)


def hold_both(scene):
    """Have the child lease a task of queue `a` and one of the ordinary queue."""
    scene.wiring.send(Signature("a", uuid="a", queue="a"))
    lease = scene.lease("child", queue="a")
    scene.keeper.heard(scene.child, held("a", lease.token, scene.runs(["a"], {})))
    return scene.hold("b")


@pytest.mark.parametrize("error", ERRORS)
def test_it_keeps_no_other_from_being_extended(scene, error):
    hold_both(scene)
    break_off(scene, "extend", error, 1000)
    for _ in range(2):  # at first it looks like an outage
        scene.pass_time(LEASE + 1)
        assert scene.lease().deliveries == ()


@pytest.mark.parametrize("error", ERRORS)
def test_what_cannot_be_asked_there_keeps_no_lease_from_being_extended(scene, error):
    scene.hold("b")
    scene.keeper.heard(scene.child, Asks("a", "child", 10**9))
    break_off(scene, "lease", error, 1000)
    for _ in range(2):
        scene.pass_time(LEASE + 1)
        assert scene.lease().deliveries == ()


@pytest.mark.parametrize("error", ERRORS)
def test_what_a_dead_child_held_is_handed_over_at_once_from_others_and_from_there_as_soon_as_it_can_be(scene, error):
    hold_both(scene)
    break_off(scene, "forfeit", error, 2)
    scene.keeper.buried(scene.child, True)
    scene.keeper.step()

    assert crashes(scene.lease()) == {"b": 1}
    scene.pass_time(BEAT)
    assert crashes(scene.lease(queue="a")) == {"a": 1}
