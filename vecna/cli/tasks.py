"""`vecna tasks`: what is in the queues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import click

from vecna.app.server import Server
from vecna.cli.printing import Row, args_option, arguments, json_option, print_rows
from vecna.cli.serving import with_server
from vecna.domain.errors import InvalidSignature
from vecna.domain.signature import Signature
from vecna.ports.values import DeadLetter

_LIMIT: Final = 100
_Listing = Callable[..., int | None]


@click.group("tasks")
def tasks_commands() -> None:
    """List the tasks that wait, or are dead."""


def _options(listing: _Listing) -> _Listing:
    for option in (
        args_option,
        json_option,
        click.option(
            "--limit", type=click.IntRange(min=1), default=_LIMIT, show_default=True, help="At most so many of a queue."
        ),
        click.option("--all-queues", is_flag=True, help="Of every queue."),
        click.option(
            "--queue",
            "queues",
            multiple=True,
            metavar="NAME",
            help="Of this queue; may be repeated.  [default: the default queue]",
        ),
    ):
        listing = option(listing)
    return with_server(listing)


@tasks_commands.command("pending")
@_options
def list_pending(server: Server, with_args: bool, as_json: bool, **where: Any) -> None:
    """List what a worker could take now, in that order."""
    rows = _rows(server, "pending", lambda queue, limit: server.get_pending_tasks(queue, limit=limit), **where)
    found = [{**_call(queue, each), **(arguments(each) if with_args else {})} for queue, each in rows]
    print_rows(found, as_json=as_json, empty="no task is pending")


@tasks_commands.command("delayed")
@_options
def list_delayed(server: Server, with_args: bool, as_json: bool, **where: Any) -> None:
    """List what waits for its time: an ETA, a delay, a repeat, a worker that knows it. The earliest first."""
    rows = _rows(server, "delayed", lambda queue, limit: server.get_delayed_tasks(queue, limit=limit), **where)
    found = [
        {**_call(queue, each), "due_at": each.eta, **(arguments(each) if with_args else {})} for queue, each in rows
    ]
    print_rows(found, as_json=as_json, empty="no task is delayed")


@tasks_commands.command("dead")
@_options
def list_dead(server: Server, with_args: bool, as_json: bool, **where: Any) -> None:
    """List what will not be run any more, and why. The oldest first."""
    rows = _rows(server, "dead", lambda queue, limit: server.get_dead_tasks(queue, limit=limit), **where)
    found = [{**_dead(each), **(arguments(_read(each)) if with_args else {})} for _, each in rows]
    print_rows(found, as_json=as_json, empty="no task is dead")


def _rows(
    server: Server,
    what: str,
    page: Callable[[str, int], Sequence[Any]],
    *,
    queues: Sequence[str],
    all_queues: bool,
    limit: int,
) -> list[tuple[str, Any]]:
    """What a page of each queue holds; says on standard error where there is more."""
    if all_queues and queues:
        raise click.UsageError("--all-queues and --queue exclude each other")
    names = server.broker.queues() if all_queues else queues or (server.config.default_queue,)
    found: list[tuple[str, Any]] = []
    for queue in names:
        items = page(queue, limit + 1)
        found += [(queue, item) for item in items[:limit]]
        if len(items) > limit:
            click.echo(f"queue {queue} has more that is {what}: only the first {limit} are shown (--limit)", err=True)
    return found


def _call(queue: str, signature: Signature) -> Row:
    return {
        "uuid": signature.uuid,
        "name": signature.name,
        "queue": queue,
        "priority": signature.priority,
        "code": "" if signature.code == signature.uuid else signature.code,
    }


def _dead(letter: DeadLetter) -> Row:
    return {
        "uuid": letter.uuid,
        "name": letter.name,
        "queue": letter.queue,
        "died_at": letter.died_at,
        "reason": letter.reason,
    }


def _read(letter: DeadLetter) -> Signature | None:
    try:
        return letter.signature
    except InvalidSignature:
        return None
