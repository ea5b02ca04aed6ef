"""Histories over a real server; more of them by `make simulate-redis`."""

import pytest

from tests.simulation.on_redis import OnRedis
from tests.simulation.running import play, quiet

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["small", "crossing", "canceling", "schedules"])
def test_no_law_is_broken(redis_url, namespace, kind):
    with quiet(), OnRedis(redis_url, namespace) as stores:
        tally = play(range(12), kind, stores)
    assert not tally.failed, "\n".join(map(str, tally.failed))
    assert tally.counts["runs"] > 0
