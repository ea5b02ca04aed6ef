"""Laws of how long plans are kept."""

from __future__ import annotations

import datetime as dt

import attrs
import pytest

from vecna.adapters.clock import ManualClock, SystemClock
from vecna.domain.plan import Plan, plan
from vecna.ports.backend import Backend
from vecna.ports.plans import Following, NodeStatus, Reported
from vecna.testing.contracts.driven_plans import (
    all_tasks,
    bad,
    chain,
    expected,
    nested,
    node,
    ok,
    stored,
    tell,
)
from vecna.testing.contracts.states import BackendCase
from vecna.testing.contracts.values import MILLISECOND, NOTHING, PATIENCE, SECOND


class PlanReleaseLaws(BackendCase):
    """`Plans.release_plan`, and what never expires."""

    def test_no_plan_expires_by_itself(self, backend: Backend, clock: ManualClock) -> None:
        """A workflow may take years; nor does it go with its end, which only its worker can follow up."""
        whole = plan(nested())
        backend.store_plan(whole)
        backend.commit_plan("root")
        clock.advance(dt.timedelta(days=400))
        assert tell(backend, ok("root", 0), ok("c1", 1), bad("g2", 0)) == [
            Following.ADVANCE, Following.COMPLETE, Following.FAIL,
        ]  # fmt: skip
        backend.report([bad("root", 1)])

        clock.advance(dt.timedelta(days=400))

        assert stored(backend, whole) == expected(whole)
        assert tell(backend, bad("root", 1)) == [Following.FAIL]

    def test_a_released_plan_is_kept_as_long_as_was_said(self, backend: Backend, clock: ManualClock) -> None:
        """With all that belongs to it: what ends late finds out that it is over. Then nothing of it is left."""
        whole = plan(nested())
        backend.store_plan(whole)
        backend.report([bad("root", 0)])
        clock.advance(100 * SECOND)
        backend.release_plan("root", 10 * SECOND)

        clock.advance(10 * SECOND - MILLISECOND)
        assert stored(backend, whole) == expected(whole)
        assert tell(backend, ok("root", 0), bad("root", 0), ok("g1", 1)) == [
            Following.CLOSED, Following.FAIL, Following.NOTHING,
        ]  # fmt: skip
        clock.advance(2 * MILLISECOND)
        _is_gone(backend, whole)

    @pytest.mark.parametrize("keep", [NOTHING, -SECOND])
    def test_a_plan_that_is_not_kept_is_gone_at_once(self, backend: Backend, keep: dt.timedelta) -> None:
        """As with results."""
        whole = plan(nested())
        backend.store_plan(whole)

        backend.release_plan("root", keep)

        _is_gone(backend, whole)

    def test_the_first_release_of_a_plan_counts(self, backend: Backend, clock: ManualClock) -> None:
        """A repeated one starts nothing anew and ends nothing early; nor does a late sender bring it back."""
        whole = plan(nested())
        backend.store_plan(whole)
        backend.release_plan("root", 10 * SECOND)
        clock.advance(6 * SECOND)

        backend.release_plan("root", 10 * SECOND)
        backend.release_plan("root", NOTHING)
        backend.store_plan(whole)
        backend.commit_plan("root")

        assert node(backend, "root").node == whole.nodes[0]
        clock.advance(6 * SECOND)
        _is_gone(backend, whole)

    def test_a_released_plan_gets_nothing_more(self, backend: Backend, clock: ManualClock) -> None:
        """Its sender slept while it stored it, and it was given up: what came now would stay for ever."""
        whole = plan(nested())
        backend.store_plan(attrs.evolve(whole, steps=whole.steps[:1]))
        backend.report([bad("root", 0, canceled=True)])
        backend.release_plan("root", 10 * SECOND)

        backend.store_plan(whole)

        assert [backend.get_step(step.node, step.index) for step in whole.steps[1:]] == [None] * (len(whole.steps) - 1)
        assert not backend.commit_plan("root")
        clock.advance(11 * SECOND)
        _is_gone(backend, whole)

    def test_the_ids_of_a_plan_that_is_gone_are_free(self, backend: Backend, clock: ManualClock) -> None:
        """A new plan under them begins anew, and the old expiry does not catch it."""
        whole = plan(nested())
        backend.store_plan(whole)
        backend.report([ok("g1", 0), bad("root", 0)])
        backend.release_plan("root", SECOND)
        clock.advance(2 * SECOND)
        new = plan(nested())

        backend.store_plan(new)
        clock.advance(100 * SECOND)

        assert stored(backend, new) == expected(new)
        assert backend.uncommitted(NOTHING, 10) == ["root"]
        assert (node(backend, "root").status, node(backend, "g1").done) == (NodeStatus.OPEN, 0)
        assert tell(backend, ok("g1", 1), ok("g1", 0)) == [Following.NOTHING, Following.COMPLETE]

    @pytest.mark.parametrize("keep", [NOTHING, SECOND, 100 * SECOND])
    def test_what_was_given_up_is_not_found_again(
        self, backend: Backend, clock: ManualClock, keep: dt.timedelta
    ) -> None:
        """It is released, and over: no sweeper has to do with it any more, while it is kept or later."""
        backend.store_plan(plan(chain("root", "a")))
        backend.report([bad("root", 0)])
        backend.release_plan("root", keep)

        assert backend.uncommitted(NOTHING, 10) == []
        clock.advance(10 * SECOND)
        assert backend.uncommitted(NOTHING, 10) == []

    def test_in_real_time_a_plan_is_kept_as_long_as_was_said(self) -> None:
        """The store's own expiry does the same as a virtual clock: not before, and not without a release."""
        live_plans = self.make(SystemClock())
        live_plans.store_plan(plan(nested("x")))
        live_plans.store_plan(plan(nested("y")))
        live_plans.store_plan(plan(nested("z")))
        live_plans.release_plan("xroot", 1_000 * SECOND)
        live_plans.release_plan("yroot", SECOND / 1_000)
        poll = live_plans.listen()
        try:
            for _ in range(int(PATIENCE / 0.05)):
                if live_plans.get_nodes(["yroot"]) == [None]:
                    break
                poll.poll(0.05)
        finally:
            poll.close()

        assert live_plans.get_nodes(["yroot", "yg1"]) == [None, None]
        assert None not in live_plans.get_nodes(["xroot", "xg1", "zroot", "zg1"])
        live_plans.close()


def _is_gone(backend: Backend, whole: Plan) -> None:
    assert [backend.get_step(step.node, step.index) for step in whole.steps] == [None] * len(whole.steps)
    assert all_tasks(backend, whole.root, every=True) == []
    assert [all_tasks(backend, uuid, every=False) for uuid, _ in whole.results] == [[]] * len(whole.results)
    nodes = [each.uuid for each in whole.nodes]
    assert backend.get_nodes(nodes) == [None] * len(nodes)
    assert backend.report([ok(nodes[-1], 0)]) == [Reported(Following.CLOSED, None)]
    assert not backend.commit_plan(whole.root)
    assert backend.uncommitted(NOTHING, 10) == []
