"""The password of every test server, which nobody may ever see: it is looked for in all that the test run puts out.

Every server of the tests knows a user with this password, and every URL that they hand out carries both. What vecna
logs, prints and raises, in this process and in those that tests start, is shown to `watch`; a test during which the
password turned up anywhere fails.
"""

import logging
import subprocess
import threading
from typing import Any
from urllib.parse import quote

USER = "tests"
#: Shortened or percent-encoded it would be a leak just as well; so it has nothing to encode, and its middle is rare.
PASSWORD = "canary-9f3b-must-never-be-shown"
TELLTALE = "9f3b-must-never"
#: Before the host in a URL.
LOGIN = f"{USER}:{quote(PASSWORD)}@"


class Watch(logging.Handler):
    """Looks through what it is shown, and keeps where the password was seen."""

    def __init__(self) -> None:
        super().__init__()
        self._lock_found = threading.Lock()
        self._found: list[str] = []
        self._formatter = logging.Formatter()
        self.looked = 0

    def look(self, text: object, where: str) -> None:
        """Look through one piece of output."""
        self.looked += 1
        if TELLTALE in (shown := text.decode(errors="replace") if isinstance(text, bytes) else str(text)):
            with self._lock_found:
                self._found.append(f"{where}: {shown.replace(TELLTALE, '*' * len(TELLTALE))[:2000]}")

    def emit(self, record: logging.LogRecord) -> None:
        """A log line with its fields and its traceback."""
        self.look(f"{self._formatter.format(record)} {vars(record)}", f"log line of {record.name}")

    def found(self) -> list[str]:
        """Where it was seen since this was asked last."""
        with self._lock_found:
            found, self._found = self._found, []
        return found


watch = Watch()


def attend() -> None:
    """Show `watch` all log lines, all errors of vecna, and what processes that were started have written."""
    from vecna.domain.errors import VecnaError

    logging.getLogger().addHandler(watch)
    communicate = subprocess.Popen.communicate

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        written = communicate(self, *args, **kwargs)
        for text in written:
            watch.look(text or "", f"output of {self.args!r}"[:200])
        return written

    def raised(self: VecnaError, *args: object) -> None:
        super(VecnaError, self).__init__(*args)
        watch.look(args, type(self).__name__)

    subprocess.Popen.communicate = watched  # type: ignore[method-assign]  # all output goes by it
    VecnaError.__init__ = raised  # type: ignore[assignment,method-assign]  # so do all errors
