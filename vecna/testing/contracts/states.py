"""Laws of what is known of tasks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from vecna.adapters.clock import ManualClock
from vecna.domain.arg import TaskResult
from vecna.domain.errors import InvalidArgument
from vecna.domain.state import FINAL, State, TaskState
from vecna.ports.backend import Backend
from vecna.ports.clock import Clock
from vecna.testing.contracts.driven import at_once
from vecna.testing.contracts.law import Laws
from vecna.testing.contracts.values import HOSTILE, NOTHING, SECOND

ENDS = sorted(FINAL)
#: Tokens of two leases.
FIRST, LATER = "1:w:1", "12:w1:7"
STEPS = [State.PENDING, State.RECEIVED, State.STARTED, State.RETRY]


def state(uuid: str, state: State, token: str = FIRST, **fields: object) -> TaskState:
    """A state with something in it that tells it from others."""
    return TaskState(task_uuid=uuid, state=state, token=token, **fields)  # type: ignore[arg-type]  # by the tests below


class BackendCase(Laws):
    """What the laws of the backend have in common."""

    def make(self, clock: Clock) -> Backend:
        """The backend under test. All that one test makes see one store, which no other test has seen."""
        raise NotImplementedError("a contract suite is bound to an adapter by its method make(self, clock)")

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Time, which stands still unless the test moves it."""
        return ManualClock()

    @pytest.fixture
    def backend(self, clock: ManualClock) -> Iterator[Backend]:
        """The backend under test."""
        backend = self.make(clock)
        yield backend
        backend.close()


