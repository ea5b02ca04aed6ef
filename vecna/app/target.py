"""The server that a text names: `app.module:server`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from vecna.app.config_checks import nearest
from vecna.app.server import Server
from vecna.domain.errors import ConfigError


class NoSuchTarget(ConfigError):
    """The text is no target, or names nothing, or something else than a server."""


def load_server(target: str, folder: Path) -> Server:
    """Import the module and return the server that it holds.

    Args:
        target: `package.module:name`; the name may have dots.
        folder: made importable.

    Raises:
        NoSuchTarget: no such module or name, or it is no Server.
        ConfigError: the module's server cannot be configured.
        Exception: whatever the module itself raises.
    """
    module_name, colon, name = target.partition(":")
    if not (colon and _is_dotted(module_name) and _is_dotted(name)):
        raise NoSuchTarget(f"write it as module:name, e.g. app.tasks:server, not {target!r}{_advice(target)}")
    here = str(folder)
    if here not in sys.path and not ("" in sys.path and folder == Path.cwd()):
        sys.path.insert(0, here)
    found: object = _import(module_name, folder)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise NoSuchTarget(f"{module_name} has no {name!r}{_servers_of(module_name, name)}") from None
    if not isinstance(found, Server):
        raise NoSuchTarget(
            f"{target} is no vecna.Server, but of type {type(found).__qualname__}{_servers_of(module_name, name)}"
        )
    return found


def _import(name: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ConfigError as fault:
        raise ConfigError(f"{name}: {fault}") from fault
    except ModuleNotFoundError as fault:
        if not fault.name or not f"{name}.".startswith(f"{fault.name}."):
            raise
        raise NoSuchTarget(
            f"there is no module {fault.name!r} here: looked in {folder} and where Python looks"
        ) from None


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
