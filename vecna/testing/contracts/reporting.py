"""Laws of what the reports of members and steps lead to."""

from __future__ import annotations

import itertools
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import pytest

from vecna.adapters.clock import ManualClock, SystemClock
from vecna.domain.plan import plan
from vecna.ports.backend import Backend, Listener
from vecna.ports.plans import Following, NodeStatus, Report, Reported
from vecna.testing.contracts.driven import at_once
from vecna.testing.contracts.driven_plans import MANY, bad, chain, chord, group, nested, node, ok, tell
from vecna.testing.contracts.states import BackendCase
from vecna.testing.contracts.values import PATIENCE

_NOTHING, _ADVANCE, _COMPLETE, _FAIL, _CLOSED = Following
_ENDS = (Following.COMPLETE, Following.FAIL)
_BATCH = 500


class ReportLaws(BackendCase):
    """`Plans.report`."""

    # -- groups ------------------------------------------------------------------------------------------------------

    def test_a_group_is_complete_when_every_member_has_succeeded(self, backend: Backend) -> None:
        """Whichever comes last completes it, and is told so: what follows is sent once, by its worker."""
        whole = plan(group("g", "a", "b", "c"))
        backend.store_plan(whole)

        assert backend.report([ok("g", 2)]) == [Reported(Following.NOTHING, whole.nodes[0])]
        assert (node(backend, "g").done, node(backend, "g").status) == (1, NodeStatus.OPEN)
        assert tell(backend, ok("g", 0), ok("g", 1)) == [_NOTHING, _COMPLETE]

        assert (node(backend, "g").done, node(backend, "g").status) == (3, NodeStatus.COMPLETE)

    def test_a_member_counts_once_however_often_it_reports(self, backend: Backend) -> None:
        """By who it is, not by how many have come: a repeat must not stand for a member that is still missing."""
        backend.store_plan(plan(group("g", "a", "b", "c")))

        assert tell(backend, *[ok("g", 0)] * 5, ok("g", 2), ok("g", 0), ok("g", 2)) == [_NOTHING] * 8
        assert node(backend, "g").done == 2

        assert tell(backend, ok("g", 1)) == [_COMPLETE]

    @pytest.mark.parametrize("last", [0, 1, 2])
    def test_the_member_that_completed_it_is_told_so_again(self, backend: Backend, last: int) -> None:
        """Its worker died before it had sent what follows: whoever takes over does. The others are told nothing."""
        backend.store_plan(plan(group("g", "a", "b", "c")))
        others = [index for index in range(3) if index != last]
        backend.report([ok("g", index) for index in (*others, last)])

        for _ in range(3):
            assert tell(backend, *[ok("g", index) for index in range(3)]) == [
                _COMPLETE if index == last else _CLOSED for index in range(3)
            ]

    def test_a_group_of_one_is_complete_at_once(self, backend: Backend) -> None:
        """The first is the last."""
        backend.store_plan(plan(group("g", "a")))

        assert tell(backend, ok("g", 0), ok("g", 0)) == [_COMPLETE, _COMPLETE]

    @pytest.mark.parametrize("canceled", [False, True])
    @pytest.mark.parametrize("first", [0, 1, 2])
    def test_the_first_member_that_has_not_succeeded_fails_the_group(
        self, backend: Backend, first: int, canceled: bool
    ) -> None:
        """Once, for good, and with its reason; its repeats are told so again, and nothing else changes anything."""
        whole = plan(group("g", "a", "b", "c"))
        backend.store_plan(whole)
        counted, later = [index for index in range(3) if index != first]
        backend.report([ok("g", counted)])

        failure = bad("g", first, "task ö failed", canceled=canceled)
        assert backend.report([failure]) == [Reported(Following.FAIL, whole.nodes[0])]

        state = node(backend, "g")
        assert (state.status, state.done, state.canceled, state.reason) == (
            NodeStatus.FAILED, 1, canceled, "task ö failed",
        )  # fmt: skip
        assert tell(backend, failure, bad("g", later), ok("g", later), ok("g", counted), ok("g", first)) == [
            _FAIL, _CLOSED, _CLOSED, _CLOSED, _CLOSED,
        ]  # fmt: skip
        assert tell(backend, bad("g", first, "another reason", canceled=not canceled)) == [_FAIL]
        assert node(backend, "g") == state

    def test_a_complete_group_cannot_fail(self, backend: Backend) -> None:
        """What follows has been sent."""
        backend.store_plan(plan(group("g", "a", "b")))
        backend.report([ok("g", 0), ok("g", 1)])
        state = node(backend, "g")

        assert tell(backend, bad("g", 0), bad("g", 1)) == [_CLOSED, _CLOSED]

        assert node(backend, "g") == state
        assert tell(backend, ok("g", 1)) == [_COMPLETE]

    @pytest.mark.parametrize("seed", range(20))
    def test_in_any_order_one_member_ends_the_group(self, backend: Backend, seed: int) -> None:
        """Reports come in any order, some of them again and again: one is told of the end, each time it asks."""
        chance = random.Random(seed)
        size, failing = chance.randint(1, 30), chance.choice([0, 0, 1, 3])
        backend.store_plan(plan(group("g", *[f"m{number}" for number in range(size)])))
        failed = set(chance.sample(range(size), min(failing, size)))
        reports = [bad("g", index, f"{index}") if index in failed else ok("g", index) for index in range(size)]
        order = reports + chance.choices(reports, k=2 * size)
        chance.shuffle(order)

        answers: list[tuple[Report, Following]] = []
        while order:
            batch, order = order[:7], order[7:]
            answers += zip(batch, tell(backend, *batch), strict=True)

        owners = {report.index for report, following in answers if following in _ENDS}
        assert len(owners) == 1
        (owner,) = owners
        assert (owner in failed) == bool(failed)
        since = [(report.index, following) for report, following in answers]
        began = next(at for at, (_, following) in enumerate(since) if following in _ENDS)
        assert {following for index, following in since[began:] if index == owner} == {_FAIL if failed else _COMPLETE}
        assert {following for index, following in since[began:] if index != owner} <= {_CLOSED}
        assert {following for _, following in since[:began]} <= {_NOTHING}
        state = node(backend, "g")
        assert state.status is (NodeStatus.FAILED if failed else NodeStatus.COMPLETE)
        assert state.reason == (f"{owner}" if failed else "")

    @pytest.mark.parametrize("failing", [(), (3,), (3, 4, 5)])
    def test_at_the_same_time_one_member_ends_the_group(
        self, backend: Backend, clock: ManualClock, failing: tuple[int, ...]
    ) -> None:
        """Workers everywhere finish at once, each of them twice: the callback is one worker's to send."""
        backends = [self.make(clock) for _ in range(4)]
        for number in range(25):
            uuid = f"g{number}"
            backend.store_plan(plan(group(uuid, *[f"{uuid}-{n}" for n in range(8)])))
            reports = [bad(uuid, n, f"{n}") if n in failing else ok(uuid, n) for n in range(8)]
            shares = [[*reports[start::2], *reports[start::2]] for start in (0, 1, 0, 1)]

            answers = at_once(*[partial(tell, b, *share) for b, share in zip(backends, shares, strict=True)])

            told = list(zip(itertools.chain(*shares), itertools.chain(*answers), strict=True))
            owners = {report.index for report, following in told if following in _ENDS}
            assert len(owners) == 1
            (owner,) = owners
            assert (owner in failing) == bool(failing)
            state = node(backend, uuid)
            assert (state.status, state.reason) == (
                (NodeStatus.FAILED, f"{owner}") if failing else (NodeStatus.COMPLETE, "")
            )

    # -- chains ------------------------------------------------------------------------------------------------------

    def test_a_chain_goes_from_step_to_step(self, backend: Backend) -> None:
        """ADVANCE after each, COMPLETE after the last."""
        whole = plan(chain("c", "a", "b", "d"))
        backend.store_plan(whole)

        assert backend.report([ok("c", 0)]) == [Reported(Following.ADVANCE, whole.nodes[0])]
        assert (node(backend, "c").done, node(backend, "c").status) == (1, NodeStatus.OPEN)
        assert tell(backend, ok("c", 1), ok("c", 2)) == [_ADVANCE, _COMPLETE]
        assert (node(backend, "c").done, node(backend, "c").status) == (3, NodeStatus.COMPLETE)

    def test_a_step_is_told_the_same_again(self, backend: Backend) -> None:
        """Its worker died between the report and the next link; the link that it sent all the same is known by its id.

        Also when the chain has gone on, or has ended: a late repeat takes nothing back.
        """
        backend.store_plan(plan(chain("c", "a", "b", "d")))

        assert tell(backend, ok("c", 0), ok("c", 0), ok("c", 1), ok("c", 0), ok("c", 1)) == [_ADVANCE] * 5
        assert node(backend, "c").done == 2
        assert tell(backend, ok("c", 2), ok("c", 2), ok("c", 0), ok("c", 1)) == [
            _COMPLETE, _COMPLETE, _ADVANCE, _ADVANCE,
        ]  # fmt: skip
        assert (node(backend, "c").done, node(backend, "c").status) == (3, NodeStatus.COMPLETE)

    @pytest.mark.parametrize("canceled", [False, True])
    @pytest.mark.parametrize("at", [0, 1, 2])
    def test_a_step_that_has_not_succeeded_fails_the_chain(self, backend: Backend, at: int, canceled: bool) -> None:
        """Once and for good: no link of it starts any more, whoever reports what."""
        whole = plan(chain("c", "a", "b", "d"))
        backend.store_plan(whole)
        backend.report([ok("c", index) for index in range(at)])

        assert backend.report([bad("c", at, "boom", canceled=canceled)]) == [Reported(Following.FAIL, whole.nodes[0])]

        state = node(backend, "c")
        assert (state.status, state.done, state.canceled, state.reason) == (NodeStatus.FAILED, at, canceled, "boom")
        for index in range(3):
            mine = _FAIL if index == at else _CLOSED
            assert tell(backend, ok("c", index), bad("c", index, "else")) == [_CLOSED, mine]
        assert node(backend, "c") == state

    def test_a_step_that_had_succeeded_can_still_fail_the_chain(self, backend: Backend) -> None:
        """It was cancelled while it ran: it has succeeded, and nothing may follow from it."""
        backend.store_plan(plan(chain("c", "a", "b")))

        assert tell(backend, ok("c", 0), bad("c", 0, canceled=True), ok("c", 0), ok("c", 1)) == [
            _ADVANCE, _FAIL, _CLOSED, _CLOSED,
        ]  # fmt: skip

    def test_a_complete_chain_cannot_fail(self, backend: Backend) -> None:
        """Its result has been passed on."""
        backend.store_plan(plan(chain("c", "a", "b")))
        backend.report([ok("c", 0), ok("c", 1)])

        assert tell(backend, bad("c", 1), bad("c", 0)) == [_CLOSED, _CLOSED]
        assert node(backend, "c").status is NodeStatus.COMPLETE

    def test_at_the_same_time_a_chain_fails_or_goes_on(self, backend: Backend, clock: ManualClock) -> None:
        """A link's end and its cancel meet: after the failure nobody is told to go on."""
        backends = [self.make(clock) for _ in range(2)]
        for number in range(40):
            uuid = f"c{number}"
            backend.store_plan(plan(chain(uuid, f"{uuid}a", f"{uuid}b")))

            first, second = at_once(
                partial(tell, backends[0], ok(uuid, 0), ok(uuid, 0)), partial(tell, backends[1], bad(uuid, 0))
            )

            assert second == [_FAIL]
            assert first in ([_ADVANCE, _ADVANCE], [_ADVANCE, _CLOSED], [_CLOSED, _CLOSED])
            assert tell(backend, ok(uuid, 0), bad(uuid, 0)) == [_CLOSED, _FAIL]

    # -- nested ------------------------------------------------------------------------------------------------------

    def test_an_answer_says_where_to_report_next(self, backend: Backend) -> None:
        """The node as it was stored: what is around it, and which place it has there."""
        whole = plan(nested())
        backend.store_plan(whole)
        nodes = {each.uuid: each for each in whole.nodes}

        for report in (ok("c1", 1), ok("g1", 0), bad("g1", 1), ok("c2", 0), bad("root", 1)):
            (answer,) = backend.report([report])
            assert answer.node == nodes[report.node]
        assert (nodes["c1"].outer, nodes["c1"].index) == ("g1", 0)
        assert (nodes["g1"].outer, nodes["g1"].index) == ("c2", 0)
        assert (nodes["c2"].outer, nodes["c2"].index) == ("root", 1)
        assert {each.root for each in whole.nodes} == {"root"}

    def test_reports_of_one_call_are_answered_one_by_one(self, backend: Backend) -> None:
        """In order; each sees what those before it have done. The nodes around hear nothing by themselves."""
        backend.store_plan(plan(nested()))
        backend.store_plan(plan(group("g", "x", "y")))

        assert tell(
            backend, ok("g", 0), ok("c1", 0), ok("unknown", 0), ok("g", 1), bad("g2", 1), ok("g2", 0), ok("g", 0)
        ) == [_NOTHING, _ADVANCE, _CLOSED, _COMPLETE, _FAIL, _CLOSED, _CLOSED]
        assert tell(backend) == []
        assert node(backend, "root").status is node(backend, "g1").status is NodeStatus.OPEN

    # -- size --------------------------------------------------------------------------------------------------------

    def test_a_group_of_thousands_ends_once_and_in_linear_time(self, backend: Backend) -> None:
        """A report costs the same whether the first or the last of ten thousand: what is done for it is counted."""
        backend.store_plan(plan(chord("c", group("g", *[f"m{number}" for number in range(MANY)]), "last")))
        order = list(range(MANY))
        random.Random(7).shuffle(order)
        told: Counter[Following] = Counter()
        costs: list[int] = []

        for start in range(0, MANY, _BATCH):
            with _counted() as calls:
                answers = tell(backend, *[ok("g", index) for index in order[start : start + _BATCH]])
            told.update(answers)
            costs.append(calls[0])

        assert told == Counter({_NOTHING: MANY - 1, _COMPLETE: 1})
        assert max(costs[1:]) <= 2 * min(costs[1:])
        assert tell(backend, *[ok("g", index) for index in order]) == [_CLOSED] * (MANY - 1) + [_COMPLETE]


