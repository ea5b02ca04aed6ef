"""`vecna workers`: who is there."""

from __future__ import annotations

from typing import Any

import attrs
import click

from vecna.app.server import Server
from vecna.cli.printing import Row, json_option, print_rows
from vecna.cli.serving import with_server
from vecna.domain.presence import WorkerRecord


@click.command("workers")
@with_server
@json_option
def list_workers(server: Server, as_json: bool) -> None:
    """List the workers that are there, and what they run.

    RUNNING names the longest running tasks of each. A worker that died is listed for up to half a minute.
    """
    found = server.workers()
    rows: list[Row] = [_plain(each) for each in found] if as_json else [_row(each) for each in found]
    print_rows(rows, as_json=as_json, empty="no worker is there")


def _plain(worker: WorkerRecord) -> dict[str, Any]:
    return attrs.asdict(worker)


def _row(worker: WorkerRecord) -> Row:
    shown = [f"{run.name} {run.uuid}" for run in worker.running]
    more = f", {len(shown) - 3} more" if len(shown) > 3 else ""
    return {
        "name": worker.name,
        "queues": ",".join(worker.queues),
        "concurrency": worker.concurrency or "no limit",
        "started_at": worker.started_at,
        "host": worker.host,
        "pid": worker.pid,
        "held": worker.held,
        "running": ", ".join(shown[:3]) + more,
    }
