"""The command line: `vecna COMMAND ...`, also as `python -m vecna COMMAND ...`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

import click

from vecna.domain.errors import ConfigError, InvalidArgument, VecnaError

_COMMANDS: Final[Mapping[str, str]] = {
    "periodic": "vecna.cli.periodic:periodic_commands",
    "purge": "vecna.cli.purge:purge_queue",
    "queues": "vecna.cli.queues:list_queues",
    "task": "vecna.cli.task:task_commands",
    "tasks": "vecna.cli.tasks:tasks_commands",
    "worker": "vecna.cli.worker:run_worker",
    "workers": "vecna.cli.workers:list_workers",
}


class _Commands(click.Group):
    """Imports a command when it is asked for: a worker does not load what the others need."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vecna")
def commands() -> None:
    """Run workers of the task queue vecna, and look after its queues, tasks and schedules."""


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 when all went well, 1 when it failed, 2 when it was asked for something wrong.

    An error is one line on standard error; a traceback is only shown of the user's own code.

    Args:
        args: what follows the program's name; the process's own if left out.
    """
    try:
        status = commands.main(args=None if args is None else list(args), prog_name="vecna", standalone_mode=False)
    except click.UsageError as fault:
        if isinstance(fault, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # `vecna` alone; from click 8.2 on
            fault.show()
            sys.exit(fault.exit_code)
        where = f" (see: {fault.ctx.command_path} --help)" if fault.ctx else ""
        _fail(f"{fault.format_message()}{where}", fault.exit_code)
    except click.ClickException as fault:
        _fail(fault.format_message(), fault.exit_code)
    except click.Abort:  # Ctrl-C where no worker handles it
        _fail("interrupted", 130)
    except (ConfigError, InvalidArgument) as fault:
        _fail(str(fault), 2)
    except VecnaError as fault:
        _fail(str(fault), 1)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> NoReturn:
    click.echo(f"vecna: {' '.join(message.split())}", err=True)
    sys.exit(status)