class NodeListenLaws(BackendCase):
    """Hearing of the ends of groups and chains, in real time."""

    @pytest.fixture
    def live_plans(self) -> Iterator[Backend]:
        """The backend under test, in real time."""
        backend = self.make(SystemClock())
        yield backend
        backend.close()

    @pytest.fixture
    def ear(self, live_plans: Backend) -> Iterator[Listener]:
        """A listener of it."""
        listener = live_plans.listen()
        yield listener
        listener.close()

    @pytest.mark.parametrize("report", [ok("g", 1), bad("g", 1), ok("c", 1), bad("c", 0), bad("inner", 0)], ids=str)
    def test_the_end_of_a_node_is_heard(self, live_plans: Backend, ear: Listener, report: Report) -> None:
        """Who awaits a group awaits one id, not that of each member."""
        live_plans.store_plan(plan(group("g", "a", "b")))
        live_plans.store_plan(plan(chain("c", "d", group("inner", "e"))))
        ear.watch(["g", "c", "inner"])

        live_plans.report([ok("g", 0), ok("c", 0), report] if report.succeeded else [report])

        assert ear.poll(PATIENCE) == [report.node]

    def test_only_its_end_is_heard(self, live_plans: Backend, ear: Listener) -> None:
        """Ten thousand members must not wake whoever waits for all of them; nor does the end come again."""
        live_plans.store_plan(plan(group("g", "a", "b", "x")))
        live_plans.store_plan(plan(chain("c", "d", "e")))
        ear.watch(["g", "c", "marker"])

        live_plans.report([ok("g", 0), ok("c", 0), ok("g", 1)])
        live_plans.store_plan(plan(group("marker", "m")))
        live_plans.report([ok("marker", 0)])
        assert ear.poll(PATIENCE) == ["marker"]
        live_plans.report([ok("g", 2)])
        assert ear.poll(PATIENCE) == ["g"]
        live_plans.report([ok("g", 2), ok("g", 0), bad("g", 0), ok("c", 1)])
        assert ear.poll(PATIENCE) == ["c"]

    def test_the_end_of_a_node_is_heard_from_other_processes(self, live_plans: Backend, ear: Listener) -> None:
        """The news goes through the store."""
        live_plans.store_plan(plan(group("g", "a")))
        ear.watch(["g"])

        self.make(SystemClock()).report([ok("g", 0)])

        assert ear.poll(PATIENCE) == ["g"]


@contextmanager
def _counted() -> Iterator[list[int]]:
    """Counts the calls of functions, Python's own included, that this thread makes meanwhile."""
    calls = [0]

    def count(_: FrameType, event: str, __: object) -> None:
        calls[0] += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(before)
