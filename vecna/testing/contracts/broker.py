"""All that a broker promises."""

from __future__ import annotations

from vecna.adapters.clock import ManualClock
from vecna.ports.broker import Broker
from vecna.testing.contracts.async_enqueueing import AsyncEnqueueLaws
from vecna.testing.contracts.broker_stress import BrokerStressLaws
from vecna.testing.contracts.cancelling import CancelLaws
from vecna.testing.contracts.code_cancelling import CodeCancelLaws, CodeCancelWakeLaws
from vecna.testing.contracts.code_racing import CodeRaceLaws
from vecna.testing.contracts.driven import DrivenQueue, names
from vecna.testing.contracts.enqueueing import EnqueueLaws
from vecna.testing.contracts.expiring import ExpiryLaws, OutageLaws
from vecna.testing.contracts.extending import ExtendLaws
from vecna.testing.contracts.firing import DueLaws, FireLaws
from vecna.testing.contracts.following import FollowUpLaws
from vecna.testing.contracts.forfeiting import ForfeitLaws, ForfeitWakeLaws
from vecna.testing.contracts.inspecting import InspectLaws
from vecna.testing.contracts.leasing import LeaseLaws
from vecna.testing.contracts.presence import PresenceLaws
from vecna.testing.contracts.purging import DropDeadLaws, PurgeLaws
from vecna.testing.contracts.racing import RaceLaws
from vecna.testing.contracts.ringing import RingLaws
from vecna.testing.contracts.schedule_racing import ScheduleRaceLaws
from vecna.testing.contracts.schedule_relaying import RelayScheduleLaws, ScheduleWakeLaws
from vecna.testing.contracts.schedule_removing import RemovedScheduleLaws
from vecna.testing.contracts.schedule_stress import ScheduleStressLaws
from vecna.testing.contracts.scheduling import ScheduleLaws
from vecna.testing.contracts.settling import SettleLaws
from vecna.testing.contracts.staging import StageLaws
from vecna.testing.contracts.unstaging import UnstageLaws, UnstageWakeLaws


class BrokerContract(
    EnqueueLaws,
    AsyncEnqueueLaws,
    LeaseLaws,
    ExpiryLaws,
    OutageLaws,
    ExtendLaws,
    ForfeitLaws,
    SettleLaws,
    FollowUpLaws,
    CancelLaws,
    PurgeLaws,
    DropDeadLaws,
    PresenceLaws,
    InspectLaws,
    UnstageWakeLaws,
    CodeCancelWakeLaws,
    ForfeitWakeLaws,
    ScheduleWakeLaws,
    RingLaws,
    RaceLaws,
    StageLaws,
    UnstageLaws,
    CodeCancelLaws,
    CodeRaceLaws,
    ScheduleLaws,
    DueLaws,
    FireLaws,
    RelayScheduleLaws,
    RemovedScheduleLaws,
    ScheduleRaceLaws,
    BrokerStressLaws,
    ScheduleStressLaws,
):
    """The laws of `vecna.ports.Broker`, each a test. Bind them with `make`."""

    def test_a_closed_broker_opens_again(self, queue: DrivenQueue, broker: Broker, clock: ManualClock) -> None:
        """`close` gives up connections, not messages; it may be repeated."""
        queue.send("a")
        broker.close()
        broker.close()

        assert names(queue.take()) == ["a"]
        assert names(DrivenQueue(self.make(clock), clock).take(worker="w2")) == []
