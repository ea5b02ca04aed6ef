"""Workflows of any shape, on real servers: what a plain recursive evaluation says, whoever dies on the way.

Bounded so that a run of all tests stays short; VECNA_MACHINE_EXAMPLES=2000 looks further.
"""

import datetime as dt
import os
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.unit.app.workflow_outcomes import run, workflows
from vecna.adapters import redis
from vecna.adapters.clock import ManualClock
from vecna.app.config import Config

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
checked = settings(
    max_examples=int(os.environ.get("VECNA_MACHINE_EXAMPLES", "20")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to make one small takes long here: do that on memory
)


@pytest.fixture
def adapters(any_redis_url, namespace):
    """Makes adapters, each time with a namespace of their own."""
    opened, numbers = [], count()

    def connect():
        config = Config(broker=any_redis_url, namespace=f"{namespace}-{next(numbers)}")
        opened.append(redis.connect(any_redis_url, config, ManualClock(START)))
        return opened[-1]

    yield connect
    for each in opened:
        each.broker.close()
        each.backend.close()


@pytest.mark.timeout(600)
@checked
@given(
    drawn=workflows,
    seed=st.integers(0, 99),
    cancels=st.lists(st.integers(0, 99), max_size=2),
    deaths=st.one_of(st.just([]), st.lists(st.integers(0, 60), min_size=1, max_size=3)),
)
def test_a_workflow_comes_to_what_it_should(adapters, drawn, seed, cancels, deaths):
    run(adapters(), drawn.link, seed, cancels, deaths)
