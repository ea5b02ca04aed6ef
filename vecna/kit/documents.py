"""A store of documents: what the backend, the lock and the schedules of an adapter can be made of.

Any store that changes several keys in one step can be one: SQL, LMDB, etcd. Implement these two classes, and
`DocumentBackend`, `DocumentLock` and `DocumentSchedules` do the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Final

import attrs

#: Larger than every `at`.
LAST: Final = 2**62


@attrs.frozen
class Document:
    """What is stored under a key.

    Attributes:
        key: unique within its kind.
        value: any bytes.
        at: the number by which `scan` finds it, usually an instant in microseconds; None: it does not.
    """

    key: str
    value: bytes
    at: int | None = None


class Documents(ABC):
    """The documents, inside one step. Kinds and keys are ASCII text of at most 250 characters."""

    @abstractmethod
    def get(self, kind: str, key: str) -> Document | None:
        """The document under a key; None if there is none."""

    @abstractmethod
    def put(self, kind: str, key: str, value: bytes = b"", at: int | None = None) -> None:
        """Store a document, in place of what is there."""

    @abstractmethod
    def drop(self, kind: str, key: str) -> bool:
        """Remove a document; whether it was there."""

    @abstractmethod
    def scan(self, kind: str, above: int, upto: int, limit: int) -> list[Document]:
        """Documents with above < `at` <= upto, the smallest `at` first, of equal ones by key; at most `limit`."""

    @abstractmethod
    def under(self, kind: str, prefix: str) -> list[Document]:
        """All documents whose key begins with `prefix`, by key; with "" all of the kind."""


class DocumentStore(ABC):
    """Where documents are kept. From any thread."""

    @abstractmethod
    def step(self, *, reading: bool = False) -> AbstractContextManager[Documents]:
        """Do all that is done inside, or, if it raises or the process dies, nothing of it.

        Nobody sees a half, and no two steps that write overlap. What the store does not do for itself it retries;
        only the beginning may fail for others' sake, and raises `BrokerUnavailable` when that lasts.

        Args:
            reading: nothing will be written.

        Raises:
            BrokerUnavailable: the store cannot be reached, or refuses.
        """

    @abstractmethod
    def version(self) -> object:
        """Something cheap to read that is another whenever somebody has written over another connection."""

    @abstractmethod
    def another(self) -> DocumentStore:
        """The same store over a connection of its own, for one who waits."""

    @abstractmethod
    def close(self) -> None:
        """Close what is open. May be repeated; what comes later opens it again."""
