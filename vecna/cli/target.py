"""The server that a command is about: `app.module:server`."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType, TracebackType

import click

from vecna.app.config_checks import nearest
from vecna.bootstrap import Server
from vecna.domain.errors import ConfigError


def load_server(target: str) -> Server:
    """Import the module and return the server that it holds. The current directory is importable.

    Args:
        target: `package.module:name`; the name may have dots.

    Raises:
        click.UsageError: no such module or name, or it is no Server.
        ConfigError: the module's server cannot be configured.
        SystemExit: the module raised; its traceback was printed.
    """
    module_name, colon, name = target.partition(":")
    if not (colon and _is_dotted(module_name) and _is_dotted(name)):
        raise click.UsageError(f"write it as module:name, e.g. app.tasks:server, not {target!r}{_advice(target)}")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    found: object = _import(module_name)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise click.UsageError(f"{module_name} has no {name!r}{_servers_of(module_name, name)}") from None
    if not isinstance(found, Server):
        raise click.UsageError(
            f"{target} is no vecna.Server, but of type {type(found).__qualname__}{_servers_of(module_name, name)}"
        )
    return found


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ConfigError as fault:
        raise ConfigError(f"{name}: {fault}") from fault
    except Exception as fault:  # noqa: BLE001 - whatever the user's module raises
        if isinstance(fault, ModuleNotFoundError) and fault.name and f"{name}.".startswith(f"{fault.name}."):
            raise click.UsageError(
                f"there is no module {fault.name!r} here: looked in {Path.cwd()} and where Python looks"
            ) from None
        traceback.print_exception(type(fault), fault, _of_the_user(fault.__traceback__))
        click.echo(f"vecna: importing {name} failed, see above", err=True)
        sys.exit(1)


def _of_the_user(frames: TracebackType | None) -> TracebackType | None:
    """The traceback from the user's module on, without the import machinery; all of it if there is no such part."""
    theirs = frames
    while theirs is not None:
        file = theirs.tb_frame.f_code.co_filename
        if file not in (__file__, importlib.__file__) and not file.startswith("<frozen importlib"):
            return theirs
        theirs = theirs.tb_next
    return frames


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _advice(target: str) -> str:
    module_name, _, name = target.partition(":")
    if module_name.endswith(".py"):
        dotted = ".".join(Path(module_name).with_suffix("").parts)
        return f": a module, no file: {dotted}:{name or 'server'}"
    return ""


def _servers_of(module_name: str, wanted: str) -> str:
    """The names of the servers in a module, as the end of an error."""
    names = [name for name, value in vars(sys.modules[module_name]).items() if isinstance(value, Server)]
    meant = nearest(wanted, names) or (names[0] if len(names) == 1 else "")
    return f": did you mean {module_name}:{meant}?" if meant else ""
