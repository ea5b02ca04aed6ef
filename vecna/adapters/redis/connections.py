"""Calls to Redis: from connections that are made on first use and per process, tried again for a bounded time."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from redis.connection import AbstractConnection
from redis.exceptions import NoScriptError

from vecna.adapters.redis.address import RedisAddress
from vecna.adapters.redis.errors import REDIS_ERRORS, understand
from vecna.adapters.redis.opening import Client, ClientSettings, Opened, Opener
from vecna.adapters.redis.scripts import Script, guard, guarded
from vecna.domain.errors import BrokerUnavailable
from vecna.ports.clock import Clock

T = TypeVar("T")

#: What a call of a worker may take in all, seconds: it has a loop of its own that tries again.
IMPATIENT: Final = 2.0
_PAUSE: Final = (0.02, 1.0)  # the first pause between two tries, and the longest, seconds
_random: Final = random.Random()


class Connections:
    """The connections of this process to one server, cluster, or master that Sentinels name.

    Args:
        address: where.
        settings: pool and timeouts.
        clock: for pauses between tries. A virtual one does not pass by itself: then there is one quick second try only.
        patience: how long a call is tried again while the server is away, seconds.
        namespace: what the names of all keys begin with.
    """

    def __init__(
        self,
        address: RedisAddress,
        settings: ClientSettings,
        clock: Clock,
        patience: float,
        namespace: str = "vecna",
    ) -> None:
        self.address = address
        self.settings = settings
        self.clock = clock
        self.patience = patience
        self._opener = Opener(address, settings, namespace)
        self._locks: dict[int, threading.Lock] = {}  # by process: what is held at a fork stays held in the child
        self._now_opened: Opened | None = None
        self._warned = False

    def __repr__(self) -> str:
        return f"<Connections {self.address}>"

    # -- calls -------------------------------------------------------------------------------------------------------

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any], *, patience: float | None = None) -> Any:
        """Run a script; it may run twice if the first reply is lost.

        Raises:
            BrokerUnavailable: it could not be run, or nobody knows whether it was.
            ConfigError: user or password is wrong, or the server is too old.
        """
        command = ("EVALSHA", script.sha, len(keys), *keys, *args)

        def evaluate(opened: Opened) -> Any:
            if opened.is_cluster:
                return self._evaluate_guarded(opened, script, keys, args)
            try:
                return opened.call(*command)
            except NoScriptError:
                return opened.call("EVAL", script.source, *command[2:])

        return self._attempt(evaluate, patience=patience)

    @staticmethod
    def _evaluate_guarded(opened: Opened, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script in a cluster, not while its slot moves."""
        script = guarded(script)
        command = (len(keys) + 1, *keys, guard(keys[0]), *args)
        try:
            return opened.call("EVALSHA", script.sha, *command)
        except NoScriptError:
            return opened.call("EVAL", script.source, *command)

    def call(self, *command: Any, patience: float | None = None) -> Any:
        """Send one command.

        Raises:
            BrokerUnavailable, ConfigError: as for `run`.
        """
        return self._attempt(lambda opened: opened.call(*command), patience=patience)

    def attempt(self, command: Callable[[Client], T], *, patience: float | None = None) -> T:
        """Give `command` a client, again and again while what it fails with may pass.

        Raises:
            BrokerUnavailable, ConfigError: as for `run`.
        """
        return self._attempt(lambda opened: command(opened.client), patience=patience)

    def _attempt(self, command: Callable[[Opened], T], *, patience: float | None) -> T:
        started = self.clock.monotonic()
        limit = self.patience if patience is None else min(patience, self.patience)
        tries = 0
        while True:
            try:
                return command(self._opened())
            except BrokerUnavailable:
                raise
            except REDIS_ERRORS as exc:
                failure = understand(exc, str(self.address), self.address.password)
                tries += 1
                if not failure.passes or not self._pause(tries, started + limit, timed_out=failure.timed_out):
                    # What was right when it was first used may have been changed meanwhile: workers go on trying.
                    raise (failure.error if self._now_opened is None else unavailable(exc, self)) from exc

    def _pause(self, tries: int, end: float, *, timed_out: bool) -> bool:
        """Wait before the next try; False: there is none.

        The first follows at once, in any case: the connection may just be stale. Not so after a timeout, which has
        taken its time.
        """
        left = end - self.clock.monotonic()
        if tries == 1 and (left > 0 or not timed_out):
            return True
        if self.clock.virtual or left <= 0:
            return False
        first, longest = _PAUSE
        pause = min(longest, first * 2.0 ** min(tries - 2, 10)) * _random.uniform(0.5, 1.0)
        self.clock.wait(threading.Event(), min(pause, left))
        return True

    # -- connections -------------------------------------------------------------------------------------------------

    @property
    def is_cluster(self) -> bool:
        """Whether keys are spread over nodes. Connects if need be: it may only be known then."""
        known = self.known_cluster
        return self.find_cluster() if known is None else known

    @property
    def known_cluster(self) -> bool | None:
        """The same, None as long as this process has not connected."""
        opened = self._now_opened
        return None if opened is None or opened.pid != os.getpid() else opened.is_cluster

    def find_cluster(self, patience: float | None = None) -> bool:
        """Connect, check what is there, and say whether it is a cluster.

        Raises:
            BrokerUnavailable, ConfigError: as for `run`.
        """
        return self._attempt(lambda opened: opened.is_cluster, patience=patience)

    def _opened(self) -> Opened:
        """What this process has opened; it opens it if it has not. Children of a fork open their own."""
        opened = self._now_opened
        if opened is not None and opened.pid == os.getpid():
            return opened
        with self._lock():
            if self._now_opened is None or self._now_opened.pid != os.getpid():
                self._now_opened = self._opener.open(warn=not self._warned)
                self._warned = True
            return self._now_opened

    def _lock(self) -> threading.Lock:
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def dedicated(self, key: str) -> AbstractConnection:
        """A connection of the caller's own to the server that has `key`, not yet connected.

        Raises:
            BrokerUnavailable: nobody knows which server that is.
        """
        return self.attempt(lambda _: self._opener.dedicated(self._opened(), key), patience=0)

    def look_again(self) -> None:
        """Find out anew which node of a cluster has which keys; whether that succeeds is the next call's business."""
        opened = self._now_opened
        if opened is not None and opened.is_cluster:
            try:
                opened.client.nodes_manager.initialize()
            except REDIS_ERRORS:
                return

    def close(self) -> None:
        """Close what this process has opened. A later call opens it again."""
        with self._lock():
            opened, self._now_opened = self._now_opened, None
        if opened is not None and opened.pid == os.getpid():
            opened.client.close()


def unavailable(exc: Exception, connections: Connections) -> BrokerUnavailable:
    """What a lost connection of one's own is to callers."""
    if isinstance(exc, BrokerUnavailable):
        return exc
    error = understand(exc, str(connections.address), connections.address.password).error
    return error if isinstance(error, BrokerUnavailable) else BrokerUnavailable(str(error))
