"""Breaks of the engine, and of the scripts of the Redis adapter. The whole suite has to notice."""

from tests.mutants.mutant import Target, of

_LUA = "vecna/adapters/redis/lua"
_APP = "vecna/app"

ENGINE = Target(
    "engine",
    ("tests/unit/app", "tests/unit/testing", "tests/simulation", "-m", "not slow"),
    (
        *of(
            f"{_APP}/delivery.py",
            (
                "a lease call that got no answer is not repeated",
                "if call is None or call.answered or not call.count:",
                "if True:",
            ),
            (
                "an extension's news is thrown away when something is finished",
                "            self._told += told\n",
                "            pass\n",
            ),
            (
                "a batch that was not admitted goes back in part",
                "            item.outcome = item.exception = item.decision = None\n",
                "            pass\n",
            ),
            (
                "what is settled already counts as lost",
                "if item.hold.lost and item.recorded is None:",
                "if item.hold.lost:",
            ),
            ("a lease is trusted to its very end", "config.lease * (1 - _MARGIN))", "config.lease * 10)"),
            (
                "what lost its lease is recorded all the same",
                "item.answer, item.over = Answer.LOST, True",
                "pass",
            ),
        ),
        *of(
            f"{_APP}/delivery_admit.py",
            (
                "a recorded end does not keep from running",
                "if state is not None and state.is_completed:",
                "if False:",
            ),
            ("a cancelled message runs", "if item.canceled:\n", "if False:\n"),
            ("a dead message runs", "elif verdict is Verdict.DEAD:", "elif False:"),
            ("an expired message runs", "_is_expired(item.signature, item.delivery.enqueued_at, now):", "False:"),
            (
                "results that cannot be read hold up the others for ever",
                "if self._broken_off < _TRIES - 1:",
                "if True:",
            ),
            ("the park limit is forgotten", "attempts.parks >= limit", "False"),
        ),
        *of(
            f"{_APP}/passing.py",
            (
                "an admission that is repeated passes results once more",
                ', position=attrs.evolve(position, takes=""))',
                ")",
            ),
        ),
        *of(
            f"{_APP}/delivery_release.py",
            ("what cannot be released holds up the others", "if self._tried < _TRIES:", "if True:"),
            ("what cannot be released is never given up", "self._tried += 1", "self._tried = 1"),
        ),
        *of(
            f"{_APP}/delivery_run.py",
            (
                "the trust limit does not keep from starting",
                "if item.hold.lost or now >= item.hold.trusted_until:",
                "if False:",
            ),
            (
                "a cancel after the lease does not keep from starting",
                "if item.canceled:  # since its lease",
                "if False:",
            ),
            ("what was handed back starts", "if item.decision is not None:  # it was handed back", "if False:  # it"),
            (
                "what goes wrong around a call leaves no outcome",
                "is_first = self._end(item, failed(exc), exc)",
                "is_first = False",
            ),
            ("any delay is taken for one", "if isinstance(delay, dt.timedelta):", "if True:"),
        ),
        *of(
            f"{_APP}/tracing.py",
            (
                "broken tracing loses the result",
                "                if exc is not passing:\n                    _complain(exc)",
                "                raise",
            ),
        ),
        *of(
            f"{_APP}/waiting.py",
            ("what could not be unwatched is forgotten", "self._gone |= gone", "pass"),
        ),
        *of(
            f"{_APP}/worker/loop.py",
            (
                "a coroutine that is cancelled before it begins is forgotten",
                "            self._loop.call_soon(self._check_begun, items)",
                "            pass",
            ),
        ),
        *of(
            f"{_APP}/worker/intake.py",
            (
                "what an unanswered call has got is not taken",
                "if batch is not None and batch.items and not self._admit(batch):",
                "if False:",
            ),
            (
                "a batch that passing on has brought is forgotten for the next",
                "if is_full or self._unadmitted is not None:",
                "if is_full:",
            ),
            (
                "nobody tells the flusher what came due during a round",
                "        elif note is not None:  # it",
                "        elif False:  # it",
            ),
        ),
        *of(
            f"{_APP}/worker/doorbell.py",
            (
                "a full worker still asks for work at its other queues",
                "                self._leaving = True\n",
                "                self._leaving = False\n",
            ),
            (
                "what has come before it left is kept",
                "return self._lingering is not None and self._lingering.leave()",
                "return self._lingering is not None and self._lingering.leave() and False",
            ),
        ),
        *of(
            f"{_APP}/worker/slots.py",
            (
                "what comes to a worker that stops is started",
                "            if self._closed:\n",
                "            if False:\n",
            ),
            (
                "coroutines that there is no thread for are lost",
                "            self._coroutines.extendleft(reversed(items))",
                "            pass",
            ),
            ("what cannot be started keeps its slots", "        self._awaiting -= len(items)\n", ""),
        ),
        *of(
            f"{_APP}/delivery_finish.py",
            (
                "settled before it is recorded",
                "        self._record(items, notes)\n        away, workflows = self._settle(items)\n",
                "        away, workflows = self._settle(items)\n        self._record(items, notes)\n",
            ),
            (
                "a workflow that cannot be reported to holds up the others",
                "            away = exc\n        caused",
                "            raise\n        caused",
            ),
            (
                "ends behind those that cannot be reported stay behind them",
                "return caused, {**untried, **failed}",
                "return caused, {**failed, **untried}",
            ),
            ("nothing is released", "        self._releases.carry_out()\n        if away or", "        if away or"),
            (
                "what follows in other queues is not carried over",
                "        away.update(self._relay())\n",
                "",
            ),
            (
                "a queue that cannot be settled keeps others from being settled",
                "                    away[queue] = exc\n                    continue\n",
                "                    raise\n",
            ),
            ("a flagged settlement is dropped", "remaining.append(item)\n", "pass\n"),
            (
                "the result of a member is released before its group ends",
                "if not caused.goes_on and not caused.failed_roots:",
                "if True:",
            ),
        ),
        *of(
            "vecna/domain/decide.py",
            (
                "one retry too many",
                "attempts.retries >= signature.retry_count",
                "attempts.retries > signature.retry_count",
            ),
            (
                "a cancelled task is retried",
                "            if canceled:\n                return End(State.CANCELED, error=f",
                "            if False:\n                return End(State.CANCELED, error=f",
            ),
            (
                "RetryTaskLater uses up a retry",
                "again = attrs.evolve(attempts, repeats=attempts.repeats + 1)",
                "again = attrs.evolve(attempts, retries=attempts.retries + 1, repeats=attempts.repeats + 1)",
            ),
            ("an immutable task passes its results on", "passed = () if signature.immutable else", "passed ="),
        ),
        *of(
            "vecna/domain/state.py",
            (
                "an end may be replaced by another",
                "        if self.state.is_final:\n            return False\n        if other",
                "        if other",
            ),
            ("an old lease may write", ">= (token_number(self.token), self.state.rank)", ">= (0, 0)"),
        ),
        *of(
            f"{_APP}/conclusion.py",
            (
                "a failed link does not end the later ones",
                "            if node.is_chain:\n                _end_later_steps(backend, walk, node, now)\n",
                "            pass\n",
            ),
            (
                "the next link gets no results",
                "    if not step.takes and not ended.signature.immutable:",
                "    if False:",
            ),
            (
                "a cancelled link is followed by the next",
                "        case Following.ADVANCE:\n            if walk.ended.childless:",
                "        case Following.ADVANCE:\n            if False:",
            ),
        ),
        *of(
            f"{_APP}/worker/scheduling.py",
            (
                "schedules are not looked for after a ring",
                "            end = min(end, max(begin + least, clock.monotonic() + _AFTER))\n",
                "            pass\n",
            ),
            ("schedules are looked for whenever it rings", "max(begin + least, clock.monotonic() + _AFTER)", "begin"),
            ("after a fault all are late", "due_at = self._firer.due_at", "due_at = None"),
            ("who hears nothing trusts in rings", "        if not self._listening:\n", "        if False:\n"),
            (
                "a ring that may be lost is looked for once",
                "        self._listening = False\n        if not",
                "        if not",
            ),
        ),
        *of(
            f"{_APP}/schedule_book.py",
            ("nobody is told of a schedule", "            broker.ring(message.queue)\n", "            pass\n"),
            ("a trigger that is tried again is another", "            if not again:\n", "            if True:\n"),
            ("a trigger that is over is made again", "(again and self._is_known(message.uuid)) or ", ""),
            ("a removal whose reply got lost was none", "remove_schedule(code) or again", "remove_schedule(code)"),
            (
                "each attempt to store a schedule begins anew",
                "        if self._began_at is None:\n",
                "        if True:\n",
            ),
        ),
        *of(
            f"{_APP}/firing.py",
            (
                "what a broker says is waiting is left",
                "found.waiting if found.waiting is not None else",
                "False if found.waiting is not None else",
            ),
            (
                "what was fired is not carried over",
                "            left = self._broker.relay_schedules()\n",
                "            left = 0\n",
            ),
            (
                "an occurrence that is not over does not hold up the next",
                "            if record.overlap or is_free:",
                "            if True:",
            ),
            (
                "the callbacks of an occurrence are unknown until it has run",
                "        if self._owed:\n",
                "        if False:\n",
            ),
            (
                "what a lost reply has fired has no records",
                "        self._owe(shots)  # it may",
                "        # it may",
            ),
            (
                "what cannot be decided stops all others",
                "        if len(free) < len(records):\n            with self._bearing():",
                "        if len(free) < len(records):\n            with contextlib.nullcontext():",
            ),
            (
                "those that wait take the place of others",
                "due_schedules(_MOST + self._undecided)",
                "due_schedules(_MOST)",
            ),
        ),
        *of(
            f"{_APP}/faults.py",
            (
                "what one part cannot do keeps all others from it",
                "            fault = fault or exc\n",
                "            raise\n",
            ),
            ("what a part could not do is told nobody", "    if fault is not None:\n", "    if False:\n"),
        ),
        *of(
            f"{_APP}/worker/sweeper.py",
            (
                "what a sweep could not settle is told as over",
                "[item for item in ended if item.over]",
                "ended",
            ),
            (
                "what a sweep has ended before it failed is told nobody",
                "            finally:\n                self._over(",
                "            except IndexError:\n                raise\n            else:\n                self._over(",
            ),
        ),
        *of(
            f"{_APP}/sweeping.py",
            ("the results of running workflows are released", "if not is_open(state)]", "if True]"),
            ("what a dead sender has left is let go of", "canceled=not sent", "canceled=False"),
        ),
        *of(
            f"{_APP}/cancelling.py",
            ("what is not yet enqueued is not cancelled", "found.update(self._cancel_later(later, queues))", "pass"),
            ("a cancel looks only once", "_LOOKS: Final = 2", "_LOOKS: Final = 0"),
        ),
    ),
)

