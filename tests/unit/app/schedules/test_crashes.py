"""A worker may die between any two calls of ports: the next one brings what it began to the same end."""

from collections import Counter
from collections.abc import Callable

import pytest

from tests.unit.app.schedules.rig import HOUR, START, Died, Fate, Hand, Rig
from vecna.domain.signature import Signature
from vecna.domain.state import State
from vecna.domain.workflow import Chain, Chord, Group, Link

pytestmark = pytest.mark.slow  # left out by `make unit`


def part(number: int, **fields) -> Signature:
    return Signature("part", [number], **fields)


def task(rig: Rig) -> None:
    rig.server.send_periodic_task("@hourly", part(1, on_success=Signature("after", queue="far")), code="c")


def missed(rig: Rig) -> None:
    rig.server.send_periodic_task("@every 20m", part(1), code="c", missed="all")


def group(rig: Rig) -> None:
    rig.server.send_periodic_group("@hourly", Group(part(1), part(2, queue="far"), part(3)), code="c")


def chord(rig: Rig) -> None:
    rig.server.send_periodic_chord("@hourly", Chord([part(1), part(2, queue="far")], Signature("total")), code="c")


def chain(rig: Rig) -> None:
    links: list[Link] = [part(1), Group(part(2), part(3), part(4)), Signature("total")]
    rig.server.send_periodic_chain("@hourly", Chain(links), code="c")


def unreadable(rig: Rig) -> None:
    rig.server.send_periodic_task("@hourly", part(1), code="c")
    rig.tamper("c", content=b'{"task":{}}')


def without_overlap(rig: Rig) -> None:
    rig.server.send_periodic_group("@hourly", Group(part(1), part(2)), code="c", overlap=False)
    rig.forward(HOUR)
    rig.runs.clear()
    rig.contexts.clear()


SCENES = [task, missed, group, chord, chain, unreadable, without_overlap]


@pytest.fixture(params=[200, 1], ids=["at once", "held back"])
def most_at_once(request, monkeypatch) -> int:
    for module in ("launching", "conclusion"):
        monkeypatch.setattr(f"vecna.app.{module}.MOST_AT_ONCE", request.param)
    return request.param


def outcome(rig: Rig) -> object:
    """What is there at the end, however it came to it."""
    uuids = {context.signature.uuid for context in rig.contexts}
    return (
        {(name, args, due) for name, args, due, _ in rig.runs},
        {uuid: rig.state(uuid).state for uuid in uuids},
        {(letter.uuid, letter.reason.partition(":")[0]) for letter in rig.server.get_dead_tasks()},
        rig.left(),
        rig.server.broker.relay_schedules(),
        [node and node.status for node in rig.server.backend.get_nodes(["c@1767229200000"])],
    )


def begin(scene: Callable[[Rig], None]) -> Rig:
    rig = Rig()
    scene(rig)
    rig.clock.advance(3600)
    return rig


@pytest.mark.parametrize("scene", SCENES)
def test_wherever_a_worker_dies_the_next_one_comes_to_the_same_end(scene, most_at_once):
    healthy = begin(scene)
    fate = Fate()
    Hand(healthy.server, fate).all()
    expected = outcome(healthy)
    assert all(count == 1 for count in healthy.counted().values())
    assert len(fate.points) > 10

    for at in range(len(fate.points)):
        rig = begin(scene)
        mortal = Hand(rig.server, Fate(at), name="mortal")
        with pytest.raises(Died):
            mortal.all()
        before = rig.counted()

        rig.heir().all()

        assert outcome(rig) == expected, (at, fate.points[at])
        again = rig.counted() - Counter(dict.fromkeys(rig.counted(), 1))
        assert again.keys() <= before.keys(), (at, fate.points[at])  # only what ran under the dead one's lease


@pytest.mark.parametrize("scene", [group, chord, chain])
def test_wherever_a_canceller_meets_a_dying_worker_nothing_starts_afterwards(scene, most_at_once):
    fate = Fate()
    Hand(begin(scene).server, fate).all()

    for at in range(len(fate.points)):
        rig = begin(scene)
        mortal = Hand(rig.server, Fate(at), name="mortal")
        with pytest.raises(Died):
            mortal.all()
        answer = rig.server.cancel("c")
        before = rig.counted()

        heir = rig.heir()
        heir.all()
        rig.sweep(heir)

        assert rig.counted() == before, (at, fate.points[at])
        assert answer.schedules == ("c",)
        assert rig.left() == []
        for context in rig.contexts:
            assert rig.state(context.signature.uuid).is_completed
        (node,) = rig.server.backend.get_nodes(["c@1767229200000"])
        assert node is None or node.status != "open", (at, fate.points[at])


def test_a_launcher_that_kills_its_workers_becomes_a_dead_letter_and_ends_what_it_would_have_launched():
    rig = begin(group)
    for _ in range(5):
        hand = Hand(rig.server, name="mortal")
        hand.fire()
        hand.deliveries.lease("vecna_tasks", 10)
        rig.heir()
    rig.heir().all()

    (letter,) = rig.server.get_dead_tasks()
    assert letter.uuid == "c@1767229200000"
    assert rig.state(letter.uuid).state is State.FAILURE
    members = [f"c@1767229200000/t{number}" for number in (2, 3, 4)]
    assert [rig.state(uuid).state for uuid in members] == [State.FAILURE] * 3
    assert "5 times" in rig.state(members[0]).error
    assert rig.runs == []


def test_a_sweeper_does_not_take_a_launcher_that_waits_long_for_a_sender_that_died(most_at_once):
    rig = begin(group)
    mortal = Hand(rig.server, Fate(), name="mortal")
    mortal.fire()
    mortal.wiring.broker._fate.at = len(mortal.wiring.broker._fate.points) + 5
    with pytest.raises(Died):
        mortal.work()
    heir = rig.heir()
    rig.clock.advance(600)
    rig.sweep(heir)
    heir.all()
    rig.sweep(heir)

    assert sorted(args for _, args, _, _ in rig.runs) == [(1,), (2,), (3,)]


assert START.timestamp() == 1767225600
