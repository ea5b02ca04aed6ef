"""The server that a command is about: `app.module:server`."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import click

from vecna.domain.errors import ConfigError

if TYPE_CHECKING:
    from vecna.app.server import Server


def load_server(target: str) -> Server:
    """Import the module and return the server that it holds. The current directory is importable.

    Args:
        target: `package.module:name`; the name may have dots.

    Raises:
        click.UsageError: no such module or name, or it is no Server.
        ConfigError: the module's server cannot be configured.
        SystemExit: the module raised; its traceback was printed.
    """
    from vecna.app import target as app  # not before the worker has seen to the collector of garbage

    try:
        return app.load_server(target, Path.cwd())
    except app.NoSuchTarget as fault:
        raise click.UsageError(str(fault)) from None
    except ConfigError:
        raise
    except Exception as fault:  # noqa: BLE001 - whatever the user's module raises
        traceback.print_exception(type(fault), fault, _of_the_user(fault.__traceback__))
        click.echo(f"vecna: importing {target.partition(':')[0]} failed, see above", err=True)
        sys.exit(1)


def _of_the_user(frames: TracebackType | None) -> TracebackType | None:
    """The traceback from the user's module on, without the import machinery; all of it if there is no such part."""
    from vecna.app import target as app

    theirs = frames
    while theirs is not None:
        file = theirs.tb_frame.f_code.co_filename
        if file not in (__file__, app.__file__, importlib.__file__) and not file.startswith("<frozen importlib"):
            return theirs
        theirs = theirs.tb_next
    return frames
