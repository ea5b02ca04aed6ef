"""The file: its tables, its transactions, its errors."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from vecna import BrokerUnavailable, ConfigError
from vecna.kit import Document, Documents, DocumentStore

#: How often a transaction tries to begin while others write, and how long it pauses in between (seconds).
_TRIES: Final = 5_000
_PAUSE: Final = 0.001
#: Stands in the head of the file: 'vcna'.
_APPLICATION: Final = 0x76636E61
_SCHEMA: Final = """
CREATE TABLE namespace (name TEXT NOT NULL);
CREATE TABLE documents (kind TEXT, key TEXT, value BLOB, at INT, PRIMARY KEY (kind, key)) WITHOUT ROWID;
CREATE INDEX documents_at ON documents (kind, at, key) WHERE at IS NOT NULL;
CREATE TABLE queues (name TEXT PRIMARY KEY, known INT, head INT, tail INT, leases INT, touched INT, duration INT);
CREATE TABLE messages (queue TEXT, uuid TEXT, body BLOB, priority INT, code TEXT, enqueued_at INT, due_at INT,
    standing TEXT, until INT, hold TEXT, token TEXT, attempts TEXT, crashes INT, forgiven INT, verdict TEXT,
    flagged INT, settled TEXT, reason TEXT, died_at INT, place INT, UNIQUE (uuid, queue));
CREATE INDEX messages_place ON messages (queue, standing, priority DESC, place);
CREATE INDEX messages_until ON messages (queue, until, place) WHERE until IS NOT NULL;
CREATE INDEX messages_token ON messages (queue, token) WHERE token <> '';
CREATE INDEX messages_hold ON messages (queue, hold, place) WHERE hold <> '';
CREATE INDEX messages_code ON messages (queue, code, uuid) WHERE code <> '';
CREATE TABLE leases (queue TEXT, token TEXT, number INT, deadline INT, spared INT, PRIMARY KEY (queue, token));
CREATE INDEX leases_deadline ON leases (queue, deadline, number);
CREATE TABLE calls (queue TEXT, worker TEXT, number INT, token TEXT, made INT, PRIMARY KEY (queue, worker))
"""


class Database(DocumentStore):
    """One connection to the file, opened when it is first used; for all threads of a process, one at a time."""

    def __init__(self, path: Path, namespace: str) -> None:
        self._path, self._namespace = path, namespace
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def step(self, *, reading: bool = False) -> Iterator[SqliteDocuments]:
        with self._lock:
            try:
                sql = self._begun("BEGIN" if reading else "BEGIN IMMEDIATE")
                try:
                    yield SqliteDocuments(sql)
                    sql.execute("COMMIT")
                finally:
                    if sql.in_transaction:
                        sql.execute("ROLLBACK")
            except sqlite3.Error as fault:
                self._drop()
                if getattr(fault, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
                    raise ConfigError(f"{self._path} is no SQLite database: name another file") from None
                remedy = "Is there room on the disk, and may this user write there?"
                raise BrokerUnavailable(f"{self._path} cannot be used: {fault}. {remedy}") from fault

    def _begun(self, begin: str) -> sqlite3.Connection:
        for _ in range(_TRIES):
            try:
                sql = self._connection = self._connection or self._opened()
                sql.execute(begin)
                sql.execute("SELECT 1 FROM namespace")  # what is read from here on is of one moment
                return sql
            except sqlite3.OperationalError as fault:
                if self._connection is not None and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if fault.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
            threading.Event().wait(_PAUSE)  # real time, whatever the clock: the other process needs some
        raise BrokerUnavailable(f"{self._path} is locked by another process for more than {_TRIES * _PAUSE:g} s")

    def _opened(self) -> sqlite3.Connection:
        # Own pauses instead of SQLite's busy handler, whose pauses grow to a tenth of a second.
        sql = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            sql.row_factory = sqlite3.Row
            if not self._is_ours(sql):
                sql.execute("PRAGMA journal_mode = WAL")
                sql.execute("BEGIN IMMEDIATE")
                if not self._is_ours(sql):  # nobody else was faster
                    for statement in _SCHEMA.split(";"):
                        sql.execute(statement)
                    sql.execute("INSERT INTO namespace VALUES (?)", (self._namespace,))
                    sql.execute(f"PRAGMA application_id = {_APPLICATION}")
                sql.execute("COMMIT")
            sql.execute("PRAGMA synchronous = NORMAL")
            (name,) = sql.execute("SELECT name FROM namespace").fetchone()
            if name != self._namespace:
                raise ConfigError(f"{self._path} is of the namespace {name!r}: another file for {self._namespace!r}")
        except BaseException:
            sql.close()
            raise
        return sql

    def _is_ours(self, sql: sqlite3.Connection) -> bool:
        look = "SELECT application_id, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id"
        application, tables = sql.execute(look).fetchone()
        if application != _APPLICATION and tables:
            raise ConfigError(f"{self._path} is the database of another program: name another file")
        return bool(application == _APPLICATION)

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error), closing(self._connection):
                self._connection = None

    def close(self) -> None:
        with self._lock:
            self._drop()

    def version(self) -> int:
        with self.step(reading=True) as documents:
            return int(documents.sql.execute("PRAGMA data_version").fetchone()[0])

    def another(self) -> Database:
        return Database(self._path, self._namespace)


class SqliteDocuments(Documents):
    """The documents inside one transaction, and whatever else is in the file.

    Attributes:
        sql: the connection.
    """

    def __init__(self, sql: sqlite3.Connection) -> None:
        self.sql = sql

    def get(self, kind: str, key: str) -> Document | None:
        found = self._find("kind = ? AND key = ?", kind, key)
        return found[0] if found else None

    def put(self, kind: str, key: str, value: bytes = b"", at: int | None = None) -> None:
        self.sql.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)", (kind, key, value, at))

    def drop(self, kind: str, key: str) -> bool:
        return self.sql.execute("DELETE FROM documents WHERE kind = ? AND key = ?", (kind, key)).rowcount > 0

    def scan(self, kind: str, above: int, upto: int, limit: int) -> list[Document]:
        return self._find("kind = ? AND at > ? AND at <= ? ORDER BY at, key LIMIT ?", kind, above, upto, limit)

    def under(self, kind: str, prefix: str) -> list[Document]:
        return self._find("kind = ? AND key >= ? AND key < ? ORDER BY key", kind, prefix, f"{prefix}\x7f")

    def _find(self, where: str, *values: object) -> list[Document]:
        rows = self.sql.execute(f"SELECT key, value, at FROM documents WHERE {where}", values).fetchall()
        return [Document(*row) for row in rows]
