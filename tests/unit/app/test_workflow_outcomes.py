"""Workflows of any shape come to what a plain recursive evaluation says, whoever dies on the way.

On memory here; `tests/contract` does the same on real servers.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.app.workflow_outcomes import run, workflows
from vecna.adapters import memory
from vecna.adapters.clock import ManualClock
from vecna.app.config import Config
from vecna.ports.values import Adapters

pytestmark = pytest.mark.slow  # left out by `make unit`

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
checked = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def adapters() -> Iterator[Callable[[], Adapters]]:
    """Makes adapters, each time with a store of their own; in the end the last has nothing in its store."""
    made: list[Any] = []

    def connect() -> Adapters:
        made.append(memory.connect("memory://", Config(broker="memory://"), ManualClock(START)))
        return made[-1]

    yield connect
    records, queues = made[-1].backend._store, made[-1].broker._store.by_name.values()
    kinds = [records.by_id, records.ended_at, records.plans.nodes, records.plans.steps, records.plans.every]
    assert [kind for kind in (*kinds, *[queue.messages for queue in queues]) if kind] == []


@checked
@given(drawn=workflows, seed=st.integers(0, 99))
def test_a_workflow_comes_to_what_it_should(adapters, drawn, seed):
    run(adapters(), drawn.link, seed)


@checked
@given(drawn=workflows, seed=st.integers(0, 99), cancels=st.lists(st.integers(0, 99), min_size=1, max_size=3))
def test_a_workflow_of_which_a_part_was_cancelled_comes_to_what_it_should(adapters, drawn, seed, cancels):
    run(adapters(), drawn.link, seed, cancels)


@checked
@given(
    drawn=workflows,
    seed=st.integers(0, 99),
    cancels=st.lists(st.integers(0, 99), max_size=1),
    deaths=st.lists(st.integers(0, 60), min_size=1, max_size=4),
)
def test_a_workflow_whose_workers_die_comes_to_what_it_should(adapters, drawn, seed, cancels, deaths):
    run(adapters(), drawn.link, seed, cancels, deaths)
