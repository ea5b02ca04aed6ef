"""Plans of running workflows: a row for each node, and for each step and task that it will need."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Sequence
from typing import Final

import attrs

from vecna import Signature
from vecna.ports import Clock, Following, Node, NodeState, NodeStatus, Plan, Plans, Report, Reported, Step, rules
from vecna_sqlite.database import Database, instant, later, us

_WHAT: Final = "group or chain id"
#: How many ends are kept for those who listen; who lags further behind looks by itself.
_ENDS: Final = 100_000
_NODE: Final = """
    SELECT nodes.*, committed FROM nodes JOIN plans USING (root) WHERE uuid = ? AND (expires IS NULL OR expires > ?)
"""


class SqlitePlans(Plans):
    """The part of `SqliteBackend` that keeps plans."""

    _database: Database
    _clock: Clock

    def store_plan(self, plan: Plan) -> None:
        rules.check_ids([node.uuid for node in plan.nodes], _WHAT)
        now = us(self._clock.now())
        steps = [(step.node, step.index, _written(step)) for step in plan.steps]
        tasks = [(group, False, number, uuid) for group, uuids in plan.results for number, uuid in enumerate(uuids)]
        every = [*[signature.uuid for signature in plan.first], *[uuid for uuid, _ in plan.later]]
        tasks += [(plan.root, True, number, uuid) for number, uuid in enumerate(every)]
        with self._database.writing() as sql:
            _expire(sql, now)
            if sql.execute("SELECT 1 FROM plans WHERE root = ? AND expires IS NOT NULL", (plan.root,)).fetchone():
                return  # it is over: a sender that comes so late adds nothing
            sql.execute("INSERT OR IGNORE INTO plans (root, created) VALUES (?, ?)", (plan.root, now))
            for node in plan.nodes:
                row = (node.uuid, plan.root, json.dumps(attrs.astuple(node)), now, NodeStatus.OPEN)
                sql.execute("INSERT OR IGNORE INTO nodes (uuid, root, node, created, status) VALUES (?, ?, ?, ?, ?)", row)
            sql.executemany("INSERT OR IGNORE INTO steps VALUES (?, ?, ?)", steps)
            sql.executemany("INSERT OR IGNORE INTO tasks VALUES (?, ?, ?, ?)", tasks)

    def commit_plan(self, root: str) -> bool:
        rules.check_ids([root], _WHAT)
        with self._database.writing() as sql:
            state, _ = self._state(sql, root)
            if state is None or (state.status is NodeStatus.FAILED and not state.committed):
                return False
            return sql.execute("UPDATE plans SET committed = 1 WHERE root = ?", (root,)).rowcount > 0

    def uncommitted(self, age: dt.timedelta, limit: int) -> list[str]:
        found = "SELECT root FROM plans WHERE created <= ? AND NOT committed AND expires IS NULL ORDER BY created, rowid"
        with self._database.reading() as sql:
            return [root for (root,) in sql.execute(found, (later(self._clock.now(), -age),))][: max(0, limit)]

    def get_nodes(self, uuids: Sequence[str]) -> list[NodeState | None]:
        rules.check_ids(uuids, _WHAT)
        with self._database.reading() as sql:
            return [self._state(sql, uuid)[0] for uuid in uuids]

    def report(self, reports: Sequence[Report]) -> list[Reported]:
        rules.check_ids([report.node for report in reports], _WHAT)
        with self._database.writing() as sql:
            return [self._report(sql, report) for report in reports]

    def _report(self, sql: sqlite3.Connection, report: Report) -> Reported:
        state, ended_by = self._state(sql, report.node)
        if state is None:
            return Reported(Following.CLOSED, None)
        member = (report.node, report.index)
        counted = sql.execute("SELECT 1 FROM counted WHERE node = ? AND member = ?", member).fetchone() is not None
        following, now, ended_by = rules.reported(state, report, counted=counted, ended_by=ended_by)
        if now is not state:
            if now.done > state.done and not now.node.is_chain:
                sql.execute("INSERT INTO counted VALUES (?, ?)", member)
            reason = now.reason.encode(errors="replace").decode()
            values = (now.status, now.done, now.canceled, reason, ended_by, report.node)
            change = "UPDATE nodes SET status = ?, done = ?, canceled = ?, reason = ?, ended_by = ? WHERE uuid = ?"
            sql.execute(change, values)
            if now.status is not state.status:
                self._tell(sql, report.node)
        return Reported(following, state.node)

    def get_step(self, node: str, index: int) -> Step | None:
        rules.check_ids([node], _WHAT)
        with self._database.reading() as sql:
            row = sql.execute("SELECT step FROM steps WHERE node = ? AND number = ?", (node, index)).fetchone()
            if row is None or self._state(sql, node)[0] is None:
                return None
        first, leaves, takes = json.loads(row["step"])
        calls = tuple([Signature.from_json(call) for call in first])
        return Step(node, index, calls, tuple([(uuid, name) for uuid, name in leaves]), takes)

    def get_tasks(self, node: str, *, every: bool, offset: int, limit: int) -> list[str]:
        rules.check_ids([node], _WHAT)
        page = "SELECT uuid FROM tasks WHERE node = ? AND every = ? AND number >= ? ORDER BY number LIMIT ?"
        with self._database.reading() as sql:
            found = sql.execute(page, (node, every, max(0, offset), max(0, limit))).fetchall()
            return [uuid for (uuid,) in found] if self._state(sql, node)[0] is not None else []

    def release_plan(self, root: str, keep: dt.timedelta) -> None:
        rules.check_ids([root], _WHAT)
        now = self._clock.now()
        with self._database.writing() as sql:
            start = "UPDATE plans SET expires = ? WHERE root = ? AND expires IS NULL"
            sql.execute(start, (later(now, keep), root))
            _expire(sql, us(now))

    def _state(self, sql: sqlite3.Connection, uuid: str) -> tuple[NodeState | None, int | None]:
        """What is known of a node, and who has ended it."""
        row = sql.execute(_NODE, (uuid, us(self._clock.now()))).fetchone()
        if row is None:
            return None, None
        how_far = (NodeStatus(row["status"]), row["done"], bool(row["committed"]), instant(row["created"]))
        state = NodeState(Node(*json.loads(row["node"])), *how_far, bool(row["canceled"]), row["reason"])
        return state, row["ended_by"]

    def _tell(self, sql: sqlite3.Connection, uuid: str) -> None:
        """Tell those who listen that a task, group or chain has ended."""
        number = sql.execute("INSERT INTO ends (uuid) VALUES (?)", (uuid,)).lastrowid or 0
        sql.execute("DELETE FROM ends WHERE number <= ?", (number - _ENDS,))


def _expire(sql: sqlite3.Connection, now: int) -> None:
    """Drop the plans that have had their time."""
    for (root,) in sql.execute("SELECT root FROM plans WHERE expires <= ?", (now,)).fetchall():
        for table in ("counted", "steps", "tasks"):
            sql.execute(f"DELETE FROM {table} WHERE node IN (SELECT uuid FROM nodes WHERE root = ?)", (root,))
        sql.execute("DELETE FROM nodes WHERE root = ?", (root,))
        sql.execute("DELETE FROM plans WHERE root = ?", (root,))


def _written(step: Step) -> str:
    return json.dumps([[call.to_json().decode() for call in step.first], step.leaves, step.takes])
