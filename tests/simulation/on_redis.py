"""Histories over a real server: the scripts are passed the virtual clock's time."""

from __future__ import annotations

import itertools
from types import TracebackType
from typing import Any, Self

import attrs
import redis

from vecna.adapters.redis import connect
from vecna.app.config import RedisConfig


@attrs.frozen
class _Settings:
    namespace: str
    dead_letter_limit: int = 10_000
    send_timeout: float = 10
    redis: RedisConfig = attrs.field(factory=RedisConfig)


class OnRedis:
    """Makes the stores of each history, in a database that is empty before it.

    Args:
        url: of a server that nobody else uses, or uses other namespaces of.
        namespace: what all keys begin with.
    """

    def __init__(self, url: str, namespace: str = "simulation") -> None:
        self._url = url
        self._namespace = namespace
        self._numbers = itertools.count()
        self._client = redis.Redis.from_url(url)
        self._open: Any = None

    def __call__(self, clock: Any, accepted: Any) -> tuple[Any, Any]:
        self._close()
        opened = self._open = connect(self._url, _Settings(f"{self._namespace}-{next(self._numbers)}"), clock)
        return opened.broker, opened.backend

    def _close(self) -> None:
        if self._open is not None:
            self._open.broker.close()
            self._open.backend.close()
            for key in self._client.scan_iter(f"{self._namespace}-*", 1000):
                self._client.unlink(key)
            self._open = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()
        self._client.close()
