"""`vecna queues`: how many messages stand where."""

from __future__ import annotations

import attrs
import click

from vecna.app.server import Server
from vecna.cli.printing import json_option, print_rows
from vecna.cli.serving import with_server


@click.command("queues")
@with_server
@json_option
def list_queues(server: Server, as_json: bool) -> None:
    """Show every queue that ever held a task, and how many stand where in it.

    ENDING: cancelled or purged, and not yet recorded so. HELD: of workflows that are not sent as a whole yet.
    """
    rows = [{"queue": name, **attrs.asdict(counts)} for name, counts in server.queue_counts().items()]
    print_rows(rows, as_json=as_json, empty="no queue has ever held a task here")