class StateLaws(BackendCase):
    """`States.put_states`, `get_state` and `get_states`."""

    # -- put and get -------------------------------------------------------------------------------------------------

    def test_what_was_put_is_there_for_every_process(self, backend: Backend, clock: ManualClock) -> None:
        """The whole record, as it was; also what only another process can ask for."""
        now = clock.now().replace(microsecond=123456)
        put = TaskState(
            task_uuid="a",
            task_name="täsk",
            state=State.FAILURE,
            results=(TaskResult("[]int64", [1, 2]), TaskResult("json", {"k": [None, 1.5]})),
            several=True,
            error="RuntimeError: b\x00öm",
            error_type="builtins.RuntimeError",
            traceback="line\nline",
            dead_reason="crashed",
            created_at=now,
            started_at=now + SECOND,
            finished_at=now + 2 * SECOND,
            attempt=3,
            worker="w1",
            progress=(1.0, 2.5),
            token=LATER,
        )

        assert backend.put_states([put]) == [put]

        assert backend.get_state("a") == put
        assert self.make(clock).get_state("a") == put

    def test_nothing_is_known_of_others(self, backend: Backend) -> None:
        """None is no error: the broker may know more."""
        assert backend.get_state("a") is None
        assert backend.get_states(["a", "b"]) == [None, None]
        assert backend.get_states([]) == []
        assert backend.put_states([]) == []

    def test_states_are_given_in_order(self, backend: Backend) -> None:
        """Any number of ids, in one call; repeated ones too."""
        states = {f"t{number}": state(f"t{number}", State.STARTED, attempt=number) for number in range(0, 1_200, 2)}
        assert backend.put_states(list(states.values())) == list(states.values())
        uuids = [f"t{number}" for number in range(1_199, -1, -1)] + ["t0", "t0"]

        assert backend.get_states(uuids) == [states.get(uuid) for uuid in uuids]

    @pytest.mark.parametrize("step", [*STEPS, *ENDS])
    def test_a_repeated_put_changes_nothing(self, backend: Backend, step: State) -> None:
        """A lost reply: the same state is recorded, and what is recorded is returned."""
        put = state("a", step, error="x")
        for _ in range(2):
            assert backend.put_states([put]) == [put]

        assert backend.get_state("a") == put

    # -- ends --------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("second", [*STEPS, *ENDS])
    @pytest.mark.parametrize("first", ENDS)
    def test_the_first_end_wins(self, backend: Backend, first: State, second: State) -> None:
        """Final means final: whoever has read it has acted on it. The loser goes on from what stands."""
        end = state("a", first, "1:w:1", error="first")
        backend.put_states([end])

        assert backend.put_states([state("a", second, "9:w:9", error="second")]) == [end]

        assert backend.get_state("a") == end

    @pytest.mark.parametrize("end", ENDS)
    @pytest.mark.parametrize("step", STEPS)
    def test_an_end_may_follow_everything_else(self, backend: Backend, step: State, end: State) -> None:
        """Also under an older lease: its holder did the work, and nobody has done it since."""
        backend.put_states([state("a", step, "5:w:5")])
        put = state("a", end, "1:w:1")

        assert backend.put_states([put]) == [put]
        assert backend.get_state("a") == put

    def test_the_first_end_wins_in_a_race(self, backend: Backend, clock: ManualClock) -> None:
        """Two holders of two leases end at once: both go on from the same record."""
        backends = [self.make(clock) for _ in range(4)]
        for number in range(50):
            ends = [state(f"t{number}", ENDS[n % 3], f"{n}:w:1", error=f"by {n}") for n in range(4)]

            answers = at_once(*[partial(b.put_states, [end]) for b, end in zip(backends, ends, strict=True)])

            (recorded,) = answers[0]
            assert recorded in ends
            assert answers == [[recorded]] * 4
            assert backend.get_state(f"t{number}") == recorded

    def test_one_backend_serves_many_threads(self, backend: Backend) -> None:
        """A worker's threads record and read with the same object, and all at once."""

        def work(name: str) -> list[TaskState | None]:
            ends = [state(f"{name}-{number}", State.SUCCESS) for number in range(20)]
            for end in ends:
                assert backend.put_states([end]) == [end]
            return backend.get_states([end.task_uuid for end in ends])

        found = at_once(*[partial(work, f"w{n}") for n in range(6)])

        expected = [[state(f"w{n}-{number}", State.SUCCESS) for number in range(20)] for n in range(6)]
        assert found == expected

    def test_states_of_one_call_are_recorded_one_by_one(self, backend: Backend) -> None:
        """Each is answered for itself; of one id the later sees the earlier."""
        end = state("b", State.SUCCESS)
        backend.put_states([end])
        first, second = state("a", State.STARTED), state("a", State.SUCCESS)

        answers = backend.put_states([first, state("b", State.FAILURE), second, state("a", State.FAILURE)])

        assert answers == [first, end, second, second]

    # -- steps -------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("later", STEPS)
    @pytest.mark.parametrize("earlier", STEPS)
    def test_within_a_lease_states_move_forward(self, backend: Backend, earlier: State, later: State) -> None:
        """A late write must not show a task where it is no more. The same place again is written: progress."""
        old, new = state("a", earlier, "2:w:1", error="old"), state("a", later, "2:w:1", error="new")
        backend.put_states([old])
        expected = new if later.rank >= earlier.rank else old

        assert backend.put_states([new]) == [expected]
        assert backend.get_state("a") == expected

    @pytest.mark.parametrize("later", STEPS)
    @pytest.mark.parametrize("earlier", STEPS)
    def test_a_later_lease_counts_more_than_any_step(self, backend: Backend, earlier: State, later: State) -> None:
        """RECEIVED follows RETRY when the message is leased again; a writer that lost its lease changes nothing."""
        old, new = state("a", earlier, "9:w:1"), state("a", later, "10:v:1")
        backend.put_states([old])

        assert backend.put_states([new]) == [new]
        assert backend.put_states([old]) == [new]
        assert backend.get_state("a") == new

    def test_progress_is_seen(self, backend: Backend) -> None:
        """The same state with something new in it."""
        for done in range(3):
            backend.put_states([state("a", State.STARTED, progress=(float(done), 2.0))])

            recorded = backend.get_state("a")
            assert recorded is not None
            assert recorded.progress == (float(done), 2.0)

    def test_a_closed_backend_opens_again(self, backend: Backend) -> None:
        """`close` gives up connections, not records; it may be repeated."""
        put = state("a", State.SUCCESS)
        backend.put_states([put])
        backend.close()
        backend.close()

        assert backend.get_state("a") == put

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_an_id_outside_the_rule_is_refused_before_anything_is_done(self, backend: Backend, hostile: str) -> None:
        """An id that a user looks up, or a message carried, must not reach keys or channels that are not its own."""
        good = state("good", State.SUCCESS)

        with pytest.raises(InvalidArgument):
            backend.put_states([good, state(hostile, State.SUCCESS)])
        assert backend.get_state("good") is None
        backend.put_states([good])
        for call in (
            lambda: backend.get_state(hostile),
            lambda: backend.get_states(["good", hostile]),
            lambda: backend.release(["good", hostile], NOTHING),
            lambda: backend.forget(["good", hostile]),
            lambda: backend.listen().watch(["good", hostile]),
        ):
            with pytest.raises(InvalidArgument):
                call()
        assert backend.get_state("good") == good
