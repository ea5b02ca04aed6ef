"""Fixtures of the suite."""

from collections.abc import Iterator

import pytest

from examples.testing import outside, signup
from vecna import Server


@pytest.fixture
def vecna_server() -> Server:
    """Instead of the setting `vecna_server = "examples.testing.signup:server"`, which an application would have."""
    return signup.server


@pytest.fixture(autouse=True)
def _nobody_yet() -> Iterator[None]:
    outside.forget()
    yield
    outside.forget()
