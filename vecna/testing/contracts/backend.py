"""All that a backend promises."""

from __future__ import annotations

from vecna.testing.contracts.backend_stress import BackendStressLaws
from vecna.testing.contracts.keeping import KeepLaws, WaitingLaws
from vecna.testing.contracts.listening import ListenLaws
from vecna.testing.contracts.plan_releasing import PlanReleaseLaws
from vecna.testing.contracts.planning import PlanLaws
from vecna.testing.contracts.reporting import NodeListenLaws, ReportLaws
from vecna.testing.contracts.states import StateLaws


class BackendContract(
    StateLaws,
    KeepLaws,
    WaitingLaws,
    ListenLaws,
    PlanLaws,
    PlanReleaseLaws,
    ReportLaws,
    NodeListenLaws,
    BackendStressLaws,
):
    """The laws of `vecna.ports.Backend`, each a test. Bind them with `make`."""