LUA = Target(
    "lua",
    ("tests/contract/test_redis.py", "tests/faults/redis"),
    (
        *of(
            f"{_LUA}/put_states.lua",
            ("a later end replaces the first", "(sub(old, 1, 1) == '1' or", "(false or"),
            ("an old lease may write", "sub(record, 3, 18) < sub(old, 3, 18)", "false"),
            ("nobody is told of an end", "call('PUBLISH', ARGV[2] .. id, '')", "local _ = id"),
            ("an end is not noted as unreleased", "call('ZADD', index, score, id)", "local _ = index"),
            ("what goes on still waits for its parent", "if waits or sub(old, 1, 1) == '2' then", "if waits then"),
        ),
        *of(
            f"{_LUA}/purge.lua",
            ("delayed messages are not purged", "for n = 1, #delayed, 2 do", "for n = 1, 0 do"),
            ("what is purged is run", "doom(ids, 'purged')", "local _ = ids"),
            ("held messages wait on", "push('HDEL', Q .. ':staged', held)", "local _ = held"),
        ),
        *of(
            f"{_LUA}/drop_dead.lua",
            ("a dead letter stays in the list", "call('LREM', Q .. ':dead', 1, id)", "local _ = id"),
        ),
        *of(
            f"{_LUA}/note_worker.lua",
            ("workers that are gone are kept", "if #gone > 0 then", "if false then"),
        ),
        *of(
            f"{_LUA}/release.lua",
            ("a second release starts the expiry anew", "and tonumber(string.sub(head, 20, 33)) == 0 then", "then"),
        ),
        *of(
            f"{_LUA}/settle.lua",
            (
                "any token may settle",
                "if owner ~= token or token == '' or settled[id] then",
                "if token == '' or settled[id] then",
            ),
            (
                "a flagged message may cause others",
                "call('SISMEMBER', Q .. ':flagged', id) == 1 then\n        answers[n] = 'f'",
                "false then\n        answers[n] = 'f'",
            ),
            ("an id may be settled twice in one call", " or settled[id] then", " then"),
            (
                "attempts are not kept with a retry",
                "    note(id, counts, kind, token)\n    if verdict then",
                "    note(id, nil, kind, token)\n    if verdict then",
            ),
            ("dead letters are not listed", "call('RPUSH', Q .. ':dead', id)", "local _ = id"),
        ),
        *of(
            f"{_LUA}/lease.lua",
            ("a repeated lease call takes more", "if number > newest then", "if number >= newest then"),
            ("the highest priority goes last", "return one > other end)", "return one < other end)"),
            (
                "a lease has no deadline",
                "call('ZADD', Q .. ':leases', digits(now + ARGV[5]), token)",
                "local _ = token",
            ),
            (
                "what is left behind wakes nobody",
                "if left > 0 then\n    signal()\n",
                "if false then\n    signal()\n",
            ),
            ("who takes nothing takes a wake-up", "elseif count > 0 and ARGV[7] ~= '1' then", "else"),
            ("the next moment is not told", "next_due = math.floor(tonumber(first))", "next_due = false"),
        ),
        *of(
            f"{_LUA}/place.lua",
            (
                "an id that is here is accepted again",
                "if call('HSETNX', body_key(id), id, head .. shortened(id, body)) == 0 then",
                "if call('HSET', body_key(id), id, head .. shortened(id, body)) < 0 then",
            ),
            ("a delayed message is pending at once", "if due == nil or due <= now then", "if true then"),
            ("two waiters are woken for one message", "if call('LLEN', Q .. ':wake') == 0 then", "if true then"),
        ),
        *of(
            f"{_LUA}/bucket.lua",
            (
                "a body that begins with a comma is taken for a shortened one",
                "return byte(body) == 44 and ',' .. body or body",
                "return body",
            ),
        ),
        *of(
            f"{_LUA}/extend.lua",
            ("an extension may shorten", "'GT', deadline", "deadline"),
            ("a dead lease is extended", "if call('ZSCORE', Q .. ':leases', token) then", "if true then"),
            ("an extension does not tell of a cancel", "answer[#answer + 1] = id", "answer = answer"),
        ),
        *of(
            f"{_LUA}/forfeit.lua",
            ("a forfeited lease goes on", "    reclaim(tonumber(ARGV[2]), 1000)\n", ""),
            ("an outage spares what is forfeited", "call('SREM', Q .. ':spared', token)", "local _ = token"),
            ("what is forfeited wakes nobody", "    signal()\n", ""),
        ),
        *of(
            f"{_LUA}/reclaim.lua",
            (
                "crashes are not counted",
                "call('HINCRBY', Q .. ':crashes', id, 1))",
                "call('HINCRBY', Q .. ':crashes', id, 0))",
            ),
            ("the crash limit is one too high", "crashes >= max_deliveries and", "crashes > max_deliveries and"),
            ("a cancel is forgotten with the lease", "verdict = flagged and 'canceled' or", "verdict ="),
        ),
        *of(
            f"{_LUA}/stop.lua",
            ("what a silent worker may run is said to be canceled", "answer == 'c' and crashes[n]", "false"),
            ("what is leased is not flagged", "    push('SADD', Q .. ':flagged', flagged)\n", ""),
            (
                "a cancelled message stays in its line",
                "call('HINCRBY', Q .. ':stale', sub(record, 1, 1) .. id, 1)",
                "local _ = record",
            ),
        ),
        *of(
            f"{_LUA}/accept.lua",
            ("a follow-up arrives twice", "if number > cursor and before <= cursor then", "if before <= cursor then"),
            ("an entry is taken before the one before it", "cursor and before <= cursor then", "cursor then"),
            ("entries of an old epoch arrive", "if epoch < known_epoch then", "if false then"),
        ),
        *of(
            f"{_LUA}/outbox.lua",
            ("numbers of an outbox count on", "math.max(before + 1, micros)", "before + 1"),
        ),
        *of(
            f"{_LUA}/plan_report.lua",
            (
                "a counted member counts again",
                "done = call('BITCOUNT', members)",
                "done = done + 1",
            ),
            ("every member closes its group", "return by == index and 'd' or 'c'", "return 'd'"),
            (
                "every failure is the first",
                "outcome ~= 's' and node[3] == index and 'f' or 'c'",
                "outcome ~= 's' and 'f' or 'c'",
            ),
        ),
        *of(
            f"{_LUA}/schedule_fire.lua",
            (
                "an occurrence is fired whatever stands",
                "version ~= ARGV[at + 1] or next_at ~= ARGV[at + 2] or",
                "not version or",
            ),
            ("a stale firing is not refused", "tonumber(following) <= micros then", "false then"),
        ),
    ),
)
