"""Breaks of what event loops send through."""

from tests.mutants.mutant import Target, of

_REDIS = "vecna/adapters/redis"

LOOPS = Target(
    "loops",
    ("tests/unit/app/test_lanes.py", "tests/unit/app/test_sending_async.py", "tests/faults/redis/test_loops.py"),
    (
        *of(
            "vecna/app/lanes.py",
            (
                "who has left is sent all the same",
                "            if not parcel.answers.done():  # not",
                "            if True:  # not",
            ),
            (
                "all hear of the fault of one",
                "            for parcel in parcels:\n                await self._carry([parcel])",
                "            for parcel in parcels:\n                parcel.fail(exc)",
            ),
            ("all queues share a lane", "queues: Queues = messages[0].queue\n", 'queues: Queues = ""\n'),
            ("a call takes any number", "if parcels and (count > _MOST or size > _MOST_BYTES):", "if False:"),
            ("who is left behind hears nothing", 'parcel.fail(BrokerUnavailable("the sending was cut off"))', "pass"),
            ("a lane that never began stays in the books", "        if self.is_open:\n", "        if False:\n"),
            (
                "a lane is opened for each",
                "        if lane is not None:\n            lane.waiting",
                "        if False:\n            lane.waiting",
            ),
            (
                "who has left is prepared all the same",
                "self._turns.pop(loop) if not parcel.answers.done()]",
                "self._turns.pop(loop)]",
            ),
        ),
        *of(
            "vecna/app/sending.py",
            (
                "a call that was sent before is taken for new",
                "            fresh = signature.fresh\n",
                "            fresh = True\n",
            ),
            (
                "a handler runs on the loop",
                "if self.pre_publish_handler is None and len(signatures) <= _AT_ONCE:",
                "if True:",
            ),
            ("a handler is not asked", " or self.pre_publish_handler is not None or", " or"),
        ),
        *of(
            "vecna/app/insisting.py",
            ("each says that the broker is away", "first = self._lost == 1", "first = True"),
            ("who is closed goes on trying", " or stop.is_set():", ":"),
        ),
        *of(
            f"{_REDIS}/loops.py",
            ("a lost reply is an error", "if is_last or", "if True or"),
            ("a silent server is asked again at once", " or failure.timed_out or", " or"),
            ("the end of a loop closes nothing", "            await self.opened.aclose()", "            pass"),
            ("a close closes nothing of loops", "if key[0] is self and key[2] == os.getpid():", "if False:"),
            ("a child uses its parent's", "asyncio.get_running_loop(), os.getpid()", "asyncio.get_running_loop(), 0"),
        ),
        *of(
            f"{_REDIS}/listener.py",
            (
                "a wake waits for who connects",
                "        self._woken = True\n        self._bell",
                "        with self._changed:\n            self._woken = True\n        self._bell",
            ),
        ),
    ),
)
