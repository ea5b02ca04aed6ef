"""Laws of how long what is known is kept."""

from __future__ import annotations

import datetime as dt

import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.state import State
from vecna.ports.backend import Backend
from vecna.testing.contracts.states import ENDS, STEPS, BackendCase, state
from vecna.testing.contracts.values import MILLISECOND, NOTHING, SECOND


class KeepLaws(BackendCase):
    """`States.release`, `forget` and `unreleased`."""

    @pytest.mark.parametrize("step", [*STEPS, *ENDS])
    def test_nothing_expires_by_itself(self, backend: Backend, clock: ManualClock, step: State) -> None:
        """A task may take weeks, and its end must be there until the broker has let go of it."""
        put = state("a", step)
        backend.put_states([put])

        clock.advance(dt.timedelta(days=400))

        assert backend.get_state("a") == put

    def test_a_released_end_is_kept_as_long_as_was_said(self, backend: Backend, clock: ManualClock) -> None:
        """From the release on, by the store's clock."""
        put = state("a", State.SUCCESS)
        backend.put_states([put])
        clock.advance(100 * SECOND)
        backend.release(["a"], 10 * SECOND)

        clock.advance(10 * SECOND - MILLISECOND)
        assert backend.get_state("a") == put
        clock.advance(2 * MILLISECOND)
        assert backend.get_state("a") is None
        assert backend.get_states(["a"]) == [None]

    @pytest.mark.parametrize("keep", [NOTHING, -SECOND])
    def test_what_is_not_kept_is_gone_at_once(self, backend: Backend, keep: dt.timedelta) -> None:
        """`keep_result=False`."""
        backend.put_states([state("a", State.SUCCESS)])

        backend.release(["a"], keep)

        assert backend.get_state("a") is None

    def test_a_repeated_release_does_not_start_anew(self, backend: Backend, clock: ManualClock) -> None:
        """The reply was lost, or another released it as well: the first counts."""
        backend.put_states([state("a", State.SUCCESS)])
        backend.release(["a"], 10 * SECOND)
        clock.advance(6 * SECOND)

        backend.release(["a"], 10 * SECOND)

        clock.advance(6 * SECOND)
        assert backend.get_state("a") is None

    def test_a_repeated_release_does_not_end_it_early(self, backend: Backend) -> None:
        """Nor does one with another duration."""
        put = state("a", State.SUCCESS)
        backend.put_states([put])
        backend.release(["a"], 10 * SECOND)

        backend.release(["a"], NOTHING)

        assert backend.get_state("a") == put

    @pytest.mark.parametrize("step", STEPS)
    def test_what_has_not_ended_cannot_be_released(self, backend: Backend, clock: ManualClock, step: State) -> None:
        """It is left alone; its end, when it comes, is kept until it is released itself."""
        backend.put_states([state("a", step)])

        backend.release(["a", "unknown"], NOTHING)
        backend.release(["a", "unknown"], SECOND)

        assert backend.get_state("a") == state("a", step)
        backend.put_states([state("a", State.SUCCESS, "2:w:1")])
        clock.advance(2 * SECOND)
        assert backend.get_state("a") == state("a", State.SUCCESS, "2:w:1")

    def test_what_is_released_is_still_final(self, backend: Backend) -> None:
        """Until it is gone."""
        end = state("a", State.SUCCESS)
        backend.put_states([end])
        backend.release(["a"], SECOND)

        assert backend.put_states([state("a", State.FAILURE, "9:w:9")]) == [end]

    def test_what_has_expired_is_forgotten(self, backend: Backend, clock: ManualClock) -> None:
        """The id is free: a new task under it begins anew, and the old expiry does not catch its record."""
        backend.put_states([state("a", State.SUCCESS)])
        backend.release(["a"], SECOND)
        clock.advance(2 * SECOND)
        new = state("a", State.PENDING, "")

        assert backend.put_states([new]) == [new]
        clock.advance(100 * SECOND)
        assert backend.get_state("a") == new

    @pytest.mark.parametrize("step", [State.STARTED, State.SUCCESS])
    @pytest.mark.parametrize("released", [True, False])
    def test_what_is_forgotten_is_gone(self, backend: Backend, clock: ManualClock, step: State, released: bool) -> None:
        """With all that belongs to it: no expiry and no sweep finds what comes later under its id."""
        backend.put_states([state("a", step), state("b", step)])
        if released:
            backend.release(["a"], SECOND)

        backend.forget(["a", "unknown"])
        backend.forget(["a"])

        assert backend.get_states(["a", "b"]) == [None, state("b", step)]
        assert "a" not in backend.unreleased(NOTHING, 10)
        new = state("a", State.STARTED, "")
        assert backend.put_states([new]) == [new]
        clock.advance(2 * SECOND)
        assert backend.get_state("a") == new

    def test_many_can_be_released_and_forgotten(self, backend: Backend) -> None:
        """Batches may have any size."""
        uuids = [f"t{number}" for number in range(1_111)]
        backend.put_states([state(uuid, State.SUCCESS) for uuid in uuids])

        backend.release(uuids[:700], NOTHING)
        backend.forget(uuids[700:1_100])

        assert backend.get_states(uuids[:1_100]) == [None] * 1_100
        assert sorted(backend.unreleased(NOTHING, 2_000)) == sorted(uuids[1_100:])

    # -- the sweeper's view ------------------------------------------------------------------------------------------

    def test_ends_that_were_never_released_are_found(self, backend: Backend, clock: ManualClock) -> None:
        """Their worker died after recording: else they would stay for ever. Oldest first, old enough, not more."""
        for uuid in ("a", "b", "c", "d"):
            backend.put_states([state(uuid, State.SUCCESS)])
            clock.advance(10 * SECOND)
        backend.put_states([state("running", State.STARTED)])
        backend.release(["b"], 1_000 * SECOND)

        assert backend.unreleased(NOTHING, 10) == ["a", "c", "d"]
        assert backend.unreleased(15 * SECOND, 10) == ["a", "c"]
        assert backend.unreleased(NOTHING, 2) == ["a", "c"]
        assert backend.unreleased(1_000 * SECOND, 10) == []
        assert backend.unreleased(NOTHING, 0) == []

    def test_the_first_end_is_what_counts(self, backend: Backend, clock: ManualClock) -> None:
        """Its age is that of the record, not of the last attempt to change it."""
        backend.put_states([state("a", State.SUCCESS)])
        clock.advance(10 * SECOND)
        backend.put_states([state("a", State.SUCCESS)])
        backend.put_states([state("a", State.FAILURE)])

        assert backend.unreleased(10 * SECOND, 10) == ["a"]

    def test_what_was_released_stays_released(self, backend: Backend) -> None:
        """A late writer of the end does not put it back before the sweeper."""
        backend.put_states([state("a", State.SUCCESS)])
        backend.release(["a"], SECOND)

        backend.put_states([state("a", State.SUCCESS)])

        assert backend.unreleased(NOTHING, 10) == []


