"""Breaks of the adapters for memory and SQLite, and of the rules that they share. The contract suites alone notice."""

from tests.mutants.mutant import Target, of

_QUEUE = "vecna/adapters/memory/queue.py"
_SQLITE = "examples/sqlite_adapter/vecna_sqlite"

MEMORY = Target(
    "memory",
    ("tests/contract/test_memory.py",),
    (
        *of(
            _QUEUE,
            ("an id that is here is accepted again", "if message.uuid in self.messages:", "if False:"),
            ("delayed messages are pending at once", "if due is None or due <= now:", "if True:"),
            (
                "a due moment counts as reached only after it",
                "for uuid in self.delayed.take_due(now):",
                "for uuid in self.delayed.take_due(now - dt.timedelta(seconds=1)):",
            ),
            (
                "the lowest priority goes first",
                "[self.ending, *reversed(self.pending)]",
                "[self.ending, *self.pending]",
            ),
            ("the newest goes first", "yield line.popitem(last=False)[1]", "yield line.popitem(last=True)[1]"),
            ("a repeated lease call takes more", "if newest is not None and call <= newest.number:", "if False:"),
            (
                "a late lease call gets what the newest has",
                "self.leases.get(newest.token) if call == newest.number else None",
                "self.leases.get(newest.token)",
            ),
            ("leases never run out", "for token in reversed(list(self.deadlines.take_due(now))):", "for token in ():"),
            ("crashes are not counted", "held.crashes += 1", "held.crashes += 0"),
            ("the crash limit is one too high", "held.crashes >= max_deliveries", "held.crashes > max_deliveries"),
            (
                "what ran out goes to the end of its line",
                "self._to_pending(held, head=True)",
                "self._to_pending(held)",
            ),
            (
                "an extension may shorten",
                "max(self.deadlines[token], after(now, duration))",
                "after(now, duration)",
            ),
            ("an extension does not tell of a cancel", "if held.flagged]))", "if False]))"),
            (
                "the token stays after the lease",
                'held.token = ""\n        held.settled',
                "held.settled",
            ),
            (
                "a cancelled message stays in its line",
                "del self.pending[held.message.priority][uuid]",
                "self.pending[held.message.priority].get(uuid)",
            ),
            ("a cancel does not flag what is leased", "held.flagged = True\n", "held.flagged = False\n"),
            ("attempts are not kept with a retry", "held.attempts = settlement.attempts", "pass"),
            ("held messages start at once", "        if hold:\n", "        if False:\n"),
            ("an outage costs leases", "if last is None or now - last <= self._duration / 2:", "if True:"),
            ("a lease is spared for ever", "lease.spared = True", "lease.spared = False"),
            ("what is left behind wakes nobody", "self._news = pending or bool(self.ending)", "self._news = False"),
        ),
        *of(
            "vecna/adapters/memory/broker.py",
            ("a retry has its follow-ups sent", "if settlement.settle in _ENDS:", "if True:"),
            ("follow-ups are sent by a refused settlement", "if answer is Answer.OK:\n", "if True:\n"),
            ("relay loses one", "outbox.popleft() for _ in range(min(limit, len(outbox)))", "outbox.popleft()"),
        ),
        *of(
            "vecna/adapters/memory/backend.py",
            (
                "a later end replaces the first",
                "if recorded is not None and not recorded.gives_way_to(state):",
                "if False:",
            ),
            (
                "who awaits an end is not told",
                "                listener.hear(uuid)\n        return state",
                "                pass\n        return state",
            ),
            (
                "a second release starts the expiry anew",
                "if self.ended_at.pop(uuid, None) is None:\n            return\n",
                "self.ended_at.pop(uuid, None)\n",
            ),
        ),
        *of(
            "vecna/adapters/memory/plans.py",
            ("members are counted by number, not by identity", "self.counted.add(report.index)", "pass"),
            (
                "a failed workflow can be committed",
                "if kept is None or (kept.state.status is NodeStatus.FAILED and not kept.state.committed):",
                "if kept is None:",
            ),
            ("a plan that is over is stored again", "if plan.root in plans.expiry:", "if False:"),
        ),
        *of(
            "vecna/adapters/memory/schedule_store.py",
            (
                "removals are forgotten",
                "self.removed[code] = (now, version if stands is None else stands.version)",
                "self.removed[code] = (now - _MEMORY_OF_REMOVALS, 0)",
            ),
            ("a paused schedule is due", "        if record.paused:\n", "        if False:\n"),
        ),
        *of(
            "vecna/adapters/memory/schedules.py",
            ("what was fired is lost", "kept.outbox.extend((message, now) for message in call.messages)", "pass"),
        ),
        *of(
            "vecna/adapters/memory/lock.py",
            ("the owner is not asked for", "elif grant.owner != owner:", "elif False:"),
            ("a lock never runs out", "for name in self.expiry.take_due(now):", "for name in ():"),
        ),
    ),
)

