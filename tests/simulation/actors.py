"""The processes of a history: workers, producers, a canceller, keepers of schedules. Each acts step by step."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import attrs

from tests.simulation.chance import START
from tests.simulation.ports import Died, Port
from tests.simulation.shapes import QUEUES, Shape, periodic
from tests.simulation.stage import PUBLISH_TIMEOUT, config, open_for, registry, server
from vecna.app.delivery import Deliveries
from vecna.app.firing import Firer
from vecna.app.worker.sweeper import Sweeper
from vecna.domain.errors import BrokerUnavailable, InvalidSpec, UnknownSchedule


@attrs.define(slots=False)
class Wiring:
    """What a worker has of a server."""

    config: Any
    registry: Any
    broker: Any
    backend: Any
    clock: Any
    random: Any

    def storing_periodic_tasks(self) -> Callable[[], None]:
        """There are none."""
        return lambda: None


class Process:
    """One process: it may die, and another one takes its place.

    Args:
        world: where it is.
        name: of all its incarnations.
    """

    def __init__(self, world: Any, name: str) -> None:
        self.world = world
        self.name = name
        self.number = 0
        self.busy = False
        self.begin()

    def __repr__(self) -> str:
        return f"{self.name}{self.number}"

    def begin(self) -> None:
        """Start the process."""
        self.number += 1
        self.identity = f"{self.name}{self.number}"
        self.dead = False
        life = Life(self.identity)
        self.life = life
        world = self.world
        self.broker: Any = Port(world.broker, world, life)
        self.backend: Any = Port(world.backend, world, life)

    def step(self) -> None:
        """Do something."""
        raise NotImplementedError

    def end(self) -> None:
        """Let go of everything but the name: the history is over."""
        self.__dict__ = {"name": self.name, "number": self.number}


class Life:
    """One incarnation of a process. What it has begun when it died ends here."""

    __slots__ = ("dead", "identity")

    def __init__(self, identity: str) -> None:
        self.identity, self.dead = identity, False

    def __repr__(self) -> str:
        return self.identity


class Worker(Process):
    """Leases, runs and finishes; fires, relays and sweeps."""

    def begin(self) -> None:
        super().begin()
        world = self.world
        self.wiring: Any = Wiring(
            config(*world.settings), registry(), self.broker, self.backend, world.clock, world.chance
        )
        self.deliveries = Deliveries(self.wiring, self.name, incarnation=str(self.number))
        self.batches: list[Any] = []
        self.runnable: list[Any] = []
        self.done: list[Any] = []
        self._sweeper: Sweeper | None = None
        self._firer: Firer | None = None
        self.must_extend = False
        self.more = False

    @property
    def sweeper(self) -> Sweeper:
        if self._sweeper is None:
            self._sweeper = Sweeper(self.wiring, self.name, QUEUES, None, lambda _: None)  # type: ignore[arg-type]  # no outages
        return self._sweeper

    @property
    def firer(self) -> Firer:
        if self._firer is None:
            self._firer = Firer(self.wiring)
        return self._firer

    def step(self) -> None:
        chance, options = self.world.chance, self.world.options
        if "leases" in options and chance.below(2):
            self.wiring.config = config(*self.world.settings, chance.choice(options["leases"]))
        if self.must_extend:
            self.must_extend = False
            self.deliveries.extend()
            return
        which = 0 if options.get("turns") else chance.below(16)
        if which == 15:
            self.sweep()
        elif which == 14:
            self.deliveries.extend()
        elif which >= 12 and self.world.periodic:
            self.fire()
        elif which == 12 and self.runnable:
            self.done += self.deliveries.give_back([self.runnable.pop()])
        elif which == 11:
            self.note()
        elif which < 6:
            self.begin_only() if options.get("halves") else self.turn()
        elif self.runnable and which < 8:
            self.run(self.runnable.pop(chance.below(len(self.runnable))))
        elif self.done or self.deliveries.owes:
            self.finish(which == 8)
        else:
            self.take(self.world.likely(), 1 + chance.below(3))

    def turn(self) -> None:
        """All that a worker does with what it has or gets."""
        if not self.runnable and not self.done:
            self.take(self.world.likely(), 1 + self.world.chance.below(3))
        while self.runnable:
            self.run(self.runnable.pop())
        if self.done or self.deliveries.owes:
            self.finish(noting=False)

    def begin_only(self) -> None:
        """Take and run, and leave the end for later."""
        if self.runnable:
            self.run(self.runnable.pop())
        elif not self.done:
            self.take(self.world.likely(), 1)

    def note(self) -> None:
        """Write what has begun, as is done of runs that last."""
        items = self.deliveries.items()
        if items:
            self.deliveries.finish([], self.deliveries.notes(items))

    def take(self, queue: str, count: int) -> float | None:
        """Lease and admit; when there may be more."""
        due = None
        if not self.batches:
            batch = self.deliveries.lease(queue, count)
            due, self.more = batch.next_due, batch.more
            if batch.items:
                self.batches.append(batch)
        while self.batches:
            runnable, ended = self.deliveries.admit(self.batches[0])
            self.batches.pop(0)
            self.runnable += runnable
            self.done += ended
        return due

    def run(self, item: Any) -> None:
        """Run one."""
        world = self.world
        world.running.append((self.life, item))
        try:
            came = self.deliveries.run(item)
        finally:
            world.running.pop()
        if self.life.dead:
            raise Died("in a run")
        if came:
            self.done.append(item)
        else:
            self.done += self.deliveries.give_back([item])

    def finish(self, noting: bool) -> None:
        """Finish what has come to its end."""
        notes = self.deliveries.notes(self.runnable) if noting and self.runnable else ()
        self.deliveries.finish(self.done, notes)
        self.done.clear()

    def fire(self) -> dt.timedelta | None:
        """Fire what is due."""
        return self.firer.step()

    def sweep(self) -> None:
        """What comes with every third heartbeat."""
        self.sweeper.sweep()

    def touch(self) -> None:
        """Look into the queues, and take nothing."""
        for queue in QUEUES:
            self.deliveries.lease(queue, 0)

    def round(self) -> float | None:
        """All that there is to do at this moment; until when there is no more."""
        dues: list[float] = []
        while True:
            more = False  # after a call that had got lost, and has now been answered as it was then
            for queue in self.world.queues():
                due = self.take(queue, 100)
                more = more or self.more
                if due is not None:
                    dues.append(due)
            if not (more or self.runnable or self.done or self.deliveries.owes):
                return min(dues, default=None)
            while self.runnable:
                self.run(self.runnable.pop())
            self.finish(noting=False)
            dues.clear()


class Sender(Process):
    """A process with a list of things to do through a server."""

    def __init__(self, world: Any, name: str, plans: list[Any]) -> None:
        self.plans = plans
        super().__init__(world, name)

    def begin(self) -> None:
        if self.number and self.plans and self.world.chance.one_in(3):
            self.plans.pop(0)  # who comes after does not know of it
        super().begin()
        self.server = server(self.name, *self.world.settings)
        open_for(self.server, self.broker, self.backend, self.world.clock, self.world.chance)

    def step(self) -> None:
        if self.plans and self.world.chance.below(3):
            try:
                self.do(self.plans[0])
            except BrokerUnavailable:
                if self.world.chance.one_in(3):
                    self.plans.pop(0)
                raise
            self.plans.pop(0)

    def do(self, plan: Any) -> None:
        """Do one of them."""
        raise NotImplementedError


class Producer(Sender):
    """Sends."""

    def do(self, plan: Any) -> None:
        shape: Shape = plan.shape
        name = shape.name
        witness, clock = self.world.witness, self.world.clock
        witness.note(self, "send", name)
        began = witness.first_sent.setdefault(name, clock.now())
        try:
            self.send(shape)
        finally:  # also if it dies: what it has sent by then counts
            if (clock.now() - began).total_seconds() >= PUBLISH_TIMEOUT:
                witness.late.add(name)
        if self.world.settings[1] > 1000 and (unknown := self.world.unknown(shape.ids)):
            raise witness.violated("5 what is accepted is pending", f"nobody knows {unknown} of {name}")
        if not plan.accepted_at:
            plan.accepted_at = self.world.witness.note(self, "accepted", name)
            if self.world.chance.one_in(4) and self.world.settings[1] > 1000:
                self.plans.append(plan)  # who does not remember that it was sent sends it again

    def send(self, shape: Shape) -> None:
        """Send it, as its kind is sent."""
        server = self.server
        if shape.raw is not None:
            self.broker.enqueue([shape.raw])
        elif shape.batch:
            server.send_tasks([shape.link, *shape.batch])
        else:
            kind = type(shape.link).__name__
            ended = kind == "Signature" and shape.link.uuid in self.world.witness.ends
            # One batch after the other: threads would make a history that cannot be played again.
            if kind in ("Group", "Chord"):
                getattr(server, _SENDS[kind])(shape.link, 1)
            else:
                handle = getattr(server, _SENDS[kind])(shape.link)
                if ended and handle.is_new and self.world.settings[1] > 1000:
                    raise self.world.witness.violated("1 a uuid is accepted once", f"{shape.link.uuid} had ended")


_SENDS = {"Signature": "send_task", "Group": "send_group", "Chord": "send_chord", "Chain": "send_chain"}


class Canceller(Sender):
    """Cancels."""

    def step(self) -> None:
        if self.world.chance.one_in(2):
            super().step()

    def do(self, plan: Any) -> None:
        label, target, names = plan
        witness = self.world.witness
        begun = witness.note(self, "cancel", label)
        witness.tried_cancels.update(names)
        witness.canceled(begun, label, self.server.cancel(target))


class Keeper(Sender):
    """Registers and cancels schedules."""

    def do(self, plan: Any) -> None:
        witness, server = self.world.witness, self.server
        what = plan[0]
        if what == "register":
            _, code, kind, every, missed, overlap = plan
            witness.note(self, "register", code, kind, every, missed, overlap)
            send = server.send_periodic_task if kind == "task" else server.send_periodic_chain
            end = START + dt.timedelta(seconds=self.world.schedule_end)
            every = dt.timedelta(seconds=every)
            try:
                send(every, periodic(kind), code=code, missed=missed, overlap=overlap, end=end)
            except InvalidSpec:  # it comes too late: the end has passed
                self.world.schedule_tampered = True
                return
            witness.note(self, "registered", code)
            self.world.registered = True
            return
        begun = witness.note(self, what, plan[1])
        self.world.schedule_tampered = True
        try:
            if what == "remove":
                witness.canceled(begun, f"schedule {plan[1]}", server.cancel_periodic_task(plan[1]))
            elif what == "trigger":
                server.get_schedule(plan[1]).trigger()
            elif what == "pause":
                server.get_schedule(plan[1]).pause()
            elif what == "resume":
                server.get_schedule(plan[1]).resume()
        except UnknownSchedule:
            witness.note(self, "unknown", plan[1])
