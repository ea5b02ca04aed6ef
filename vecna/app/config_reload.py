"""Reading a configuration file again while the program runs."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

import attrs

from vecna import log
from vecna.app.config_checks import key_of
from vecna.domain.errors import ConfigError

PERIOD: Final = 10.0  # seconds between two looks at the file
SETTLE: Final = 0.1  # seconds for which a changed file must stay the same: it may be half written
_JOIN: Final = 5.0  # seconds that `close` waits for the thread, which may be reading a slow file

Wait = Callable[[threading.Event, float], bool]


class Reloader:
    """Looks at a file every 10 seconds, in a daemon thread, and applies what has changed.

    It does not keep the settings alive: when nobody holds them any more, the thread ends. After a fork the child gets
    a thread of its own.

    Args:
        settings: what to keep up to date; it came from `content`.
        content: what the file held then.
        read: reads the file; raises ConfigError.
        parse: makes new settings of what was read; raises ConfigError.
        name: of the file, for the log.
        wait: waits until the event is set or so many seconds have passed: a clock's.
    """

    def __init__(
        self,
        settings: attrs.AttrsInstance,
        content: bytes,
        read: Callable[[], bytes],
        parse: Callable[[bytes], attrs.AttrsInstance],
        name: str,
        wait: Wait,
    ) -> None:
        self._settings = weakref.ref(settings)
        self._content = content
        self._read = read
        self._parse = parse
        self._name = name
        self._wait = wait
        self._faults: set[str] = set()  # what was logged since the last good file
        self._kept: dict[str, object] = {}  # values that would need a restart, as logged
        weakref.finalize(settings, self._stop)
        self._start()
        _reloaders.add(self)

    def look(self) -> bool:
        """Read the file now, and apply it if it is good and has changed.

        Returns:
            Whether a setting is different now.
        """
        with self._lock:
            settings = self._settings()
            if settings is None or self._stopped.is_set():
                return False
            try:
                content = self._read()
                if content == self._content and not self._faults:
                    return False
                fresh = self._parse(content)
            except ConfigError as fault:
                if str(fault) not in self._faults:
                    self._faults.add(str(fault))
                    log.error(f"{fault}; the settings from before stay in force")
                return False
            if self._faults:
                self._faults.clear()
                log.info(f"{self._name}: is good again")
            self._content = content
            return self._apply(settings, fresh)

    def close(self) -> None:
        """End the thread. May be repeated."""
        self._stop()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vecna-config", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        stopped = self._stopped
        while not self._wait(stopped, PERIOD):
            try:
                if self._is_settled(stopped):
                    self.look()
            except Exception as fault:  # noqa: BLE001 - ours; the next look may succeed, a dead thread never would
                log.error(f"{self._name}: could not be read again: {type(fault).__name__}", exc_info=fault)

    def _is_settled(self, stopped: threading.Event) -> bool:
        """Whether the file reads the same twice; else it is being written, and is left for the next time."""
        try:
            content = self._read()
            return content == self._content or (not self._wait(stopped, SETTLE) and content == self._read())
        except ConfigError:
            return True  # `look` will say so

    def _apply(self, settings: attrs.AttrsInstance, fresh: attrs.AttrsInstance) -> bool:
        changes: dict[str, object] = {}
        kept: dict[str, object] = {}
        for attribute in attrs.fields(type(settings)):
            old, new = getattr(settings, attribute.name), getattr(fresh, attribute.name)
            if attribute.init and old != new:
                if attribute.metadata.get("live"):
                    changes[attribute.name] = new
                elif attrs.has(type(new)):
                    kept.update(_different(old, new))
                else:
                    kept[key_of(attribute)] = new
        news = [key for key, value in kept.items() if key not in self._kept or self._kept[key] != value]
        if news:
            log.warning(f"{self._name}: {', '.join(news)} cannot change while running; restart to apply it")
        self._kept = kept
        if changes:
            # One assignment: whoever reads sees all of the old values or all of the new ones.
            object.__setattr__(settings, "__dict__", {**vars(settings), **changes})
            log.info(f"{self._name}: read again; changed: {', '.join(changes)}")
        return bool(changes)

    def _stop(self) -> None:
        self._stopped.set()

    def _restart_in_child(self) -> None:
        # Threads do not survive a fork, and a lock may have been held by one.
        if not self._stopped.is_set():
            self._start()


def _different(old: Any, new: Any) -> dict[str, object]:
    fields = attrs.fields(type(new))
    return {
        key_of(field): getattr(new, field.name)
        for field in fields
        if field.metadata.get("effect", True) and getattr(new, field.name) != getattr(old, field.name)
    }


def _after_fork() -> None:
    for reloader in list(_reloaders):
        reloader._restart_in_child()  # noqa: SLF001 - our own


_reloaders: weakref.WeakSet[Reloader] = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)
