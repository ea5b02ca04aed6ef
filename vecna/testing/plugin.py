"""The pytest plugin: fixtures `harness` and `vecna_clock`. Loaded in every run of pytest, so it imports nothing else.

    [tool.pytest.ini_options]
    vecna_server = "app.tasks:server"
    vecna_travel = true     # datetime.now() goes along, with time-machine or freezegun

A fixture `vecna_server` of your own takes the place of the setting.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vecna.bootstrap import Server
    from vecna.testing.harness import Harness
    from vecna.testing.moving import VirtualClock

_MARKER = "vecna"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The settings."""
    parser.addini("vecna_server", "the Server that the fixture `harness` is for: app.module:server")
    parser.addini(
        "vecna_travel",
        "datetime.now() goes along with the clock of `harness`, by time-machine or freezegun",
        "bool",
        False,
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marker."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(now, seed, raise_errors, travel): options of the fixture `harness`; see vecna.testing.Harness",
    )


@pytest.fixture
def vecna_server(request: pytest.FixtureRequest) -> Server:
    """The server under test: what the ini option `vecna_server` names. Define a fixture of this name to override it."""
    target = request.config.getini("vecna_server")
    if not target:
        raise pytest.UsageError(
            'the fixture harness does not know your server: set vecna_server = "app.module:server" in the pytest '
            "settings ([tool.pytest.ini_options] of pyproject.toml), or define a fixture vecna_server that returns it"
        )
    from vecna.app.target import load_server
    from vecna.domain.errors import ConfigError

    try:
        return load_server(target, request.config.rootpath)  # type: ignore[return-value]  # wired by bootstrap
    except ConfigError as fault:
        raise pytest.UsageError(f"vecna_server: {fault}") from None


@pytest.fixture
def harness(request: pytest.FixtureRequest, vecna_server: Server) -> Iterator[Harness]:
    """A `vecna.testing.Harness` for the server of `vecna_server`, until the end of the test."""
    from vecna.testing.harness import Harness

    options: dict[str, Any] = {"travel": request.config.getini("vecna_travel")}
    for marker in reversed(list(request.node.iter_markers(_MARKER))):  # the closest last
        options.update(_checked(marker))
    with Harness(vecna_server, **options) as made:
        yield made


@pytest.fixture
def vecna_clock(harness: Harness) -> VirtualClock:
    """The clock of `harness`: `now()`, and `advance(duration)`, which runs nothing."""
    return harness.clock


def _checked(marker: pytest.Mark) -> dict[str, Any]:
    known = ("now", "seed", "raise_errors", "travel")
    if marker.args or not set(marker.kwargs) <= set(known):
        raise pytest.UsageError(f"the marker {_MARKER} takes the keywords {', '.join(known)}, not {marker}")
    return dict(marker.kwargs)
