"""vecna on one SQLite file: `sqlite:///path/to/file.db`."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import unquote

from vecna import Config, ConfigError
from vecna.kit import DocumentBackend, DocumentLock
from vecna.ports import Adapters, Clock
from vecna_sqlite.broker import SqliteBroker
from vecna_sqlite.database import Database

__all__ = ["SqliteBroker", "connect"]

_SCHEME: Final = "sqlite://"


def connect(url: str, config: Config, clock: Clock) -> Adapters:
    """The four ports for a file; it is opened, and made if need be, when it is first used.

    Args:
        url: `sqlite://` and the absolute path of the file, percent-encoded.
        config: its `namespace`, which the file belongs to, and `dead_letter_limit`.
        clock: time.

    Raises:
        ConfigError: the URL is no such, or the path cannot be a file.
    """
    path = Path(unquote(url.removeprefix(_SCHEME)))
    if not url.startswith(_SCHEME) or not path.is_absolute() or "?" in url or "#" in url:
        raise ConfigError(
            "write sqlite:// and the absolute path of a file, without a query: sqlite:///var/lib/tasks.db"
        )
    if path.is_dir() or not path.parent.is_dir():
        reason = "is a folder" if path.is_dir() else f"is in a folder that does not exist: make {path.parent}"
        raise ConfigError(f"{path} {reason}; write sqlite:///path/to/file.db")
    database = Database(path, config.namespace)
    return Adapters(
        SqliteBroker(database, clock, config.dead_letter_limit),
        DocumentBackend(database, clock),
        DocumentLock(database, clock),
        clock,
    )
