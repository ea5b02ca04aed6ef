"""`python -m examples.demo`: measures the text files of DEMO_PATH, on REDIS if that is set, else inside this process.

REDIS is the URL of a Redis, or of whatever else an installed adapter knows: `sqlite:///tmp/demo.db`.

Exit code 0: all is right. 1: something is not, said above. 2: DEMO_PATH or REDIS cannot be used.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from examples.demo.files import Found, NothingToDo, text_files
from vecna import BrokerUnavailable, ConfigError


def main() -> int:
    signal.signal(signal.SIGTERM, _stop)
    folder = os.environ.get("DEMO_PATH") or Path(__file__).parents[2]
    try:
        found = text_files(Path(folder))
    except NothingToDo as problem:
        return _refuse(f"DEMO_PATH: {problem}. Name a folder with text files: make demo DEMO_PATH=~/notes")
    try:
        from examples.demo.tasks import server

        # Does it answer? Sending would go on trying for Config.send_timeout.
        server.broker.queues()
    except ConfigError as problem:
        return _refuse(f"REDIS: {problem}")
    except BrokerUnavailable as problem:
        return _refuse(f"REDIS: {problem}\nStart a server, or leave REDIS out: make demo")
    with server, tempfile.TemporaryDirectory(prefix="vecna-demo-") as scratch:
        return _demonstrate(found, Path(scratch, "workers.log"), os.environ.get("REDIS", ""))


def _demonstrate(found: Found, log: Path, url: str) -> int:
    from examples.demo import job, report, workers
    from examples.demo.screen import Screen

    processes = bool(url)
    scheme = url.partition(":")[0] if processes else "memory"
    where = "on Redis" if scheme.startswith("redis") else f"on {scheme}://"
    who = f"{workers.PROCESSES} worker processes" if processes else "a worker in this process"
    left_out = f" ({found.left_out} others left out)" if found.left_out else ""
    print(f"{len(found.files)} text files of {found.folder}{left_out}\n{where}, {who}\n", flush=True)

    async def run() -> job.Outcome:
        screen = Screen(asyncio.get_running_loop().time)
        return await job.run_job(list(found.files), screen, check)

    try:
        with (workers.in_processes if processes else workers.in_this_process)(log) as check:
            outcome = asyncio.run(run())
    except (workers.WorkerEnded, BrokerUnavailable) as problem:
        return _give_up(str(problem), log)
    print(f"\n{report.table(outcome)}\n")
    print(f"the task that fails twice: succeeded on attempt {outcome.repeated}")
    print(f"the delayed task ({job.DELAY:g} s): {outcome.greeting!r} after {outcome.greeting_after:.2f} s")
    print("run by: " + ", ".join(f"{name} {count}" for name, count in sorted(outcome.by_worker.items())))
    if wrong := list(report.faults(outcome, found)):
        return _give_up("\n".join(wrong), log)
    print(f"all is right, {outcome.seconds:.1f} s")
    return 0


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


def _give_up(message: str, log: Path) -> int:
    print(f"\n{message}", file=sys.stderr)
    if log.exists() and (lines := log.read_text(errors="replace").splitlines()):
        print("\nThe last lines of the workers' log:", *lines[-30:], sep="\n  ", file=sys.stderr)
    return 1


def _stop(*_: object) -> NoReturn:
    sys.exit(143)  # through every `finally`: no worker process stays behind


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(130)
