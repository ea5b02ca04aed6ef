"""One history: some processes, two stores, a clock, and a seed that says all that happens."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs

from tests.simulation import schedule_laws
from tests.simulation.actors import Canceller, Keeper, Process, Producer, Worker
from tests.simulation.chance import Chance, SimClock
from tests.simulation.laws import Laws
from tests.simulation.ports import Died, Port
from tests.simulation.shapes import NAMES, QUEUES, RETRY_COUNT, Shape, shape
from tests.simulation.stage import LEASE, Failure, memory, stage
from tests.simulation.witness import Violation, Witness
from tests.simulation.worlds import AIMED, MIX, WORLDS
from vecna.domain.errors import BrokerUnavailable

_NEVER = 1 << 60
_AT_ONCE = dt.timedelta(0)
#: Calls that may come a second time, long after: what cancels or removes may not, for it knows no "before".
_LATE = frozenset(
    [
        "enqueue",
        "stage",
        "unstage",
        "lease",
        "extend",
        "settle",
        "relay",
        "put_states",
        "release",
        "report",
        "store_plan",
        "commit_plan",
        "fire",
        "put_schedule",
        "relay_schedules",
    ]
)
_DEEPEST = 2
_ROUNDS = 80
_MOST_CALLS = 20_000


@attrs.define
class Plan:
    """One thing that is to be sent.

    Attributes:
        shape: what.
        accepted_at: when the sender was told that it was accepted; 0 if it was not.
    """

    shape: Shape
    accepted_at: int = 0


class World:
    """Plays one history.

    Args:
        seed: says all that happens.
        kind: one of `WORLDS`; "mix": the seed says which; "all": tiny as a rule, every eighth of the mix or aimed.
        stores: makes broker and backend, given the clock and a counter of what queues take in.
        skipped: steps that are left out.
        calmed: steps in which no call is disturbed.
    """

    def __init__(
        self,
        seed: int,
        kind: str = "mix",
        stores: Any = memory,
        skipped: frozenset[int] = frozenset(),
        calmed: frozenset[int] = frozenset(),
    ) -> None:
        self.seed = seed
        self.chance = chance = Chance(seed)
        chance.begin(1 << 30)
        if kind == "all":
            kind = "tiny" if seed % 8 else "mix" if seed % 32 else chance.choice(AIMED)
        self.kind = chance.choice(MIX) if kind == "mix" else kind
        self.options = options = WORLDS[self.kind]
        self.skipped, self.calmed = skipped, calmed
        self.clock = SimClock()
        max_deliveries = options.get("max_deliveries") or 2 + chance.below(2)
        self.settings = (max_deliveries, options.get("keep", 3600.0))
        self.witness = witness = Witness(self.clock, max_deliveries)
        self.watches: dict[str, Any] = witness.watches
        self.broker, self.backend = stores(self.clock, witness.takes)
        self.on_memory = stores is memory
        self.calls = 0
        self.calm = _NEVER
        self.depth = 0
        self.running: list[Any] = []
        self.late: list[tuple[Port, str, Any, Any]] = []
        self.values: Counter[str] = Counter()
        self.faults = options.get("faults", 2)  # of six steps
        self.strikes = options.get("strikes")
        self.periodic = options.get("periodic", False)
        self.schedule_end = 26.0
        self.registered = self.schedule_tampered = False
        stage.world = self
        self._populate()

    def _populate(self) -> None:
        chance, options = self.chance, self.options
        least, most = options["sends"]
        count = least + min(chance.below(most - least + 1), chance.below(most - least + 1))  # rather few
        names = [chance.choice(options.get("names", NAMES)) for _ in range(count)]
        self.retry_count = options.get("retries", RETRY_COUNT)
        self.plans = [Plan(shape(name, place, self.retry_count)) for place, name in enumerate(names)]
        self.behaviours: dict[str, str] = {}
        for plan in self.plans:
            for uuid in plan.shape.ids:
                self.behaviours[uuid] = self._behaviour()
        self.workers = [Worker(self, f"w{number}-") for number in range(options["workers"])]
        self.processes: list[Process] = [*self.workers]
        self.first: list[Process] = []  # who acts first: nothing happens before something is sent
        if self.plans:
            self.processes.append(Producer(self, "p", list(self.plans)))
            self.first.append(self.processes[-1])
        if options.get("cancels") and self.plans and (options.get("always") or chance.below(3) == 0):
            self.processes.append(Canceller(self, "c", self._cancels(options["cancels"])))
            if options.get("by_code"):
                self.first.append(self.processes[-1])
        if self.periodic:
            keepers = self._triggers() if options.get("triggers") else self._keepers()
            self.processes += keepers
            self.first.append(keepers[0])

    def _behaviour(self) -> str:
        which = self.chance.below(12)
        if self.options.get("poison") and which < 4:
            return "poison"
        if self.options.get("racing"):
            return "flaky" if which < 8 else "good"
        if self.options.get("good"):
            return "good"
        return "bad" if which == 0 else "flaky" if which < 3 else "slow" if which < 5 else "good"

    def _cancels(self, most: int) -> list[Any]:
        chance, cancels = self.chance, []
        for _ in range(1 + chance.below(most)):
            target = chance.choice(self.plans).shape
            if target.code and (chance.below(2) or self.options.get("by_code")):
                names = [plan.shape.name for plan in self.plans if plan.shape.code or plan.shape.batch]
                cancels.append((target.code, target.code, names))
            elif target.link is not None and chance.below(2):
                label = target.name if not target.batch else f"one of {target.name}"
                cancels.append((label, target.link, [target.name]))
            else:
                uuid = chance.choice(target.ids)
                cancels.append((f"one of {target.name}", uuid, [target.name]))
        return cancels

    def _keepers(self) -> list[Process]:
        chance = self.chance
        register = self._registration()
        first, second = [register], []
        if self.options.get("keepers") or chance.below(2):
            second.append(("remove", "p"))
        if self.options.get("keepers"):
            first.append(register)
        if chance.below(3) == 0:
            first.append(self._registration() if chance.below(2) else register)
        if chance.below(4) == 0:
            second.append(("trigger", "p"))
        if chance.below(4) == 0:
            second += [("pause", "p"), ("resume", "p")]
        return [Keeper(self, "k", first), Keeper(self, "l", second)]

    def _triggers(self) -> list[Process]:
        """One that registers, one that removes, one that triggers, all at once."""
        _, code, kind, *rest = self._registration()
        other = "chain" if kind == "task" else "task"
        first = [("register", code, kind, *rest), ("register", code, other, *rest)]
        return [Keeper(self, "k", first), Keeper(self, "l", [("remove", code)]), Keeper(self, "m", [("trigger", code)])]

    def _registration(self) -> tuple[Any, ...]:
        chance = self.chance
        kind = "task" if chance.below(3) else "chain"
        return (
            "register", "p", kind, 4 + chance.below(4), chance.choice(("all", "all", "once", "skip")),
            chance.below(3) > 0,
        )  # fmt: skip

    # -- playing -----------------------------------------------------------------------------------------------------

    def play(self) -> World:
        """Play it to its end, and look whether the laws hold.

        Raises:
            Violation: one does not.
        """
        chance = self.chance
        least, most = self.options["steps"]
        for number in range(least + chance.below(most - least)):
            if number in self.skipped:
                continue
            chance.begin(number)
            disturbed = chance.below(6) < self.faults
            self.calm = chance.below(7) if disturbed and number not in self.calmed else _NEVER
            if number < len(self.first):
                self.let(self.first[number])
            else:
                self.act()
        self.calm = _NEVER
        chance.begin(1 << 29)
        self.rest()
        Laws(self.witness, [(plan.shape, plan.accepted_at) for plan in self.plans], self.retry_count).check()
        if self.periodic:
            schedule_laws.check(self)
        return self

    def end(self) -> None:
        """Undo what points in circles, so that all but the books is freed at once and not by a search for garbage."""
        for process in self.processes:
            process.end()
        self.processes, self.workers, self.first = [], [], []
        self.watches = self.witness.watches = {}

    def act(self) -> None:
        """Somebody does something, or time passes."""
        chance = self.chance
        which = chance.below(8)
        if which == 0:
            self.move_clock()
        elif which == 1 and self.late:
            self.repeat_late()
        else:
            self.let(chance.choice(self.processes))

    def let(self, process: Process, step: Any = None) -> None:
        """Let a process do something, unless it is in the middle of something."""
        if process.busy:
            return
        witness = self.witness
        process.busy = True
        try:
            (step or process.step)()
        except Died as died:
            witness.kills += 1
            witness.note(process.life, "dies", str(died))
            process.begin()
        except BrokerUnavailable as exc:
            witness.note(process.life, "cut off", str(exc)[:60])
        except Violation:
            raise
        except Exception as exc:
            raise witness.violated("12 nothing stops a process", f"{process!r}: {exc!r}") from exc
        finally:
            process.busy = False
        if witness.violation is not None:
            raise witness.violation

    def move_clock(self) -> None:
        """Time passes: a little; so much that leases run out; or, in one leap, with nobody reaching the stores."""
        chance = self.chance
        which = chance.below(8)
        if which == 0:
            self.advance(LEASE + chance.below(12))
            for worker in self.workers:
                worker.must_extend = chance.below(3) > 0
        elif which < 3:
            worker = chance.choice(self.workers)
            for _ in range(3):
                self.advance(LEASE * 0.4)
                self.let(worker, worker.touch)
        else:
            self.advance(chance.choice((0.05, 0.5, 1.0, 2.0, 3.0)))

    def likely(self) -> str:
        """A queue that a worker looks into: as a rule one that has woken it."""
        chance = self.chance
        if self.on_memory and chance.below(4):
            waiting = [name for name, queue in self.broker._store.by_name.items() if queue.messages]
            if waiting:
                return chance.choice(waiting)
        return chance.choice(QUEUES)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.witness.note("clock", f"+{seconds:g} s")
        if self.witness.resting_since is not None:  # a task took long: nobody was idle
            self.witness.resting_since = self.clock.now()

    # -- what happens to calls ---------------------------------------------------------------------------------------

    def execute(self, port: Port, name: str, args: Any, kwargs: Any) -> Any:
        """The call has its effect."""
        self.calls += 1
        if self.calls > _MOST_CALLS:
            raise self.witness.violated("12 nothing stops a process", f"{port.process} goes round and round: {name}")
        answer = getattr(port.real, name)(*args, **kwargs)
        watch = self.watches.get(name)
        if watch is not None:
            watch(port.process, args, answer, **kwargs)
        return answer

    def disturbed(self, port: Port, name: str, args: Any, kwargs: Any) -> Any:
        """Something happens to a call."""
        life, chance = port.process, self.chance
        if life.dead:
            raise Died("after its death")
        which = chance.below(14)
        if self.strikes is not None:
            only = self.options.get("only")
            if name not in self.strikes or (only not in args if only else chance.below(2)):
                self.calm = 0  # it happens to the next one of these
                return self.execute(port, name, args, kwargs)
            which = self.strikes[name]
        self.calm = 2 + chance.below(12) if chance.below(2) else _NEVER
        if which == 0:
            self.die(life, f"before {name}")
        if which == 1:
            self.witness.note(life, "request lost", name)
            self.witness.lost_replies += 1
            raise BrokerUnavailable(f"the request {name} was lost")
        if which in (8, 9, 10):
            self.pause(life, f"before {name}")
        answer = self.execute(port, name, args, kwargs)
        if which in (2, 3):
            self.die(life, f"after {name}")
        if which in (4, 5):
            self.witness.note(life, "reply lost", name)
            self.witness.lost_replies += 1
            if name == "lease" and answer.deliveries:
                self.witness.lost_leases[kwargs["worker"], args[0]] = answer.token
            raise BrokerUnavailable(f"the reply to {name} was lost")
        if which == 6:
            self.witness.note(life, "sent twice", name)
            return self.execute(port, name, args, kwargs)
        if which == 7 and name in _LATE:
            self.late.append((port, name, args, kwargs))
        if which in (11, 12, 13):
            self.pause(life, f"after {name}")
        return answer

    def die(self, life: Any, where: str) -> None:
        """A process ends here.

        Raises:
            Died: always.
        """
        life.dead = True
        raise Died(where)

    def pause(self, life: Any, where: str) -> None:
        """A process stands still, while others go on."""
        if self.depth >= _DEEPEST:
            return
        chance = self.chance
        self.witness.note(life, "stands still", where)
        self.depth += 1
        try:
            if self.options.get("turns"):
                for _ in range(chance.below(3)):
                    self.let(self.workers[0])
                return
            if chance.below(2 if self.options.get("racing") else 3) == 0:
                for _ in range(3):
                    self.advance(LEASE * 0.4)
                    worker = chance.choice(self.workers)
                    self.let(worker, worker.touch if self.strikes else None)
            for _ in range(1 + chance.below(6)):
                self.act()
        finally:
            self.depth -= 1
        self.witness.note(life, "goes on", where)

    def repeat_late(self) -> None:
        """A copy of a call that was on its way for long arrives. Nobody hears the answer."""
        port, name, args, kwargs = self.late.pop(0)
        self.witness.note(port.process, "late copy", name)
        self.witness.duplicate = True
        try:
            self.execute(port, name, args, kwargs)
        finally:
            self.witness.duplicate = False

    # -- tasks -------------------------------------------------------------------------------------------------------

    def played(self, ctx: Any, args: Any) -> Any:
        """A task runs."""
        life, item = self.running[-1]
        uuid = ctx.signature.uuid
        self.witness.ran(life, uuid, item.hold.token, args)
        behaviour = self.behaviours.get(uuid, "good")
        self.values[uuid] += 1
        if behaviour == "poison":
            life.dead = True
            return None
        if behaviour == "slow" and self.faults and self.calm != _NEVER:
            self.pause(life, f"in {uuid}")
        if behaviour == "bad" or (behaviour == "flaky" and self.chance.below(2)):
            raise Failure(uuid)
        return f"{uuid}/{self.values[uuid]}"

    # -- coming to rest ----------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Nothing is disturbed any more; everybody goes on until there is nothing to do."""
        self.late.clear()
        for process in self.processes:
            if not isinstance(process, Worker):
                process.plans.clear()  # type: ignore[attr-defined]  # a producer's
        for record in self.broker.list_schedules() if self.periodic else ():
            if record.paused:
                self.broker.remove_schedule(record.code)
        self.witness.resting_since = self.clock.now()
        worker = self.workers[0]
        for number in range(_ROUNDS):
            if number and self.is_quiet():
                return
            dues: list[float] = []
            for each in self.workers:
                if each is worker or each.deliveries.held:
                    self.let(each, partial(self._round, each, dues))
            if self.is_quiet():
                return
            if self.periodic:
                self.let(worker, worker.fire)
            self.let(worker, worker.sweep)
            dues.clear()
            self.let(worker, partial(self._round, worker, dues))  # what others, firing and sweeping have brought
            now = self.clock.monotonic()
            ahead = [due - now for due in dues if due > now]
            self.clock.advance(min(max(min(ahead, default=4.0), 0.01), 4.0))
        raise self.witness.violated("4 everything ends, waiters wake", f"no rest: {self.left()}")

    @staticmethod
    def _round(worker: Worker, dues: list[float]) -> None:
        due = worker.round()
        if due is not None:
            dues.append(due)

    def is_quiet(self) -> bool:
        """Whether nothing is left to do in the stores."""
        if self.on_memory:  # the same as below, without asking
            store = self.broker._store
            for queue in store.by_name.values():
                if len(queue.messages) > len(queue.dead) or queue.outbox:
                    return False
            if store.schedules.records or store.schedules.outbox:
                return False
            return not (self.backend._store.ended_at or self.backend._store.plans.uncommitted)
        return not any(self.left())

    def left(self) -> list[Any]:
        """What is left to do in the stores."""
        broker, backend = self.broker, self.backend
        found: list[Any] = []
        for queue in QUEUES:
            counts = broker.counts(queue)
            if counts.pending or counts.delayed or counts.leased or counts.ending or counts.held:
                found.append((queue, counts))
            if broker.relay(queue, 0):
                found.append(f"outbox of {queue}")
        if self.periodic and (broker.list_schedules() or broker.relay_schedules(0)):
            found.append(broker.list_schedules())
        found += backend.uncommitted(_AT_ONCE, 10)
        found += backend.unreleased(_AT_ONCE, 10)
        return found

    def unknown(self, uuids: Sequence[str]) -> list[str]:
        """Those of which neither store knows anything."""
        states = self.backend.get_states(uuids)
        missing = [uuid for uuid, state in zip(uuids, states, strict=True) if state is None]
        places = self.broker.locate(missing) if missing else ()
        return [uuid for uuid, place in zip(missing, places, strict=True) if place is None]

    def queues(self) -> list[str]:
        """Queues that hold something."""
        if self.on_memory:
            return [name for name, queue in self.broker._store.by_name.items() if len(queue.messages) > len(queue.dead)]
        return list(QUEUES)
