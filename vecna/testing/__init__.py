"""For tests: the laws that every adapter keeps.

Bind them to an adapter in a test module; each law is then a test of it:

    class TestMyBroker(vecna.testing.BrokerContract):
        def make(self, clock):
            return MyBroker(...)
"""

import pytest

# Before they are imported: a broken law then shows what was compared.
pytest.register_assert_rewrite("vecna.testing.contracts")

from vecna.testing.contracts import BackendContract, BrokerContract, ClockContract, LockContract  # noqa: E402

__all__ = ["BackendContract", "BrokerContract", "ClockContract", "LockContract"]