RULES = Target(
    "rules",
    ("tests/contract/test_memory.py", "tests/contract/test_sqlite.py"),
    of(
        "vecna/kit/rules.py",
        (
            "an old token may settle",
            "if not settlement.token or token != settlement.token:",
            "if not settlement.token or not token:",
        ),
        (
            "a repeated settlement is told that it lost",
            "return Answer.ALREADY if settled == (settlement.token, settlement.settle) else Answer.LOST",
            "return Answer.LOST",
        ),
        ("a flagged message may cause others", "if flagged and settlement.follow_ups:", "if False:"),
        ("a cancelled retry runs again", "if verdict is None and flagged:", "if False:"),
        (
            "a message that is forgiven is forgiven again",
            "return spared and not forgiven and not crashes",
            "return spared",
        ),
        ("a counted member counts again", "if not counted and index < node.size:", "if index < node.size:"),
        (
            "every failure is the first",
            "is_mine = not report.succeeded and state.ended_by == index",
            "is_mine = not report.succeeded",
        ),
        (
            "every member closes its group",
            "return Following.COMPLETE if state.ended_by == index else Following.CLOSED, state",
            "return Following.COMPLETE, state",
        ),
        (
            "an occurrence is fired whatever stands",
            "if record is None or (record.version, record.next_fire_at) != (call.version, call.due):",
            "if record is None:",
        ),
        (
            "a stale firing is not refused",
            "if call.following is not None and call.following <= now and not call.may_be_past:",
            "if False:",
        ),
        (
            "a registration revives what was removed",
            "if began_at is not None and removed_at is not None and removed_at >= began_at:",
            "if False:",
        ),
        ("versions begin anew after a removal", "version=max(record.version, version + 1)", "version=record.version"),
        (
            "what a silent worker may run is said to be canceled",
            "return Canceling.RUNNING if crashes or forgiven else Canceling.CANCELED",
            "return Canceling.CANCELED",
        ),
        ("the sooner of due and delay counts", "max(message.due, counted)", "min(message.due, counted)"),
    ),
)

