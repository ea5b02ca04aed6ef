"""Laws of hearing of ends. They wait in real time, for what must happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from vecna.adapters.clock import SystemClock
from vecna.domain.state import State, TaskState
from vecna.ports.backend import Backend, Listener
from vecna.testing.contracts.states import BackendCase
from vecna.testing.contracts.values import PATIENCE

#: Longer than anybody waits: a poll that ends by its timeout is seen to be broken.
LONG = PATIENCE * 3


def _end(uuid: str) -> TaskState:
    return TaskState(task_uuid=uuid, state=State.SUCCESS)


class ListenLaws(BackendCase):
    """`Waiting` and `Listener`."""

    @pytest.fixture
    def live(self) -> Iterator[Backend]:
        """The backend under test, in real time."""
        backend = self.make(SystemClock())
        yield backend
        backend.close()

    @pytest.fixture
    def listener(self, live: Backend) -> Iterator[Listener]:
        """A listener of it."""
        listener = live.listen()
        yield listener
        listener.close()

    @pytest.fixture
    def polling(self, listener: Listener) -> Iterator[Callable[[], Future[list[str]]]]:
        """Lets the listener poll in another thread, until it has heard something or was ended."""
        with ThreadPoolExecutor(1) as threads:
            yield lambda: threads.submit(listener.poll, LONG)
            listener.close()

    def test_an_end_is_heard(self, live: Backend, listener: Listener) -> None:
        """Who awaits a result learns of it at once, and not with its next look."""
        listener.watch(["a"])

        live.put_states([_end("a")])

        assert listener.poll(LONG) == ["a"]

    def test_an_end_ends_a_poll(
        self, live: Backend, listener: Listener, polling: Callable[[], Future[list[str]]]
    ) -> None:
        """Also the one that is under way."""
        listener.watch(["a"])
        future = polling()

        live.put_states([_end("a")])

        assert future.result(PATIENCE) == ["a"]

    def test_ends_are_heard_from_other_processes(self, listener: Listener) -> None:
        """The news goes through the store."""
        listener.watch(["a"])

        self.make(SystemClock()).put_states([_end("a")])

        assert listener.poll(LONG) == ["a"]

    @pytest.mark.parametrize("state", [State.SUCCESS, State.FAILURE, State.CANCELED])
    def test_every_end_is_heard(self, live: Backend, listener: Listener, state: State) -> None:
        """Whatever it is: the one that waits must not wait on."""
        listener.watch(["a"])

        live.put_states([TaskState(task_uuid="a", state=state)])

        assert listener.poll(LONG) == ["a"]

    def test_one_listener_hears_of_many(self, live: Backend, listener: Listener) -> None:
        """Thousands may be awaited over one connection, watched in any number of calls."""
        uuids = [f"t{number}" for number in range(1_111)]
        listener.watch(uuids[:1_000])
        for uuid in uuids[1_000:]:
            listener.watch([uuid])

        live.put_states([_end(uuid) for uuid in [*uuids, "other"]])

        heard: set[str] = set()
        while not heard.issuperset(uuids):
            news = listener.poll(PATIENCE)
            assert news, f"{len(uuids) - len(heard)} ends were not heard of"
            heard.update(news)
        assert heard == set(uuids)

    def test_each_listener_hears(self, live: Backend, listener: Listener) -> None:
        """Two may await the same task."""
        other = live.listen()
        listener.watch(["a"])
        other.watch(["a"])

        live.put_states([_end("a")])

        assert listener.poll(LONG) == other.poll(LONG) == ["a"]
        other.close()

    def test_what_is_not_watched_is_not_heard(self, live: Backend, listener: Listener) -> None:
        """Nor what is not watched any more: a poll must not wake ten thousand times for others."""
        listener.watch(["a", "b", "c"])
        listener.unwatch(["a", "never"])
        live.put_states([_end("a"), _end("other"), _end("b")])
        assert listener.poll(LONG) == ["b"]

        live.put_states([_end("c")])
        assert listener.poll(LONG) == ["c"]

    def test_ids_can_be_watched_during_a_poll(
        self, live: Backend, listener: Listener, polling: Callable[[], Future[list[str]]]
    ) -> None:
        """One thread polls, the others come and go; from the return of `watch` on, nothing is missed."""
        listener.watch(["a"])
        future = polling()

        listener.watch(["b"])
        listener.unwatch(["a"])
        live.put_states([_end("b")])

        heard = future.result(PATIENCE)
        assert (heard or listener.poll(LONG)) == ["b"]

    def test_a_poll_ends_with_its_timeout(self, listener: Listener) -> None:
        """Nothing happened."""
        clock = SystemClock()
        listener.watch(["a"])
        begin = clock.monotonic()

        assert listener.poll(0.05) == []
        assert 0.03 <= clock.monotonic() - begin < PATIENCE

    def test_a_poll_that_watches_nothing_waits_all_the_same(self, listener: Listener) -> None:
        """It is the thread's way to wait for the first `watch`: no error, and no busy loop."""
        clock = SystemClock()
        begin = clock.monotonic()

        assert listener.poll(0.05) == []
        assert clock.monotonic() - begin >= 0.03

    def test_a_wake_ends_a_poll(self, listener: Listener, polling: Callable[[], Future[list[str]]]) -> None:
        """Somebody wants something of the polling thread."""
        future = polling()

        listener.wake()

        assert future.result(PATIENCE) == []

    def test_a_wake_without_a_poll_ends_the_next(self, listener: Listener) -> None:
        """It came a moment too early: it must not be lost. It ends one poll, not all."""
        clock = SystemClock()
        listener.wake()
        listener.wake()
        begin = clock.monotonic()

        assert listener.poll(LONG) == []
        assert clock.monotonic() - begin < PATIENCE
        begin = clock.monotonic()
        assert listener.poll(0.05) == []
        assert clock.monotonic() - begin >= 0.03

    def test_a_close_ends_a_poll(self, listener: Listener, polling: Callable[[], Future[list[str]]]) -> None:
        """A process that ends does not wait for news. Closing again is no error."""
        listener.watch(["a"])
        future = polling()

        listener.close()
        listener.close()

        assert future.result(PATIENCE) == []
