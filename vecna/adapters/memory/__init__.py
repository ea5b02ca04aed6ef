"""Everything inside this process: the ports on plain dicts. `memory://` and `memory://name`."""

from __future__ import annotations

import os
import threading
from typing import Final, Protocol

import attrs

from vecna.adapters.memory.backend import MemoryBackend, Records
from vecna.adapters.memory.broker import MemoryBroker
from vecna.adapters.memory.lock import Grants, MemoryLock
from vecna.adapters.memory.queue import Queues
from vecna.domain.errors import ConfigError, InvalidArgument
from vecna.domain.ids import check_id
from vecna.ports.clock import Clock
from vecna.ports.values import Adapters

__all__ = ["MemoryBackend", "MemoryBroker", "MemoryLock", "connect"]

_SCHEME: Final = "memory://"


class Settings(Protocol):
    """What of the configuration matters here."""

    @property
    def namespace(self) -> str:
        """Keeps apart what shares a name."""

    @property
    def dead_letter_limit(self) -> int:
        """How many dead letters a queue keeps."""


@attrs.frozen
class _Stores:
    queues: Queues = attrs.field(factory=Queues)
    records: Records = attrs.field(factory=Records)
    grants: Grants = attrs.field(factory=Grants)


class _Shared:
    """The named stores of this process. A forked child begins with none: its parent's tasks are not its own."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._lock = threading.Lock()
        self._stores: dict[tuple[str, str], _Stores] = {}

    def get(self, namespace: str, name: str) -> _Stores:
        with self._lock:
            return self._stores.setdefault((namespace, name), _Stores())


_shared = _Shared()
os.register_at_fork(after_in_child=_shared.forget)


def connect(url: str, settings: Settings, clock: Clock) -> Adapters:
    """The ports for `memory://` (a store of its own with each call) or `memory://name`.

    Args:
        url: a named store is shared by all in this process that give the same name and namespace.
        settings: `namespace` and `dead_letter_limit`.
        clock: time.

    Raises:
        ConfigError: the URL is no such.
    """
    name = url.removeprefix(_SCHEME)
    if name == url:
        raise ConfigError(f"a URL of the memory adapter begins with {_SCHEME}")
    if name:
        try:
            check_id(name, "name in the memory URL")
        except InvalidArgument as exc:
            raise ConfigError(f"{exc}; or {_SCHEME} for a store of its own") from None
    stores = _shared.get(settings.namespace, name) if name else _Stores()
    return Adapters(
        broker=MemoryBroker(clock, stores.queues, dead_letter_limit=settings.dead_letter_limit),
        backend=MemoryBackend(clock, stores.records),
        lock=MemoryLock(clock, stores.grants),
        clock=clock,
    )