SQLITE = Target(
    "sqlite",
    ("tests/contract/test_sqlite.py", "tests/unit/kit"),
    (
        *of(
            f"{_SQLITE}/queue.py",
            ("an id that is here is accepted again", "self.get(message.uuid) is None", "True"),
            ("the lowest priority goes first", 'ORDER BY priority DESC, place"', 'ORDER BY priority, place"'),
            ("a repeated lease call takes more", 'if last is not None and call <= last["number"]:', "if False:"),
            (
                "leases run out early",
                "WHERE queue = ? AND deadline <= ? ORDER BY deadline DESC",
                "WHERE queue = ? AND deadline <= ? + 20000000 ORDER BY deadline DESC",
            ),
            (
                "what ran out goes to the end of its line",
                "self.put(kept, head=True)\n        self.drop_empty_leases()",
                "self.put(kept)\n        self.drop_empty_leases()",
            ),
            ("an outage costs leases", "if last and self.touched - last > self.duration / 2:", "if False:"),
            ("leases share a number", "self.leases += 1", "self.leases += 0"),
            ("nobody is woken", "if self.news:", "if False:"),
            ("verdicts are not given alone", "if not verdicts_only:", "if True:"),
        ),
        *of(
            f"{_SQLITE}/broker.py",
            ("an extension may shorten", "deadline = max(deadline, ?)", "deadline = ?"),
            ("an extension keeps what an outage spared", "max(deadline, ?), spared = 0", "max(deadline, ?)"),
            (
                "a forfeited lease goes on",
                "            at.end_leases(max_deliveries)\n\n    def settle",
                "\n    def settle",
            ),
            (
                "delayed messages are leased a second early",
                'at.find("until <= ? ORDER',
                'at.find("until <= ? + 1000000 ORDER',
            ),
            (
                "follow-ups are lost",
                "step[message.queue].accept(message)\n            for kept in reversed(back)",
                "pass\n            for kept in reversed(back)",
            ),
            ("what is given back stands in reverse", "for kept in reversed(back):", "for kept in back:"),
            ("a cancel does not flag what is leased", "SET flagged = 1", "SET flagged = 0"),
            ("a cancel by code stops at its first page", 'page[-1].uuid if len(page) == _PAGE else ""', '""'),
            (
                "a hold is let go as a whole",
                'ORDER BY place LIMIT ?", hold, max(0, limit)',
                'ORDER BY place LIMIT ?", hold, 10**6',
            ),
            (
                "a step is not saved",
                "            yield step\n            step.save()\n\n    def enqueue_inside",
                "            yield step\n\n    def enqueue_inside",
            ),
        ),
        *of(
            "vecna/kit/kept.py",
            (
                "the token stays after a lease ran out",
                'self.token, self.hold, self.until = "", "", None',
                'self.hold, self.until = "", None',
            ),
            ("crashes are not counted", "self.crashes += 1", "self.crashes += 0"),
            ("attempts are not kept with a retry", "self.attempts = settlement.attempts", "pass"),
            (
                "a settlement is not remembered",
                "self.settled = (settlement.token, settlement.settle)",
                "self.settled = None",
            ),
            ("what is dead can be cancelled", "if self.standing is Standing.DEAD:", "if False:"),
        ),
        *of(
            "vecna/kit/backends.py",
            (
                "a later end replaces the first",
                "if recorded is not None and not recorded.gives_way_to(state):",
                "if False:",
            ),
            ("who awaits an end is not told", "        tell(documents, state.task_uuid)", "        pass"),
            (
                "a second release starts the expiry anew",
                'if documents.drop("unreleased", uuid) and record is not None:',
                "if record is not None:",
            ),
        ),
        *of(
            "vecna/kit/plans.py",
            ("members are not counted", 'documents.put("counted", member)', "pass"),
            ("a plan that is over is stored again", "if known is not None and known.at is not None:", "if False:"),
        ),
        *of(
            "vecna/kit/schedules.py",
            (
                "schedules that cannot be read stand before others",
                "        most = count + 2 * (len(found) - len(readable))\n",
                "        return readable\n",
            ),
            (
                "a version of what cannot be read may come again",
                "            least = microseconds(self._clock.now())",
                "            least = 0",
            ),
            (
                "one that cannot be read keeps all from being fired",
                "record, _ = self._stands(documents, call.code)",
                "record = _read(documents, call.code)",
            ),
        ),
        *of(
            "vecna/kit/locks.py",
            ("a fence does not grow", "int(fence) + (not is_held)", "1"),
            (
                "a lock never runs out",
                "is_held = last is not None and (last.at or 0) > microseconds(now)",
                "is_held = last is not None",
            ),
        ),
    ),
)
