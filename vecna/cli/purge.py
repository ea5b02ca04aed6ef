"""`vecna purge`: empties a queue."""

from __future__ import annotations

import sys

import click

from vecna.app.server import Server
from vecna.cli.serving import with_server
from vecna.domain.ids import check_id


@click.command("purge")
@click.argument("queue")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@with_server
def purge_queue(server: Server, queue: str, yes: bool) -> int:
    """Stop all tasks that wait in QUEUE: pending, delayed, or held until their workflow is there.

    They end as CANCELED. What runs goes on; dead letters and schedules stay.
    """
    check_id(queue, "queue name")
    known = server.broker.queues()
    if queue not in known:
        raise click.ClickException(f"there is no queue {queue}; known are: {', '.join(known) or 'none'}")
    counts = server.broker.counts(queue)
    waiting = counts.pending + counts.delayed + counts.held
    if not yes and waiting:
        if not sys.stdin.isatty():
            raise click.UsageError(f"{waiting} tasks wait in queue {queue}: where nobody can be asked, say --yes")
        if not click.confirm(f"Stop all {waiting} tasks that wait in queue {queue}?", err=True):
            click.echo("nothing was stopped", err=True)
            return 1
    with click.progressbar(length=waiting, label="purging", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        stopped = server.purge(queue, on_progress=lambda stopped, _: bar.update(stopped - bar.pos))
    click.echo(f"{stopped} tasks of queue {queue} were stopped")
    return 0
