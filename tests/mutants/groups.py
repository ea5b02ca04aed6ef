"""Breaks of worker groups."""

from tests.mutants.mutant import Target, of

_GROUP = "vecna/app/group"

GROUPS = Target(
    "groups",
    ("tests/unit/app/group", "tests/faults/test_worker_groups.py"),
    (
        *of(
            f"{_GROUP}/keeper.py",
            ("the leases of children are not kept", "if now >= self._beat_at or", "if"),
            ("a crash is not counted", "if not blamed or books.guilty:", "if True:"),
            ("the innocent are counted with the guilty", "if uuid not in books.guilty\n", "if False\n"),
            ("a hard limit ends nothing", "                    child.kill()\n", ""),
            ("who can speak is not asked", "(is_silent and run.until <= now)", "run.until <= now"),
            (
                "what could not be handed over is forgotten",
                "            estates = list(self._estates)\n",
                "            estates, self._estates = self._estates, []\n",
            ),
            ("what has ended still has a limit", "books.ended.update(report.uuids)", "pass"),
            ("what a silent child asked for runs out", "yield partial(self._find, books, queue, call)", "yield list"),
            (
                "what is wrong with one queue keeps all leases from being extended",
                "        try_each(self._calls())",
                "        for call in self._calls():\n            call()",
            ),
            ("what a dead child asked for runs out", "if estate.asked is not None:", "if False:"),
            ("what is over is kept", "books.reported.pop(over, None)", "pass"),
        ),
        *of(
            f"{_GROUP}/supervisor.py",
            ("a dead child is not replaced", "not self._draining and seat.start_at <= now", "not seat.deaths"),
            ("a crash loop spins", "return pause * (0.5 + self._chance.random() / 2)", "return 0.0"),
            (
                "a module that cannot be imported is tried for ever",
                "nobody and (hopeless or self._failed_starts >= MOST_FAILED_STARTS)",
                "False",
            ),
            ("no thread for a child ends the group", "except (OSError, RuntimeError) as", "except OSError as"),
            ("children are not told to stop", "self._order(child, DRAIN)", "pass"),
            ("who does not let go is waited for", "                    child.kill()\n", "                    pass\n"),
            (
                "a forced stop is blamed on the tasks",
                "self._buried(child, not self._aborting)",
                "self._buried(child, True)",
            ),
        ),
        *of(
            f"{_GROUP}/process.py",
            ("a child that nobody watches lives on", "            self.kill()\n            self._process.wait()\n", ""),
        ),
        *of(
            f"{_GROUP}/child.py",
            ("a supervisor that is gone is not missed", "max(self.count, 1)", "max(self.count, 1 if order else 0)"),
            (
                "what tasks start is deaf to signals",
                "signal.signal(number, _nothing)",
                "signal.signal(number, signal.SIG_IGN)",
            ),
            ("a supervisor that was deaf is not told anew", "self._behind = bool(self._unsent)", "pass"),
        ),
        *of(
            "vecna/app/worker/intake.py",
            ("what starts is not reported before", "self._starting(fitting)", "pass"),
        ),
    ),
)
