"""The file: its tables, its transactions, its errors. Instants are stored in microseconds since 1970."""

from __future__ import annotations

import datetime as dt
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from vecna import BrokerUnavailable, ConfigError
from vecna.ports import rules

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
#: How often a transaction tries to begin while others write, and how long it pauses in between (seconds).
_TRIES: Final = 5_000
_PAUSE: Final = 0.001
#: Stands in the head of the file: 'vcna'.
_APPLICATION: Final = 0x76636E61
_SCHEMA: Final = """
CREATE TABLE namespace (name TEXT NOT NULL);
CREATE TABLE queues (name TEXT PRIMARY KEY, known INT, head INT, tail INT, leases INT, touched INT, duration INT,
    rung INT) WITHOUT ROWID;
CREATE TABLE messages (id INTEGER PRIMARY KEY, queue TEXT, uuid TEXT, body BLOB, priority INT, code TEXT, enqueued INT,
    due INT, standing TEXT, place INT DEFAULT 0, until INT, hold TEXT, token TEXT DEFAULT '', settled TEXT,
    retries INT DEFAULT 0, repeats INT DEFAULT 0, parks INT DEFAULT 0, crashes INT DEFAULT 0, forgiven INT DEFAULT 0,
    verdict TEXT, flagged INT DEFAULT 0, reason TEXT, died INT, UNIQUE (uuid, queue));
CREATE INDEX messages_place ON messages (queue, standing, priority DESC, place);
CREATE INDEX messages_until ON messages (queue, until, place) WHERE until IS NOT NULL;
CREATE INDEX messages_token ON messages (queue, token) WHERE token <> '';
CREATE INDEX messages_hold ON messages (queue, hold, place) WHERE hold <> '';
CREATE INDEX messages_code ON messages (queue, code, uuid) WHERE code <> '';
CREATE TABLE leases (queue TEXT, token TEXT, number INT, deadline INT, spared INT DEFAULT 0, PRIMARY KEY (queue, token));
CREATE INDEX leases_deadline ON leases (queue, deadline, number);
CREATE TABLE calls (queue TEXT, worker TEXT, number INT, token TEXT, made INT, PRIMARY KEY (queue, worker));
CREATE TABLE schedules (code TEXT PRIMARY KEY, record BLOB, due INT);
CREATE INDEX schedules_due ON schedules (due, code) WHERE due IS NOT NULL;
CREATE TABLE removals (code TEXT PRIMARY KEY, at INT, version INT);
CREATE INDEX removals_at ON removals (at);
CREATE TABLE states (uuid TEXT PRIMARY KEY, record BLOB, ended INT, expires INT);
CREATE INDEX states_ended ON states (ended) WHERE ended IS NOT NULL AND expires IS NULL;
CREATE INDEX states_expires ON states (expires) WHERE expires IS NOT NULL;
CREATE TABLE ends (number INTEGER PRIMARY KEY, uuid TEXT);
CREATE TABLE plans (root TEXT PRIMARY KEY, created INT, committed INT DEFAULT 0, expires INT);
CREATE TABLE nodes (uuid TEXT PRIMARY KEY, root TEXT, node TEXT, created INT, status TEXT, done INT DEFAULT 0,
    canceled INT DEFAULT 0, reason TEXT DEFAULT '', ended_by INT);
CREATE INDEX nodes_root ON nodes (root);
CREATE TABLE counted (node TEXT, member INT, PRIMARY KEY (node, member)) WITHOUT ROWID;
CREATE TABLE steps (node TEXT, number INT, step TEXT, PRIMARY KEY (node, number));
CREATE TABLE tasks (node TEXT, every INT, number INT, uuid TEXT, PRIMARY KEY (node, every, number)) WITHOUT ROWID;
CREATE TABLE locks (name TEXT PRIMARY KEY, owner TEXT, fence INT, expires INT)
"""


def us(instant: dt.datetime) -> int:
    """Microseconds since 1970."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(us: int) -> dt.datetime:
    """The instant that so many microseconds since 1970 are."""
    return _EPOCH + us * _MICROSECOND


def later(now: dt.datetime, duration: dt.timedelta) -> int:
    """So long after `now`, as it is stored."""
    return us(rules.after(now, duration))


class Database:
    """One connection to the file, opened when it is first used; for all threads of a process, one at a time.

    Args:
        path: of the file.
        namespace: whose file it is.
    """

    def __init__(self, path: Path, namespace: str) -> None:
        self._path = path
        self._namespace = namespace
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def another(self) -> Database:
        """A further connection to the same file: `version` tells what others have written, and not what it has."""
        return Database(self._path, self._namespace)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else writes in: all of it or nothing."""
        with self._transaction("BEGIN IMMEDIATE") as sql:
            yield sql

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state of the file, and stops no writer."""
        with self._transaction("BEGIN") as sql:
            yield sql

    def version(self) -> int:
        """A number that changes with each write of another connection. Costs microseconds."""
        with self.reading() as sql:
            return int(sql.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Give the connection up. The next transaction opens a new one."""
        with self._lock:
            self._drop()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                sql = self._begun(begin)
                try:
                    yield sql
                    sql.execute("COMMIT")
                finally:
                    if sql.in_transaction:
                        sql.execute("ROLLBACK")
            except sqlite3.Error as fault:
                self._drop()
                if getattr(fault, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
                    raise ConfigError(f"{self._path} is no SQLite database: name another file") from None
                raise BrokerUnavailable(
                    f"{self._path} cannot be used: {fault}. Is there room on the disk, and may this user write there?"
                ) from fault

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
            if self._application(sql) != _APPLICATION:
                self._make(sql)
            sql.execute("PRAGMA synchronous = NORMAL")
            (namespace,) = sql.execute("SELECT name FROM namespace").fetchone()
            if namespace != self._namespace:
                raise ConfigError(
                    f"{self._path} belongs to the namespace {namespace!r}: name another file for {self._namespace!r}"
                )
        except BaseException:
            sql.close()
            raise
        return sql

    def _application(self, sql: sqlite3.Connection) -> int:
        look = "SELECT application_id, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id"
        application, tables = sql.execute(look).fetchone()
        if application != _APPLICATION and tables:
            raise ConfigError(f"{self._path} is the database of another program: name another file")
        return int(application)

    def _make(self, sql: sqlite3.Connection) -> None:
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("BEGIN IMMEDIATE")
        if self._application(sql) != _APPLICATION:  # nobody else was faster
            for statement in _SCHEMA.split(";"):
                sql.execute(statement)
            sql.execute("INSERT INTO namespace VALUES (?)", (self._namespace,))
            sql.execute(f"PRAGMA application_id = {_APPLICATION}")
        sql.execute("COMMIT")

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
