"""`vecna task`: one task, by its id."""

from __future__ import annotations

from typing import Any, Final

import click

from vecna.app.requeueing import RETRY_OF
from vecna.app.server import Server
from vecna.cli.printing import args_option, arguments, json_option, one_line, print_fields, print_json
from vecna.cli.serving import with_server
from vecna.domain.cancellation import Cancellation
from vecna.domain.errors import InvalidSignature
from vecna.domain.ids import check_id
from vecna.domain.signature import Signature
from vecna.domain.signing import bare
from vecna.domain.state import TaskState
from vecna.ports.values import Place, Standing

#: Characters of a result, error or traceback that people are shown.
_LONGEST: Final = 500


@click.group("task")
def task_commands() -> None:
    """Look at one task, stop it, or run it again."""


@task_commands.command("show")
@click.argument("uuid", metavar="ID")
@with_server
@json_option
@args_option
def show(server: Server, uuid: str, as_json: bool, with_args: bool) -> None:
    """Show what is known of a task: its state, result or error, times, and where it stands.

    Long results and errors are cut off; --json has all of them.
    """
    check_id(uuid, "task id")
    (place,) = server.broker.locate([uuid])
    state = server.result(uuid).get_state()
    signature = _read(place)
    fields = _known(state, place, signature)
    if with_args:
        fields.update(arguments(signature) if place is not None else {"args": None, "kwargs": None})
    if as_json:
        print_json({**fields, "traceback": state.traceback})
        return
    fields = {name: _shortened(value) for name, value in fields.items()}
    if with_args and signature is None:
        fields["args"] = "not known: they are kept only as long as the task is with the broker"
    print_fields(fields)
    if state.traceback:
        click.echo()
        for line in state.traceback.splitlines():
            click.echo(f"  {one_line(line)}")


@task_commands.command("cancel")
@click.argument("uuids", metavar="ID...", nargs=-1, required=True)
@click.option(
    "--code",
    "by_code",
    is_flag=True,
    help="Each ID is a code: stop all work that shares it, and the schedule of that code.",
)
@with_server
def cancel(server: Server, uuids: tuple[str, ...], by_code: bool) -> None:
    """Stop tasks: one that has not started never will, one that runs is told to stop and causes nothing more.

    Exits with 1 if one is not known or had finished before.
    """
    for uuid in uuids:
        check_id(uuid, "code" if by_code else "task id")
    failed: list[str] = []
    for uuid in uuids:
        answer = server.cancel(uuid) if by_code else server.cancel_delayed_task(uuid)
        _print_cancellation(answer)
        failed += [] if by_code else [f"task {each} has finished" for each in answer.finished]
        failed += [_unknown(each, by_code) for each in answer.unknown]
    if failed:
        raise click.ClickException("; ".join(failed))


@task_commands.command("retry")
@click.argument("uuids", metavar="ID...", nargs=-1, required=True)
@with_server
def retry(server: Server, uuids: tuple[str, ...]) -> None:
    """Run dead tasks again, each as a copy under a new id, which is printed; with what follows it in its chain.

    The dead letter is removed; the old task and its workflow stay ended.
    """
    for uuid in uuids:
        retried = server.retry_dead_task(uuid)
        later = f", and {len(retried.later)} that follow it" if retried.later else ""
        before = "" if retried.result.is_new else " (it was sent before)"
        click.echo(f"{uuid}  runs again as {retried.result.uuid}{later}{before}")
        if retried.left_out:
            click.echo(f"{uuid}: {retried.left_out}", err=True)


def _unknown(uuid: str, by_code: bool) -> str:
    if by_code:
        return f"nothing with the code {uuid} is waiting or running"
    return f"no task {uuid} is known: it was never sent, or its result has expired; a code is cancelled with --code"


def _print_cancellation(answer: Cancellation) -> None:
    for code in answer.schedules:
        click.echo(f"{code}  schedule removed")
    for uuid in answer.canceled:
        click.echo(f"{uuid}  cancelled: it will not start")
    for uuid in answer.running:
        click.echo(f"{uuid}  running: it was told to stop, and causes nothing more")


def _known(state: TaskState, place: Place | None, signature: Signature | None) -> dict[str, Any]:
    code = None if signature is None or signature.code == signature.uuid else signature.code
    return {
        "uuid": state.task_uuid,
        "name": state.task_name,
        "state": str(state.state),
        "stands": _standing(state, place),
        "queue": None if place is None else place.queue,
        "code": code,
        "retry_of": None if signature is None else signature.headers.get(RETRY_OF),
        "result": state.value() if state.is_success else None,
        "error": state.error,
        "error_type": state.error_type,
        "dead_reason": state.dead_reason,
        "attempt": state.attempt or None,
        "worker": state.worker,
        "progress": None if state.progress is None else list(state.progress),
        "created_at": state.created_at,
        "started_at": state.started_at,
        "finished_at": state.finished_at,
        "due_at": None if place is None else place.due_at,
        "workflow": state.node,
        "callback_of": state.parent,
    }


def _standing(state: TaskState, place: Place | None) -> str:
    if place is None:
        if state.is_completed:
            return "over"
        if state.parent:
            return f"waits for the end of task {state.parent}"
        return "waits for its turn in its workflow" if state.node else "not with the broker"
    match place.standing:
        case Standing.PENDING:
            return "pending"
        case Standing.DELAYED:
            why = ""
            if place.attempts.parks:
                why = ", because no worker knows its name"
            elif place.attempts.repeats:
                why = f", for attempt {place.attempts.attempt}"
            return f"delayed{why}"
        case Standing.LEASED:
            return "with a worker"
        case Standing.HELD:
            return "held back until its workflow is sent as a whole"
        case Standing.ENDING:
            return "stopped; a worker will record its end"
        case Standing.DEAD:
            return "dead letter"


def _read(place: Place | None) -> Signature | None:
    try:
        return None if place is None else bare(Signature.from_json(place.body))
    except InvalidSignature:
        return None


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return one_line(value, _LONGEST)
    return value
