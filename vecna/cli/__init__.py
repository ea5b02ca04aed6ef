"""The command line: `vecna COMMAND ...`, also as `python -m vecna COMMAND ...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from vecna.cli.periodic import periodic_commands
from vecna.cli.purge import purge_queue
from vecna.cli.queues import list_queues
from vecna.cli.task import task_commands
from vecna.cli.tasks import tasks_commands
from vecna.cli.worker import run_worker
from vecna.cli.workers import list_workers
from vecna.domain.errors import ConfigError, InvalidArgument, VecnaError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vecna")
def commands() -> None:
    """Run workers of the task queue vecna, and look after its queues, tasks and schedules."""


for command in (run_worker, list_queues, tasks_commands, task_commands, periodic_commands, purge_queue, list_workers):
    commands.add_command(command)


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
