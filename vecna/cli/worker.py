"""`vecna worker`: runs tasks until it is told to stop."""

from __future__ import annotations

import gc
import logging
import math
import os
import re
import socket
from typing import Final

import click

from vecna.cli.target import load_server
from vecna.domain.errors import WorkerAborted

#: Objects between two collections: Python's default (700 up to 3.12, 2,000 from 3.13 on), a worker's, and at its start.
_OFTEN: Final = 2000
_SELDOM: Final = 10_000
_LOADING: Final = 100_000
_LEVELS = ("debug", "info", "warning", "error", "critical")


def _cores() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _hardly_collect() -> tuple[int, int, int] | None:
    """Look for garbage after 100,000 new objects only, as long as modules are loaded, which make next to none.

    Returns:
        The thresholds in force now; None for a program that has set its own, which keeps them.
    """
    often, *more = gc.get_threshold()
    if often > _OFTEN:
        return None
    gc.set_threshold(_LOADING, *more)
    return gc.get_threshold()


def _collect_seldom(loading: tuple[int, int, int] | None) -> None:
    """Leave what was imported out of all further collections, and look after 10,000 new objects instead of 700.

    Each task makes some dozens, nearly all of which go without a collector: it took a tenth of a busy worker's time.
    What was imported is not looked through even once, which would take a twentieth of the start: what of it is
    garbage, a megabyte or so, stays.

    Args:
        loading: what `_hardly_collect` has returned. Where the program's modules have set others, those stand.
    """
    if gc.get_threshold() == loading:
        gc.freeze()
        gc.set_threshold(_SELDOM, *loading[1:])


def _default_name() -> str:
    """`host-pid`, in the characters that names may have."""
    host = re.sub(r"[^A-Za-z0-9_.\-]", "-", socket.gethostname()).lstrip("_.-") or "worker"
    return f"{host[:150]}-{os.getpid()}"


def _queues(_: click.Context, __: click.Parameter, text: str | None) -> list[str] | None:
    if text is None:
        return None
    queues = [name.strip() for name in text.split(",")]
    if "" in queues:
        raise click.BadParameter(f"a name is missing in {text!r}: write --queues a,b")
    return queues


@click.command("worker")
@click.argument("target", metavar="MODULE:SERVER")
@click.option("--name", help="Name of this worker in states and logs.  [default: host-pid]")
@click.option(
    "--queues", metavar="A,B", callback=_queues, help="Queues to serve in turn.  [default: the default queue]"
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=0),
    help="How many tasks run at a time, in each process; 0: no limit.  [default: twice the cores, over all processes]",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    help="Run a supervisor with this many child processes, NAME.1 and so on.  [default: one process, no supervisor]",
)
@click.option(
    "--log-level",
    type=click.Choice(_LEVELS, case_sensitive=False),
    default="info",
    show_default=True,
    help="Lines of this level and above are logged, to standard error.",
)
@click.option("--supervised", type=int, hidden=True)  # the descriptor through which a child hears its supervisor
def run_worker(
    target: str,
    name: str | None,
    queues: list[str] | None,
    concurrency: int | None,
    processes: int | None,
    log_level: str,
    supervised: int | None,
) -> None:
    """Run the tasks of the server that MODULE:SERVER names, e.g. app.tasks:server.

    The current directory is importable. The first SIGINT or SIGTERM stops it once its tasks are finished, the second
    hands them back to the queue and exits with 1.

    With --processes a supervisor starts children again that die, keeps their leases while a task holds the interpreter,
    and kills those of which a task passes its hard limit.
    """
    collecting = _hardly_collect()
    if supervised is not None:
        from vecna.app.group.child import leave_signals_to_the_supervisor  # what workers need loads slowly

        leave_signals_to_the_supervisor()
    server = load_server(target)
    # After the import: where the user's module has configured logging, that stands.
    level = log_level.upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("vecna").setLevel(level)
    name = name or _default_name()
    if concurrency is None:
        concurrency = math.ceil(2 * _cores() / (processes or 1))
    if processes is None:
        import vecna.app.worker  # noqa: F401 - with the rest, before what is there is left out of collections
    with server:
        _collect_seldom(collecting)
        try:
            if supervised is not None:
                from vecna.app.group.child import run_child

                run_child(server, name, concurrency, queues, supervised)
            elif processes is not None:
                group = server.new_worker_group(
                    name, processes, concurrency, queues, target=target, log_level=log_level
                )
                group.launch()
            else:
                server.new_worker(name, concurrency, queues=queues).launch()
        except WorkerAborted as fault:
            raise click.ClickException(str(fault)) from None
