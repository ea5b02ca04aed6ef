"""What each port promises, law by law."""

from vecna.testing.contracts.backend import BackendContract
from vecna.testing.contracts.broker import BrokerContract
from vecna.testing.contracts.clock import ClockContract
from vecna.testing.contracts.lock import LockContract

__all__ = ["BackendContract", "BrokerContract", "ClockContract", "LockContract"]
