"""Laws of the plans of workflows: what is stored and committed."""

from __future__ import annotations

import datetime as dt

import attrs
import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.arg import Arg
from vecna.domain.errors import InvalidArgument
from vecna.domain.plan import plan
from vecna.domain.position import Position
from vecna.domain.signature import Signature
from vecna.ports.backend import Backend
from vecna.ports.plans import Following, NodeStatus, Reported
from vecna.testing.contracts.driven_plans import (
    MANY,
    all_tasks,
    bad,
    call,
    chain,
    expected,
    group,
    nested,
    node,
    ok,
    stored,
)
from vecna.testing.contracts.states import BackendCase
from vecna.testing.contracts.values import HOSTILE, MILLISECOND, NOTHING, SECOND


class PlanLaws(BackendCase):
    """`Plans`, reports aside."""

    # -- what is stored ----------------------------------------------------------------------------------------------

    def test_a_stored_plan_is_there_for_every_process(self, backend: Backend, clock: ManualClock) -> None:
        """Whoever finishes one of its tasks must know where to report, and what comes next."""
        whole = plan(nested())
        backend.store_plan(whole)

        assert stored(backend, whole) == stored(self.make(clock), whole) == expected(whole)
        for state in backend.get_nodes([each.uuid for each in whole.nodes]):
            assert state is not None
            assert (state.status, state.done, state.canceled, state.reason) == (NodeStatus.OPEN, 0, False, "")
            assert abs(state.created_at - clock.now()) <= MILLISECOND
        assert not node(backend, "root").committed

    def test_what_was_never_stored_is_unknown(self, backend: Backend) -> None:
        """None, nothing, and no error: it may have expired."""
        backend.store_plan(plan(chain("c", "a", "b")))

        assert backend.get_nodes(["x", "c", "x"]) == [None, node(backend, "c"), None]
        assert backend.get_nodes([]) == []
        assert [backend.get_step("c", index) for index in (0, 2, 3)] == [None] * 3
        assert backend.get_step("x", 1) is None
        assert all_tasks(backend, "x", every=True) == all_tasks(backend, "x", every=False) == []
        assert backend.report([ok("x", 0), bad("x", 0)]) == [Reported(Following.CLOSED, None)] * 2
        backend.release_plan("x", SECOND)
        assert not backend.commit_plan("x")
        assert backend.get_nodes(["x"]) == [None]

    def test_a_step_beyond_the_last_counts_as_the_last(self, backend: Backend) -> None:
        """A message says where it stands; one that says too much ends its chain like the last, and does no harm."""
        backend.store_plan(plan(chain("c", "a", "b")))

        assert backend.report([ok("c", 2)])[0].following is Following.COMPLETE
        assert (node(backend, "c").status, node(backend, "c").done) == (NodeStatus.COMPLETE, 2)

    def test_a_step_keeps_its_calls_whole(self, backend: Backend, clock: ManualClock) -> None:
        """They are enqueued as they were prepared when the workflow was sent; the sender is long gone."""
        full: Signature = Signature(
            "tä sk",
            [1, Arg("uint8", 7), "x\x00ü", None, [1.5], b"\x00\xff"],
            kwargs={"key": {"deep": [1, {}]}},
            uuid="b",
            headers={"trace": "1"},
            on_success=call("s"),
            on_error=[call("e1"), call("e2")],
            code="code",
            queue="elsewhere",
            delay=dt.timedelta(milliseconds=1500),
            priority=7,
            retry_count=3,
            timeout=5,
            immutable=True,
        )
        at = Signature("t", uuid="c", eta=clock.now(), expires=clock.now())
        whole = plan(chain("root", "a", group("g", full, at), "d"))
        backend.store_plan(whole)

        first, second = backend.get_step("root", 1), backend.get_step("root", 2)

        assert first == whole.steps[0]
        assert first is not None
        assert [each.position for each in first.first] == [Position("g", 0), Position("g", 1)]
        assert [each.to_json() for each in first.first] == [each.to_json() for each in whole.steps[0].first]
        assert (first.leaves, first.takes) == ((("b", "tä sk"), ("c", "t")), "")
        assert second == whole.steps[1]
        assert second is not None
        assert second.takes == "g"

    def test_tasks_are_given_in_pages(self, backend: Backend) -> None:
        """In order: the results go to a callback as they come. Nested ones in their place."""
        inner = group("inner", *[f"i{number}" for number in range(40)])
        whole = plan(chain("root", group("g", *[f"m{n}" for n in range(30)], inner, chain("c", "x", "y")), "z"))
        backend.store_plan(whole)
        results = [f"m{n}" for n in range(30)] + [f"i{n}" for n in range(40)] + ["y"]

        for page in (1, 7, 71, 500):
            assert all_tasks(backend, "g", every=False, page=page) == results
            assert sorted(all_tasks(backend, "root", every=True, page=page)) == sorted([*results, "x", "z"])
        assert backend.get_tasks("g", every=False, offset=69, limit=5) == ["i39", "y"]
        assert backend.get_tasks("g", every=False, offset=71, limit=5) == []
        assert backend.get_tasks("g", every=False, offset=1_000, limit=5) == []
        assert backend.get_tasks("g", every=False, offset=0, limit=0) == []
        assert all_tasks(backend, "g", every=True) == all_tasks(backend, "c", every=False) == []

    def test_a_workflow_may_be_large(self, backend: Backend) -> None:
        """Thousands of members, and of links, each with a message of its own."""
        members = group("g", *[f"m{number}" for number in range(MANY)])
        whole = plan(chain("root", "a", members, *[f"l{number}" for number in range(1_000)]))

        backend.store_plan(whole)

        assert all_tasks(backend, "g", every=False) == [f"m{number}" for number in range(MANY)]
        assert len(all_tasks(backend, "root", every=True)) == MANY + 1_001
        step, last = backend.get_step("root", 1), backend.get_step("root", 1_001)
        assert step == whole.steps[0]
        assert last == whole.steps[1_000]

    # -- repeats -----------------------------------------------------------------------------------------------------

    def test_a_plan_that_is_stored_again_stays_as_it_is(self, backend: Backend, clock: ManualClock) -> None:
        """Its sender repeats the call; others have begun to work on it meanwhile. What has been told is not lost."""
        whole = plan(nested())
        backend.store_plan(whole)
        backend.report([ok("root", 0), ok("g1", 1), bad("g2", 0)])
        assert backend.commit_plan("root")
        before = backend.get_nodes([each.uuid for each in whole.nodes])
        clock.advance(SECOND)

        backend.store_plan(whole)

        assert backend.get_nodes([each.uuid for each in whole.nodes]) == before
        assert stored(backend, whole) == expected(whole)
        assert backend.uncommitted(NOTHING, 10) == []

    def test_the_first_plan_of_an_id_counts(self, backend: Backend) -> None:
        """As with tasks: an id that is known is not accepted with another content."""
        whole = plan(chain("root", "a", group("g", "b1", "b2"), "c"))
        backend.store_plan(whole)
        other = attrs.evolve(
            whole,
            nodes=tuple([attrs.evolve(each, size=each.size + 1, code="other") for each in whole.nodes]),
            steps=tuple([attrs.evolve(each, first=(call("x"),), takes="y") for each in whole.steps]),
            results=(("g", ("x",)),),
            first=(call("x"),),
            later=(),
        )

        backend.store_plan(other)

        assert stored(backend, whole) == expected(whole)

    @pytest.mark.parametrize("part", ["root", "nodes", "steps", "no tasks"])
    def test_a_plan_of_which_a_part_is_there_is_completed(self, backend: Backend, part: str) -> None:
        """Its sender died while it stored it, and the call is repeated. What has begun already goes on."""
        whole = plan(nested())
        backend.store_plan(
            attrs.evolve(
                whole,
                nodes=whole.nodes[:1] if part == "root" else whole.nodes,
                steps=whole.steps[:1] if part == "steps" else (),
                results=(),
                first=() if part == "no tasks" else whole.first,
                later=() if part == "no tasks" else whole.later,
            )
        )
        backend.report([ok("root", 0)])

        backend.store_plan(whole)

        assert stored(backend, whole) == expected(whole)
        assert node(backend, "root").done == 1

    def test_plans_are_kept_apart(self, backend: Backend) -> None:
        """What is told to one, or done with one, is nothing to another."""
        first, second = plan(nested("x")), plan(nested("y"))
        backend.store_plan(first)
        backend.store_plan(second)

        backend.report([bad("xroot", 0), bad("xg1", 0)])
        backend.commit_plan("xroot")
        backend.release_plan("xroot", NOTHING)

        assert stored(backend, second) == expected(second)
        assert node(backend, "yroot").status is node(backend, "yg1").status is NodeStatus.OPEN
        assert backend.uncommitted(NOTHING, 10) == ["yroot"]

    # -- commit ------------------------------------------------------------------------------------------------------

    def test_a_commit_makes_it_sent(self, backend: Backend, clock: ManualClock) -> None:
        """By one write; repeated, it is still so. Before it, whoever finds it may give it up."""
        backend.store_plan(plan(nested()))

        assert backend.commit_plan("root")
        assert backend.commit_plan("root")

        assert node(backend, "root").committed
        assert node(self.make(clock), "root").committed
        assert backend.uncommitted(NOTHING, 10) == []

    @pytest.mark.parametrize("canceled", [False, True])
    def test_what_has_failed_before_it_was_committed_cannot_be(self, backend: Backend, canceled: bool) -> None:
        """It was given up while its sender slept: the sender learns of it, and ends what it holds."""
        backend.store_plan(plan(nested()))
        backend.report([bad("root", 0, canceled=canceled)])

        assert not backend.commit_plan("root")
        assert not backend.commit_plan("root")

        assert not node(backend, "root").committed

    def test_a_commit_stands_whatever_comes_of_the_workflow(self, backend: Backend) -> None:
        """A repeated commit is answered as the first: it was sent. An inner failure is no failure of the root."""
        for uuid, report in (("c1", ok("c1", 0)), ("c2", bad("c2", 0))):
            backend.store_plan(plan(chain(uuid, uuid + "a")))
            assert backend.commit_plan(uuid)
            backend.report([report])
            assert backend.commit_plan(uuid)
        backend.store_plan(plan(chain("quick", "a")))
        backend.report([ok("quick", 0)])
        assert backend.commit_plan("quick")  # its only task was done before its sender said so
        backend.store_plan(plan(group("g", group("inner", "x"), "y")))
        backend.report([bad("inner", 0)])
        assert backend.commit_plan("g")

    def test_plans_that_nobody_has_committed_are_found(self, backend: Backend, clock: ManualClock) -> None:
        """Their sender died. Oldest first, old enough, not more than asked for; roots only."""
        for uuid in ("w1", "w2", "w3", "w4"):
            backend.store_plan(plan(group(uuid, group(uuid + "inner", uuid + "a"))))
            clock.advance(10 * SECOND)
        backend.commit_plan("w2")
        backend.store_plan(plan(group("w1", group("w1inner", "w1a"))))  # its age is that of the first call

        assert backend.uncommitted(NOTHING, 10) == ["w1", "w3", "w4"]
        assert backend.uncommitted(20 * SECOND, 10) == ["w1", "w3"]
        assert backend.uncommitted(20 * SECOND + MILLISECOND, 10) == ["w1"]
        assert backend.uncommitted(NOTHING, 2) == ["w1", "w3"]
        assert backend.uncommitted(NOTHING, 0) == []
        assert backend.uncommitted(1_000 * SECOND, 10) == []

    # -- refusals ----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_ids_of_nodes_outside_the_rule_are_refused(self, backend: Backend, hostile: str) -> None:
        """Before anything is done: they would become part of a key."""
        whole = plan(group("g", "a", group("inner", "b")))
        spoilt = attrs.evolve(whole, nodes=(whole.nodes[0], attrs.evolve(whole.nodes[1], uuid=hostile)))
        for refused in (
            lambda: backend.store_plan(spoilt),
            lambda: backend.commit_plan(hostile),
            lambda: backend.get_nodes(["g", hostile]),
            lambda: backend.report([bad("g", 0), bad(hostile, 0)]),
            lambda: backend.get_step(hostile, 1),
            lambda: backend.get_tasks(hostile, every=True, offset=0, limit=10),
            lambda: backend.release_plan(hostile, NOTHING),
        ):
            with pytest.raises(InvalidArgument):
                refused()

        assert backend.get_nodes(["g", "inner"]) == [None, None]
        assert backend.uncommitted(NOTHING, 10) == []
        backend.store_plan(whole)
        with pytest.raises(InvalidArgument):
            backend.report([bad("g", 0), bad(hostile, 0)])
        assert node(backend, "g").status is NodeStatus.OPEN
