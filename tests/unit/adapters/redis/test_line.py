from concurrent.futures import ThreadPoolExecutor

from vecna.adapters.redis.line import Bell, wait_for

PATIENCE = 20.0


def test_a_bell_ends_a_wait():
    bell = Bell()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(wait_for, [], bell, PATIENCE * 3)
        bell.ring()
        assert waiting.result(PATIENCE) == []
    assert bell.silence()
    assert not bell.silence()
    bell.close()


def test_a_bell_that_was_rung_before_ends_the_next_wait_only():
    bell = Bell()
    for _ in range(100_000):  # more than a socket takes
        bell.ring()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(wait_for, [], bell, PATIENCE * 3).result(PATIENCE)
    assert bell.silence()
    assert wait_for([], bell, 0.01) == []
    assert not bell.silence()
    bell.close()


def test_a_closed_bell_is_silent():
    bell = Bell()
    bell.fileno()
    bell.close()
    bell.ring()
    bell.close()
