"""`vecna periodic`: schedules."""

from __future__ import annotations

import click

from vecna.app.schedule_handles import Schedule
from vecna.app.server import Server
from vecna.cli.printing import Row, json_option, print_rows
from vecna.cli.serving import with_server


@click.group("periodic")
def periodic_commands() -> None:
    """List schedules, and act on one by its code."""


@periodic_commands.command("list")
@with_server
@json_option
def list_schedules(server: Server, as_json: bool) -> None:
    """List all schedules, the next due first; paused ones last."""
    print_rows([_row(each) for each in server.schedules()], as_json=as_json, empty="there is no schedule")


@periodic_commands.command("cancel")
@click.argument("code")
@with_server
def cancel(server: Server, code: str) -> None:
    """Remove a schedule, and stop what it has sent."""
    found = server.cancel_periodic_task(code)
    click.echo(
        f"schedule {code} is removed; of what it has sent, {len(found.canceled)} will not start, "
        f"{len(found.running)} were running and told to stop"
    )


@periodic_commands.command("trigger")
@click.argument("code")
@with_server
def trigger(server: Server, code: str) -> None:
    """Send one extra occurrence now, and print its id. The rhythm stays as it is."""
    click.echo(server.get_schedule(code).trigger().uuid)


@periodic_commands.command("pause")
@click.argument("code")
@with_server
def pause(server: Server, code: str) -> None:
    """Fire nothing of this schedule until it is resumed."""
    server.get_schedule(code).pause()
    click.echo(f"schedule {code} is paused")


@periodic_commands.command("resume")
@click.argument("code")
@with_server
def resume(server: Server, code: str) -> None:
    """Fire again, from the next due time on."""
    due = server.get_schedule(code).resume().next_fire_at
    click.echo(f"schedule {code} goes on{f' at {due.isoformat()}' if due is not None else ''}")


def _row(schedule: Schedule) -> Row:
    return {
        "code": schedule.code,
        "kind": str(schedule.kind),
        "spec": schedule.spec,
        "timezone": schedule.timezone,
        "next_fire_at": schedule.next_fire_at,
        "last_fire_at": schedule.last_fire_at,
        "paused": schedule.paused,
        "skipped": schedule.skipped,
    }
