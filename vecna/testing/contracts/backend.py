"""All that a backend promises."""

from __future__ import annotations

from vecna.testing.contracts.keeping import KeepLaws
from vecna.testing.contracts.listening import ListenLaws
from vecna.testing.contracts.states import StateLaws


class BackendContract(StateLaws, KeepLaws, ListenLaws):
    """The laws of `vecna.ports.Backend`, each a test. Bind them with `make`."""
