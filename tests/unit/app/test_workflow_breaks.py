"""What breaks a workflow off in its middle: a cancel, an outage, a message that cannot be made. It still ends."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.unit.app.schedules.rig import Hand, Rig
from vecna.app.cancelling import Canceller
from vecna.app.delivery_values import Item
from vecna.app.lookup import Lookup
from vecna.domain.errors import BrokerUnavailable
from vecna.domain.signature import Signature
from vecna.domain.state import State, TaskState
from vecna.domain.workflow import Chain, Chord, Group
from vecna.ports.plans import NodeStatus
from vecna.ports.values import Adapters

QUEUE = "vecna_tasks"
MEBIBYTE = 1024 * 1024


class Between:
    """A port with one method replaced."""

    def __init__(self, port: Any, method: str, instead: Callable[..., Any]) -> None:
        self._port = port
        self._method = method
        self._instead = instead

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._port, name)
        return (lambda *args, **kwargs: self._instead(real, *args, **kwargs)) if name == self._method else real


@pytest.fixture
def rig() -> Rig:
    return Rig(max_message_size=MEBIBYTE)


def states(rig: Rig, *signatures: Signature[Any]) -> list[State]:
    return [rig.state(signature.uuid).state for signature in signatures]


# -- a cancel reaches a link that succeeds all the same ----------------------------------------------------------------


@pytest.mark.parametrize("nested", [False, True], ids=["chain", "chain in a chord"])
@pytest.mark.parametrize("dies", [False, True], ids=["outage", "worker dies"])
def test_links_end_though_their_ending_was_broken_off(rig: Rig, nested: bool, dies: bool) -> None:
    links = [Signature(name, [1]) for name in ("tick", "tock", "after")]
    chain, callback = Chain(links), Signature("total")
    if nested:
        rig.server.send_chord(Chord(Group(chain, Signature("part", [2], delay=1_000_000)), callback))
    else:
        rig.server.send_chain(chain)
    away = [True]

    def put_states(real: Any, given: Sequence[TaskState]) -> Any:
        if away and any(state.task_uuid == links[1].uuid for state in given):
            raise BrokerUnavailable("request lost")
        return real(given)

    hand = Hand(rig.server)
    hand.wiring.backend = Between(rig.server.backend, "put_states", put_states)
    runnable, _ = hand.deliveries.admit(hand.deliveries.lease(QUEUE, 10))
    rig.server.broker.cancel(QUEUE, [links[0].uuid])
    for item in runnable:
        hand.deliveries.run(item)
    with pytest.raises(BrokerUnavailable):
        hand.deliveries.finish(runnable)
    away.clear()

    if dies:
        rig.heir().work()
    else:
        hand.deliveries.finish(runnable)
        hand.work()

    assert states(rig, *links) == [State.SUCCESS, State.CANCELED, State.CANCELED]
    assert rig.ran("tock") == rig.ran("after") == []
    if nested:
        assert states(rig, callback) == [State.CANCELED]
    (node,) = rig.server.backend.get_nodes([chain.chain_uuid])
    assert node is not None
    assert node.status is NodeStatus.FAILED


# -- a follow-up that cannot be sent -----------------------------------------------------------------------------------


def test_a_link_that_grows_too_large_fails_its_workflow(rig: Rig) -> None:
    rig.results["tick"] = lambda *_: "x" * (MEBIBYTE // 2)
    large = Signature("tock", ["y" * (MEBIBYTE // 2)], on_error=Signature("after"), delay=1_000_000)
    last, callback = Signature("part"), Signature("total")
    rig.server.send_chord(Chord(Group(Chain(Signature("tick"), large, last), Signature("part", [7])), callback))

    rig.hand.work()

    assert states(rig, large, last, callback) == [State.FAILURE, State.CANCELED, State.FAILURE]
    assert "could not be sent" in rig.state(callback.uuid).error
    assert states(rig, large.on_error[0]) == [State.SUCCESS]
    assert rig.ran("tock") == rig.ran("total") == []
    assert rig.left() == []


def test_what_could_not_be_sent_does_not_run_without_its_arguments(rig: Rig) -> None:
    rig.results["tick"] = lambda *_: "x" * (MEBIBYTE // 2)
    large = Signature("tock", ["y" * (MEBIBYTE // 2)])
    rig.server.send_chain(Chain(Signature("tick"), large))
    rig.hand.once()
    rig.server.backend.forget([large.uuid])

    rig.hand.work()

    assert rig.ran("tock") == []
    assert states(rig, large) == [State.CANCELED]


def test_a_step_whose_launcher_grows_too_large_fails_its_workflow(rig: Rig) -> None:
    rig.results["tick"] = lambda *_: "x" * (MEBIBYTE - 50)
    members = [Signature("tock") for _ in range(201)]
    last = Signature("part")
    rig.server.send_chain(Chain(Signature("tick"), Group(members), last))

    rig.hand.work()

    assert set(states(rig, *members)) == {State.FAILURE}
    assert states(rig, last) == [State.FAILURE]
    assert rig.ran("tock") == rig.ran("part") == []
    assert rig.left() == []


# -- a sender that dies in its middle ----------------------------------------------------------------------------------


def test_of_large_messages_too_all_or_none_are_sent(rig: Rig) -> None:
    """A broker takes in 500 messages or one MiB at a time: the sender may die between two such steps."""
    members = [Signature("part", ["x" * (MEBIBYTE // 4)]) for _ in range(6)]
    callback = Signature("total")

    def in_steps(real: Any, *args: Any) -> Any:
        *hold, messages = args
        answers: list[bool] = []
        for message in messages:
            if sum(len(each.body) for each in messages[: len(answers) + 1]) > MEBIBYTE:
                raise BrokerUnavailable("the store is full")
            answers += real(*hold, [message])
        return answers

    broker = Between(Between(rig.server.broker, "enqueue", in_steps), "stage", in_steps)
    ports = Adapters(broker, rig.server.backend, None, rig.clock)  # type: ignore[arg-type]  # no lock is used
    with pytest.raises(BrokerUnavailable):
        rig.server._workflows.send(Chord(Group(members), callback), ports, threading.Event())
    rig.hand.work()
    rig.clock.advance(rig.server.config.publish_timeout)
    rig.sweep()
    rig.hand.work()

    assert rig.ran("part") == []
    assert set(states(rig, *members, callback)) == {State.CANCELED}
    assert rig.left() == []


# -- a cancel by code while links pass from queue to queue -------------------------------------------------------------


@pytest.mark.parametrize("relayed", [True, False], ids=["relayed", "its worker dies before it relays"])
def test_a_link_that_passes_behind_the_walk_is_found(rig: Rig, relayed: bool) -> None:
    links = [Signature(name, queue=queue) for name, queue in (("tick", "b"), ("tock", "a"), ("part", "b"))]
    rig.server.send_task(Signature("total", queue="a"))
    rig.hand.once("a")
    rig.server.send_chain(Chain(links, code="mine"))

    def cancel_code(real: Any, queue: str, code: str, *cursor: str) -> Any:
        page = real(queue, code, *cursor)
        if queue == "a" and not rig.ran("tick"):
            hand = Hand(rig.server)
            if not relayed:
                hand.wiring.broker = Between(rig.server.broker, "relay", lambda *_: 0)
            hand.once("b")
        return page

    broker = Between(rig.server.broker, "cancel_code", cancel_code)
    found = Canceller(Lookup(rig.server.backend, broker), rig.clock.now()).code("mine")  # type: ignore[arg-type]
    rig.hand.work()

    assert set(found.canceled) >= {links[1].uuid, links[2].uuid}
    assert rig.ran("tock") == rig.ran("part") == []
    assert states(rig, *links) == [State.SUCCESS, State.CANCELED, State.CANCELED]


# -- a workflow that has failed, and parts of which go on for long -----------------------------------------------------


def fail_first(rig: Rig, failing: Signature[Any]) -> tuple[Hand, list[Item]]:
    """Let one task fail at once; whoever holds the others, and these."""
    hand = Hand(rig.server)
    runnable, _ = hand.deliveries.admit(hand.deliveries.lease(QUEUE, 10))
    first = [item for item in runnable if item.uuid == failing.uuid]
    assert hand.deliveries.run(first[0])
    hand.deliveries.finish(first)
    others = [item for item in runnable if item.uuid != failing.uuid]
    assert rig.state(failing.uuid).state is State.FAILURE
    return hand, others


def keep_on(rig: Rig, hand: Hand, seconds: int) -> None:
    for _ in range(seconds // 10):
        rig.clock.advance(10)
        hand.deliveries.extend()
    rig.sweep()


def expire(rig: Rig) -> None:
    rig.clock.advance(3600)
    rig.sweep()
    rig.clock.advance(3600)


def boom(*_: Any) -> None:
    raise ValueError("boom")


def test_a_chain_goes_on_long_after_its_group_has_failed(rig: Rig) -> None:
    rig.results["part"] = boom
    wrong, links = Signature("part"), [Signature("tick", [1]), Signature("tock")]
    group = Group(Chain(links), wrong)
    rig.server.send_group(group)

    hand, others = fail_first(rig, wrong)
    keep_on(rig, hand, 2 * 3600)
    hand.deliveries.run(others[0])
    hand.deliveries.finish(others)
    hand.work()

    assert states(rig, *links) == [State.SUCCESS, State.SUCCESS]
    expire(rig)
    assert rig.server.backend.get_nodes([group.group_uuid]) == [None]
    assert rig.server.backend.get_states([each.uuid for each in group.signatures()]) == [None] * 3


def test_a_chord_finds_its_results_long_after_its_group_has_failed(rig: Rig) -> None:
    rig.results["part"] = boom
    wrong, members, callback = Signature("part"), [Signature("tick", [1]), Signature("tock", [2])], Signature("total")
    group = Group(Chord(members, callback), wrong)
    rig.server.send_group(group)

    hand, others = fail_first(rig, wrong)
    hand.deliveries.run(others[0])
    hand.deliveries.finish(others[:1])
    keep_on(rig, hand, 2 * 3600)
    hand.deliveries.run(others[1])
    hand.deliveries.finish(others[1:])
    hand.work()

    assert [args for name, args, *_ in rig.runs if name == "total"] == [(1, 2)]
    expire(rig)
    assert rig.server.backend.get_nodes([group.group_uuid]) == [None]
    assert rig.server.backend.get_states([each.uuid for each in group.signatures()]) == [None] * 4


def test_of_a_failed_group_nothing_is_left_when_its_last_member_has_ended(rig: Rig) -> None:
    rig.results["part"] = boom
    wrong, late = Signature("part"), Signature("tick", keep_result=False)
    group = Group(wrong, late)
    rig.server.send_group(group)

    hand, others = fail_first(rig, wrong)
    hand.deliveries.run(others[0])
    hand.deliveries.finish(others)

    assert rig.server.backend.get_nodes([group.group_uuid]) != [None]
    expire(rig)
    assert rig.server.backend.get_nodes([group.group_uuid]) == [None]
    assert rig.server.backend.get_states([wrong.uuid, late.uuid]) == [None, None]


# -- callbacks of what is never reached --------------------------------------------------------------------------------


def test_callbacks_of_a_task_deep_in_a_step_that_is_not_reached_end_too(rig: Rig) -> None:
    rig.results["tick"] = boom
    callbacks = [Signature("after", on_success=Signature("after")), Signature("after")]
    inner = Signature("part", on_success=callbacks[0], on_error=callbacks[1])
    rig.server.send_chain(Chain(Signature("tick"), Group(Chain(Signature("tock"), inner), Signature("part"))))

    rig.hand.work()

    waiting = [inner, *callbacks, callbacks[0].on_success[0]]
    assert set(states(rig, *waiting)) == {State.CANCELED}
    assert rig.ran("after") == []


@pytest.mark.parametrize("method", ["store_plan", "put_states", "commit_plan"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_waits_for_ever_when_its_sender_died(rig: Rig, method: str, when: str) -> None:
    def dying(real: Any, *args: Any) -> Any:
        if when == "after":
            real(*args)
        raise BrokerUnavailable("the sender has died")

    backend = Between(rig.server.backend, method, dying)
    ports = Adapters(rig.server.broker, backend, None, rig.clock)  # type: ignore[arg-type]  # no lock is used
    chain = Chain(Signature("tick"), Signature("tock"))
    with pytest.raises(BrokerUnavailable):
        rig.server._workflows.send(chain, ports, threading.Event())
    rig.clock.advance(rig.server.config.publish_timeout)
    rig.sweep()
    rig.hand.work()

    found = rig.server.backend.get_states([each.uuid for each in chain.signatures()])
    assert all(state is None or state.is_completed for state in found)
    expire(rig)
    assert rig.server.backend.get_nodes([chain.chain_uuid]) == [None]


def test_a_callback_that_was_cancelled_causes_nothing_when_its_chord_fails(rig: Rig) -> None:
    rig.results["part"] = boom
    callback = Signature("total", on_error=Signature("after"))
    rig.server.send_chord(Chord([Signature("part"), Signature("tick")], callback))
    assert rig.server.cancel_delayed_task(callback.uuid).canceled == (callback.uuid,)

    rig.hand.work()

    assert states(rig, callback, callback.on_error[0]) == [State.CANCELED, State.CANCELED]
    assert rig.ran("after") == []
