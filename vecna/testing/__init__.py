"""For tests: of those who use vecna, and of those who write adapters for it.

`Harness` runs tasks in the test's own thread, on a virtual clock; with pytest, ask for the fixture `harness`.

The contract suites are the laws that every adapter keeps. Bind them to an adapter in a test module; each law is then a
test of it:

    class TestMyBroker(vecna.testing.BrokerContract):
        def make(self, clock):
            return MyBroker(...)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vecna.testing.contracts import BackendContract, BrokerContract, ClockContract, LockContract
    from vecna.testing.crashing import CrashPoint
    from vecna.testing.harness import Harness
    from vecna.testing.moving import VirtualClock

__all__ = [
    "BackendContract",
    "BrokerContract",
    "ClockContract",
    "CrashPoint",
    "Harness",
    "LockContract",
    "VirtualClock",
]

# Imported when first used: pytest loads the plugin beside this in every run, the contract suites need pytest, the
# harness does not.
_HOMES = {"CrashPoint": "crashing", "Harness": "harness", "VirtualClock": "moving"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'vecna.testing' has no attribute {name!r}")
    home = _HOMES.get(name)
    if home is None:
        import pytest

        # Before they are imported: a broken law then shows what was compared.
        pytest.register_assert_rewrite("vecna.testing.contracts")
    value = getattr(importlib.import_module(f"vecna.testing.{home or 'contracts'}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
