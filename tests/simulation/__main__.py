"""Play histories by the million, or one again: `python -m tests.simulation --help`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

from tests.simulation.running import Tally, play, quiet, replayed, shrunk, told
from tests.simulation.stage import memory
from tests.simulation.worlds import WORLDS
from vecna.adapters.clock import SystemClock

_SHARE = 2_000


def _share(first: int, count: int, kind: str) -> Tally:
    with quiet():
        return play(range(first, first + count), kind, most_failed=20)


@contextmanager
def _stores(where: str) -> Iterator[Any]:
    if where == "memory":
        yield memory
        return
    from tests.servers import RedisServer, binaries
    from tests.simulation.on_redis import OnRedis

    server = RedisServer(binaries()[where]).start()
    try:
        with OnRedis(server.url) as stores:
            yield stores
    finally:
        server.stop()


def _rate(total: Tally, began: float) -> str:
    took = SystemClock().monotonic() - began
    return f"{total.counts['histories'] / took:,.0f} a second, {took:,.0f} s"


def _many(args: argparse.Namespace) -> Tally:
    total = Tally()
    began = SystemClock().monotonic()
    with ProcessPoolExecutor(args.processes) as executor:
        starts = range(args.start, args.start + args.seeds, _SHARE)
        end = args.start + args.seeds
        shares = [executor.submit(_share, start, min(_SHARE, end - start), args.world) for start in starts]
        for done, share in enumerate(as_completed(shares), 1):
            total.merge(share.result())
            if done % 10 == 0 or total.failed:
                print(f"{total.counts['histories']:,} of {args.seeds:,}, {_rate(total, began)}", flush=True)
            if total.failed:
                executor.shutdown(cancel_futures=True)
                break
    print(_rate(total, began))
    return total


def main() -> int:
    """What the command does; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=1_000_000, help="how many histories")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--world", default="all", choices=["all", "mix", *WORLDS], help="what they are made of")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--on", default="memory", help="memory, or a server: redis8, valkey9")
    parser.add_argument("--replay", type=int, metavar="SEED", help="play one again, and tell it")
    parser.add_argument("--shrink", action="store_true", help="with --replay: leave out what does not matter")
    args = parser.parse_args()
    if args.replay is not None:
        with quiet(), _stores(args.on) as stores:
            left_out = shrunk(args.replay, args.world) if args.shrink else (frozenset[int](), frozenset[int]())
            world, violation = replayed(args.replay, args.world, *left_out, stores=stores)
        print(told(world))
        if args.shrink:
            print("left out:", sorted(left_out[0]), "undisturbed:", sorted(left_out[1]))
        print(f"broken: {violation}" if violation else "no law is broken")
        return int(violation is not None)
    if args.on == "memory":
        total = _many(args)
    else:
        with quiet(), _stores(args.on) as stores:
            total = play(range(args.start, args.start + args.seeds), args.world, stores)
    for failed in total.failed[:20]:
        print(failed)
    print(total)
    return int(bool(total.failed))


if __name__ == "__main__":
    sys.exit(main())
