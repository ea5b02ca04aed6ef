"""A few seconds of the soak, by `make faults-long`."""

import pytest

from tests.soak.__main__ import Soak


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.redis
@pytest.mark.timeout(120)
def test_a_few_seconds_of_it():
    report = Soak(2.5, seed=3, workers=2, rate=20, kept=1).run()

    assert report["violations"] == []
    assert report["tasks"] > 30
    assert sum(report["faults injected"].values()) >= 1
