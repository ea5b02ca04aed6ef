"""Which files the demo measures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MOST_FILES = 1000
LARGEST_FILE = 1024 * 1024  # bytes
_NOT_ENTERED = {"__pycache__", "build", "dist", "node_modules"}

Fingerprint = tuple[int, int]  # size, time of the last change


class NothingToDo(Exception):
    """The folder cannot be used; the message says why."""


@dataclass
class Found:
    """The text files of a folder, and how many more there were."""

    folder: Path
    files: dict[Path, Fingerprint] = field(default_factory=dict)
    left_out: int = 0

    def has_changed(self, path: Path) -> bool:
        """Whether somebody has written to a file since it was found."""
        try:
            return _fingerprint(path) != self.files[path]
        except OSError:
            return True


def text_files(folder: Path) -> Found:
    """Find UTF-8 texts in a folder and the folders below it, hidden and generated ones left out.

    Raises:
        NothingToDo: it is no folder, cannot be read, or holds no text.
    """
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        raise NothingToDo(f"{folder} is {'a file, not a folder' if folder.exists() else 'not there'}")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise NothingToDo(f"{folder} cannot be read by this user")
    found = Found(folder)
    for path in _walk(folder):
        fingerprint = _text(path) if len(found.files) < MOST_FILES else None
        if fingerprint:
            found.files[path] = fingerprint
        else:
            found.left_out += 1
    if not found.files:
        raise NothingToDo(f"{folder} holds no text files (UTF-8, up to 1 MiB; hidden folders are not searched)")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for here, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if _is_entered(Path(here, name)))
        for name in sorted(names):
            path = Path(here, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _is_entered(folder: Path) -> bool:
    return not (folder.name.startswith(".") or folder.name in _NOT_ENTERED or (folder / "pyvenv.cfg").exists())


def _text(path: Path) -> Fingerprint | None:
    """The fingerprint of a file, if it is a text that can be sent for."""
    try:
        str(path).encode()  # a name that is no Unicode cannot travel in a message
        fingerprint = _fingerprint(path)
        if fingerprint[0] > LARGEST_FILE:
            return None
        content = path.read_bytes()
        content.decode()
    except (OSError, UnicodeError):
        return None
    return None if b"\0" in content else fingerprint


def _fingerprint(path: Path) -> Fingerprint:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
