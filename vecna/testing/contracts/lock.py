"""All that a lock promises."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import attrs
import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.errors import InvalidArgument
from vecna.ports.clock import Clock
from vecna.ports.lock import Grant, Lock
from vecna.testing.contracts.driven import at_once
from vecna.testing.contracts.law import Laws
from vecna.testing.contracts.values import HOSTILE, MILLISECOND, SECOND

TTL = 10 * SECOND


def _taken(grant: Grant | None) -> Grant:
    assert grant is not None, "the lock was free and could not be acquired"
    return grant


class LockContract(Laws):
    """The laws of `vecna.ports.Lock`, each a test. Bind them with `make`."""

    def make(self, clock: Clock) -> Lock:
        """The lock under test. All that one test makes see one store, which no other test has seen."""
        raise NotImplementedError("a contract suite is bound to an adapter by its method make(self, clock)")

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Time, which stands still unless the test moves it."""
        return ManualClock()

    @pytest.fixture
    def lock(self, clock: ManualClock) -> Iterator[Lock]:
        """The lock under test."""
        lock = self.make(clock)
        yield lock
        lock.close()

    def test_a_free_lock_is_granted(self, lock: Lock) -> None:
        """To the one who asks, by name."""
        grant = _taken(lock.acquire("a", "me", TTL))

        assert (grant.name, grant.owner) == ("a", "me")
        assert grant.fence > 0

    def test_a_lock_has_one_holder(self, lock: Lock, clock: ManualClock) -> None:
        """Nobody else gets it, in this process or in another, until it is free."""
        lock.acquire("a", "me", TTL)

        assert lock.acquire("a", "you", TTL) is None
        assert self.make(clock).acquire("a", "you", TTL) is None

    def test_locks_are_told_apart_by_name(self, lock: Lock) -> None:
        """One does not hold up another."""
        assert lock.acquire("a", "me", TTL)
        assert lock.acquire("b", "you", TTL)

    def test_a_repeated_acquire_gives_the_same_grant(self, lock: Lock, clock: ManualClock) -> None:
        """The reply was lost: the holder must not lock itself out. Its time starts anew."""
        grant = lock.acquire("a", "me", TTL)
        clock.advance(TTL - SECOND)

        assert lock.acquire("a", "me", TTL) == grant

        clock.advance(TTL - SECOND)
        assert lock.acquire("a", "you", TTL) is None

    def test_a_grant_lasts_as_long_as_was_asked_for(self, lock: Lock, clock: ManualClock) -> None:
        """Then the lock is free: a dead holder holds nobody up for longer."""
        lock.acquire("a", "me", TTL)

        clock.advance(TTL - MILLISECOND)
        assert lock.acquire("a", "you", TTL) is None
        clock.advance(2 * MILLISECOND)
        assert _taken(lock.acquire("a", "you", TTL)).owner == "you"

    def test_a_released_lock_is_free(self, lock: Lock) -> None:
        """At once, whatever time was left."""
        grant = _taken(lock.acquire("a", "me", TTL))

        assert lock.release(grant)

        assert lock.acquire("a", "you", TTL)

    def test_a_repeated_release_changes_nothing(self, lock: Lock) -> None:
        """The reply was lost, and another holds the lock by now: it keeps it."""
        grant = _taken(lock.acquire("a", "me", TTL))
        lock.release(grant)
        assert not lock.release(grant)
        other = _taken(lock.acquire("a", "you", TTL))

        assert not lock.release(grant)

        assert lock.acquire("a", "third", TTL) is None
        assert lock.renew(other, TTL)

    def test_a_renewed_grant_lasts_longer(self, lock: Lock, clock: ManualClock) -> None:
        """From the renewal on, as often as it comes."""
        grant = _taken(lock.acquire("a", "me", TTL))
        for _ in range(3):
            clock.advance(TTL - SECOND)
            assert lock.renew(grant, TTL)
            assert lock.acquire("a", "you", TTL) is None

        clock.advance(TTL + MILLISECOND)
        assert lock.acquire("a", "you", TTL)

    def test_a_renewal_may_shorten(self, lock: Lock, clock: ManualClock) -> None:
        """`ttl` counts from now."""
        grant = _taken(lock.acquire("a", "me", TTL))

        assert lock.renew(grant, SECOND)

        clock.advance(SECOND + MILLISECOND)
        assert lock.acquire("a", "you", TTL)

    @pytest.mark.parametrize("taken_again", [True, False])
    def test_a_grant_that_ran_out_is_over(self, lock: Lock, clock: ManualClock, taken_again: bool) -> None:
        """Its holder learns that it has lost the lock, whether or not another has it, and takes nothing back."""
        grant = _taken(lock.acquire("a", "me", TTL))
        clock.advance(TTL + MILLISECOND)
        if taken_again:
            lock.acquire("a", "you", TTL)

        assert not lock.renew(grant, TTL)
        assert not lock.release(grant)

        assert (lock.acquire("a", "third", TTL) is None) is taken_again

    def test_a_grant_is_bound_to_its_acquisition(self, lock: Lock) -> None:
        """Neither another's name nor an older fence will do."""
        old = _taken(lock.acquire("a", "me", TTL))
        lock.release(old)
        grant = _taken(lock.acquire("a", "me", TTL))

        for wrong in (old, attrs.evolve(grant, owner="you"), attrs.evolve(grant, name="b")):
            assert not lock.renew(wrong, TTL)
            assert not lock.release(wrong)
        assert lock.renew(grant, TTL)

    def test_fences_grow(self, lock: Lock, clock: ManualClock) -> None:
        """With each acquisition of a name, released or run out: what the lock protects can refuse a late holder."""
        fences = []
        for number in range(6):
            grant = _taken(lock.acquire("a", f"owner{number}", TTL))
            fences.append(grant.fence)
            if number % 2:
                lock.release(grant)
            else:
                clock.advance(TTL + MILLISECOND)

        assert fences == sorted(set(fences))

    def test_fences_grow_for_the_same_owner(self, lock: Lock, clock: ManualClock) -> None:
        """An owner whose grant ran out did not hold the lock for a while: it begins anew."""
        first = _taken(lock.acquire("a", "me", TTL))
        clock.advance(TTL + MILLISECOND)

        assert _taken(lock.acquire("a", "me", TTL)).fence > first.fence

    def test_a_fence_is_given_once_in_a_race(self, clock: ManualClock) -> None:
        """Many ask at once: one has it."""
        locks = [self.make(clock) for _ in range(6)]
        seen = []
        for _ in range(30):
            answers = at_once(*[partial(lock.acquire, "a", f"o{n}", TTL) for n, lock in enumerate(locks)])
            (grant,) = [answer for answer in answers if answer is not None]
            seen.append(grant.fence)
            assert locks[0].release(grant)

        assert seen == sorted(set(seen))

    def test_one_lock_serves_many_threads(self, lock: Lock) -> None:
        """They share the object, and are told apart by their owners: one has it."""
        for number in range(30):
            answers = at_once(*[partial(lock.acquire, "a", f"o{n}-{number}", TTL) for n in range(6)])
            (grant,) = [answer for answer in answers if answer is not None]
            assert sorted(at_once(*[partial(lock.release, grant)] * 3)) == [False, False, True]

    def test_holders_exclude_each_other(self, clock: ManualClock) -> None:
        """What one does under the lock, none else does meanwhile."""
        inside = threading.Lock()
        done = []

        def work(name: str) -> None:
            lock, turns = self.make(clock), 0
            while turns < 20:
                grant = lock.acquire("a", f"{name}-{turns}", TTL)
                if grant is None:
                    continue
                assert inside.acquire(blocking=False), "two are inside"
                done.append(grant.fence)
                inside.release()
                assert lock.release(grant)
                turns += 1

        at_once(*[partial(work, f"w{n}") for n in range(4)])

        assert len(done) == 80
        assert done == sorted(set(done))

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_a_name_outside_the_rule_is_refused(self, lock: Lock, hostile: str) -> None:
        """Names and owners become keys and values of the store."""
        with pytest.raises(InvalidArgument):
            lock.acquire(hostile, "me", TTL)
        with pytest.raises(InvalidArgument):
            lock.acquire("a", hostile, TTL)

        assert lock.acquire("a", "me", TTL)

    def test_a_closed_lock_opens_again(self, lock: Lock) -> None:
        """`close` gives up connections, not grants; it may be repeated."""
        grant = _taken(lock.acquire("a", "me", TTL))
        lock.close()
        lock.close()

        assert lock.acquire("a", "you", TTL) is None
        assert lock.release(grant)
