"""A line that shows how far things are: rewritten in place on a terminal, one line a second elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from typing import TextIO


class Screen:
    """Shows progress.

    Args:
        seconds: a clock, in seconds.
        out: where to.
    """

    def __init__(self, seconds: Callable[[], float], out: TextIO = sys.stdout) -> None:
        self._seconds = seconds
        self._out = out
        self._live = out.isatty()
        self._next = seconds()
        self._shown = ""

    def progress(self, text: str, *, last: bool = False) -> None:
        """Show `text`; where nothing can be rewritten, only each second, and the last one."""
        if self._live:
            text = text[: shutil.get_terminal_size().columns - 1]
            self._out.write(f"\r\x1b[2K{text}" + ("\n" if last else ""))
        elif text != self._shown and (last or self._seconds() >= self._next):
            self._next = self._seconds() + 1
            self._out.write(text + "\n")
        self._shown = text
        self._out.flush()
