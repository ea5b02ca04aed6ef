"""What the engine is given under the harness."""

from __future__ import annotations

from typing import Any

import attrs

from vecna.app.config import Config
from vecna.app.delivery_values import Tasks
from vecna.testing.moving import VirtualClock


@attrs.define
class Wiring:
    """What the engine needs; see `vecna.app.delivery_values.Wiring`."""

    config: Config
    registry: Tasks
    broker: Any
    backend: Any
    clock: VirtualClock
    random: Any
