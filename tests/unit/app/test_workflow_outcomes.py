"""Workflows of any shape come to what a plain recursive evaluation says, whoever dies on the way."""

import datetime as dt
from random import Random

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.unit.app.workflow_outcomes import Tasks, Workers, calls, check_outcome, shape, workflows
from vecna.adapters import memory
from vecna.adapters.clock import ManualClock
from vecna.app.config import Config
from vecna.app.sweeping import sweep_records
from vecna.bootstrap import Server

HOUR = dt.timedelta(hours=1)
checked = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def connected():
    """Makes adapters, each time with a store of their own; and says what is in it of workflows."""

    def connect(clock):
        return memory.connect("memory://", Config(broker="memory://"), clock)

    return connect


def left(server):
    records, queues = server.backend._store, server.broker._store.by_name.values()
    kinds = [records.by_id, records.ended_at, records.plans.nodes, records.plans.steps, records.plans.every]
    return [kind for kind in (*kinds, *[queue.messages for queue in queues]) if kind]


def send(server, link):
    kind = type(link).__name__.lower()
    return getattr(server, f"send_{kind}")(link)


def run(connected, link, seed, cancels=(), deaths=()):
    note(shape(link))
    clock = ManualClock(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    adapters = connected(clock)
    ports = {"broker": adapters.broker, "backend": adapters.backend, "lock": adapters.lock, "clock": clock}
    with Server(Config(broker="memory://", lease=5), **ports) as server:
        tasks = Tasks(server)
        handle = send(server, link)
        every = sorted(call.uuid for call in calls(link))
        canceled = {every[number % len(every)] for number in cancels}
        for uuid in sorted(canceled):
            assert server.cancel_delayed_task(uuid).canceled == (uuid,)
        workers = Workers(server, Random(seed), deaths)
        workers.run()
        check_outcome(server, tasks, link, handle, canceled, died=workers.died)
        for _ in range(3):
            clock.advance(HOUR)
            sweep_records(server)
        clock.advance(HOUR)
        server.backend.get_nodes(["x"])
        server.backend.get_states(["x"])
        assert left(server) == []


@checked
@given(drawn=workflows, seed=st.integers(0, 99))
def test_a_workflow_comes_to_what_it_should(connected, drawn, seed):
    run(connected, drawn.link, seed)


@checked
@given(drawn=workflows, seed=st.integers(0, 99), cancels=st.lists(st.integers(0, 99), min_size=1, max_size=3))
def test_a_workflow_of_which_a_part_was_cancelled_comes_to_what_it_should(connected, drawn, seed, cancels):
    run(connected, drawn.link, seed, cancels)


@checked
@given(
    drawn=workflows,
    seed=st.integers(0, 99),
    cancels=st.lists(st.integers(0, 99), max_size=1),
    deaths=st.lists(st.integers(0, 60), min_size=1, max_size=4),
)
def test_a_workflow_whose_workers_die_comes_to_what_it_should(connected, drawn, seed, cancels, deaths):
    run(connected, drawn.link, seed, cancels, deaths)