class WaitingLaws(BackendCase):
    """`States.waiting_callbacks`."""

    def test_callbacks_that_wait_for_long_are_found(self, backend: Backend, clock: ManualClock) -> None:
        """Their parent may never have been sent. Oldest first, old enough, not more; recorded again they are new."""
        for uuid in ("a", "b", "c"):
            backend.put_states([state(uuid, State.PENDING, "", parent="p")])
            clock.advance(10 * SECOND)

        assert backend.waiting_callbacks(NOTHING, 10) == ["a", "b", "c"]
        assert backend.waiting_callbacks(15 * SECOND, 10) == ["a", "b"]
        assert backend.waiting_callbacks(NOTHING, 2) == ["a", "b"]
        assert backend.waiting_callbacks(NOTHING, 0) == []
        assert backend.unreleased(NOTHING, 10) == []
        backend.put_states([state("a", State.PENDING, "", parent="p")])
        assert backend.waiting_callbacks(NOTHING, 10) == ["b", "c", "a"]

    @pytest.mark.parametrize("following", [State.RECEIVED, State.STARTED, State.RETRY, *ENDS])
    def test_what_goes_on_waits_no_more(self, backend: Backend, following: State) -> None:
        """Its parent has caused it; a late writer does not put it back."""
        waiting = state("a", State.PENDING, "", parent="p")
        backend.put_states([waiting])
        backend.put_states([state("a", following)])
        backend.put_states([waiting])

        assert backend.waiting_callbacks(NOTHING, 10) == []
        assert (backend.unreleased(NOTHING, 10) == ["a"]) == following.is_final

    def test_only_callbacks_outside_of_workflows_are_found(self, backend: Backend) -> None:
        """Workflows are looked after as a whole; what is forgotten is gone."""
        backend.put_states([state("later", State.PENDING, "", node="n")])
        backend.put_states([state("callback", State.PENDING, "", node="n", parent="later")])
        backend.put_states([state("plain", State.PENDING, ""), state("runs", State.STARTED, parent="p")])
        backend.put_states(
            [state("gone", State.PENDING, "", parent="p"), state("stays", State.PENDING, "", parent="p")]
        )
        backend.forget(["gone"])

        assert backend.waiting_callbacks(NOTHING, 10) == ["stays"]
