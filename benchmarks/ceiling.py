"""The least that each job costs with redis-py: the same bytes, bare commands, no lease, no state machine, no retry.

Not attainable by anything that keeps promises; it says how fast machine and server are in this very run.
"""

import asyncio
import time

import redis
import redis.asyncio

LIST = "vecna-bench-ceiling"
LEASE = 100  # messages taken in one call


def send_one_by_one(client: redis.Redis, bodies: list[bytes]) -> float:
    """RPUSH per message; messages a second."""
    start = time.perf_counter()
    for body in bodies:
        client.rpush(LIST, body)
    return _rate(client, len(bodies), start)


def send_from_coroutines(url: str, bodies: list[bytes], coroutines: int) -> float:
    """RPUSH per message from so many coroutines, each over a connection of its own; messages a second."""

    async def run() -> float:
        async with redis.asyncio.Redis.from_url(url) as client:

            async def one(part: list[bytes]) -> None:
                for body in part:
                    await client.rpush(LIST, body)

            await asyncio.gather(*[client.ping() for _ in range(coroutines)])
            start = time.perf_counter()
            await asyncio.gather(*[one(bodies[first::coroutines]) for first in range(coroutines)])
            return time.perf_counter() - start

    seconds = asyncio.run(run())
    with redis.Redis.from_url(url) as client:
        client.delete(LIST)
    return len(bodies) / seconds


def send_in_bulk(client: redis.Redis, bodies: list[bytes], batch: int) -> float:
    """One RPUSH per batch; messages a second."""
    start = time.perf_counter()
    for first in range(0, len(bodies), batch):
        client.rpush(LIST, *bodies[first : first + batch])
    return _rate(client, len(bodies), start)


def drain(client: redis.Redis, bodies: list[bytes], record: bytes) -> float:
    """LPOP of 100 messages, then a pipeline that stores a record for each; messages a second."""
    for first in range(0, len(bodies), 1000):
        client.rpush(LIST, *bodies[first : first + 1000])
    start = time.perf_counter()
    done = 0
    while taken := client.lpop(LIST, LEASE):
        pipeline = client.pipeline(transaction=False)
        for _ in taken:
            pipeline.set(f"{LIST}:{done}", record, ex=600)
            done += 1
        pipeline.execute()
    rate = done / (time.perf_counter() - start)
    for first in range(0, done, 1000):
        client.delete(*[f"{LIST}:{number}" for number in range(first, min(first + 1000, done))])
    return rate


def round_trips(client: redis.Redis, count: int) -> list[float]:
    """Seconds that each of `count` PINGs takes."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        client.ping()
        seconds.append(time.perf_counter() - start)
    return seconds


def _rate(client: redis.Redis, count: int, start: float) -> float:
    seconds = time.perf_counter() - start
    client.delete(LIST)
    return count / seconds
