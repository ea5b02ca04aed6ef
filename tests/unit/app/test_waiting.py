"""The waiting room under a crowd: nobody is forgotten, nobody is left behind."""

import random
import threading
from collections.abc import Sequence

import pytest

from tests.unit.app.doubles import CountingBackend, end, logged, no_thread, server_with
from vecna.adapters.memory.backend import MemoryListener
from vecna.bootstrap import Server
from vecna.domain.errors import BrokerUnavailable, ResultTimeout
from vecna.domain.signature import Signature


@pytest.mark.parametrize("seed", range(5))
def test_a_crowd_that_comes_and_goes_while_tasks_end(seed: int) -> None:
    server = Server("memory://")
    handles = server.send_tasks([Signature("a", [number]) for number in range(60)])
    got: list[tuple[int, object]] = []
    faults: list[BaseException] = []

    def wait(chance: random.Random) -> None:
        for _ in range(60):
            number = chance.randrange(len(handles))
            try:
                if chance.random() < 0.5:  # gives up almost at once
                    handles[number].get(timeout=chance.random() / 1000)
                else:
                    got.append((number, handles[number].get(timeout=60)))
            except ResultTimeout:
                pass
            except BaseException as exc:
                faults.append(exc)

    threads = [threading.Thread(target=wait, args=(random.Random(seed * 100 + index),)) for index in range(8)]
    for thread in threads:
        thread.start()
    order = list(range(len(handles)))
    random.Random(seed).shuffle(order)
    for number in order:
        end(server, handles[number].uuid, number)
    for thread in threads:
        thread.join(timeout=60)

    assert not any(thread.is_alive() for thread in threads)
    assert faults == []
    assert got
    assert all(number == value for number, value in got)
    assert server.waiting_room._awaited == {}
    server.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_backend_that_comes_and_goes_loses_no_one(seed: int) -> None:
    backend = CountingBackend()
    server = server_with(backend=backend)
    handles = server.send_tasks([Signature("a", [number]) for number in range(40)])
    results: list[object] = [None] * len(handles)

    def wait(number: int) -> None:
        results[number] = handles[number].get(timeout=60)

    chance = random.Random(seed)
    with logged() as lines:
        threads = [threading.Thread(target=wait, args=(number,)) for number in range(len(handles))]
        for thread in threads:
            thread.start()
        for number, handle in enumerate(handles):
            if chance.random() < 0.1:
                backend.asked_in_vain.clear()
                backend.away.set()
            elif chance.random() < 0.3:
                backend.away.clear()
            end(server, handle.uuid, number)
        backend.away.clear()
        for thread in threads:
            thread.join(timeout=60)
        server.close()

    assert results == list(range(len(handles)))
    assert lines.of("error") == []


def test_who_comes_after_one_for_whom_there_was_no_thread_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server("memory://")
    handle = server.send_task(Signature("a"))
    no_thread(monkeypatch, "vecna-results")
    with pytest.raises(RuntimeError, match="can't start new thread"):
        handle.get(timeout=60)
    assert server.waiting_room._awaited == {}
    told = threading.Event()

    server.waiting_room.enter(handle.uuid, lambda _: told.set())
    end(server, handle.uuid)

    assert told.wait(60)
    server.close()


def test_what_could_not_be_unwatched_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    done = threading.Event()
    unwatch = MemoryListener.unwatch

    def flaky(listener: MemoryListener, uuids: Sequence[str]) -> None:
        calls.append(list(uuids))
        if len(calls) == 1:
            raise BrokerUnavailable("no route to host")
        unwatch(listener, uuids)
        done.set()

    monkeypatch.setattr(MemoryListener, "unwatch", flaky)
    server = Server("memory://")
    handle = server.send_task(Signature("a"))
    with logged():
        room = server.waiting_room
        room.leave(room.enter(handle.uuid, lambda _: None))

        assert done.wait(60)
        server.close()

    assert calls == [[handle.uuid], [handle.uuid]]


def test_who_comes_after_the_close_is_told() -> None:
    server = Server("memory://")
    handle = server.send_task(Signature("a"))
    room = server.waiting_room
    server.close()

    with pytest.raises(ResultTimeout, match="its server was closed"):
        room.enter(handle.uuid, lambda _: None)


def test_an_outage_is_one_line_and_its_end_another() -> None:
    backend = CountingBackend()
    server = server_with(backend=backend)
    handle = server.send_task(Signature("a"))
    backend.away.set()

    def wait() -> None:
        try:
            handle.get(timeout=60)
        except BrokerUnavailable:
            raise AssertionError("it should have been waited out") from None

    with logged() as lines:
        thread = threading.Thread(target=wait)
        thread.start()
        for _ in range(3):
            backend.asked_in_vain.wait()
            backend.asked_in_vain.clear()
        end(server, handle.uuid, 1)
        backend.away.clear()
        thread.join(timeout=60)
        while len(lines.lines) < 2:
            pass
        server.close()

    assert [level for level, _ in lines.lines] == ["warning", "info"]
