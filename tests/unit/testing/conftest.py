from collections.abc import Iterator

import pytest

from tests.unit.testing.app import Shop
from vecna.testing import Harness


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def harness(shop: Shop) -> Iterator[Harness]:
    """In place of the plugin's: these tests are of what it gives."""
    with Harness(shop.server) as harness:
        yield harness
