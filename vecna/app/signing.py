"""Where calls are signed and checked, if `Config.signing_keys` says so: on their way out, and before they are run."""

from __future__ import annotations

from typing import Any, cast

from vecna.app.config import Config
from vecna.domain.message import Message
from vecna.domain.plan import Plan, Step
from vecna.domain.signature import Signature
from vecna.domain.signing import sign, sign_plan, verified_step
from vecna.ports.backend import Backend


def message_of(signature: Signature[Any], config: Config) -> Message:
    """The message of a call, signed if there are keys."""
    return Message.of(sign(signature, config.signing_keys), config.default_queue)


class _SignedPlans:
    """A backend whose plans are signed when they are stored, and checked when they are read."""

    def __init__(self, backend: Backend, config: Config) -> None:
        self._backend = backend
        self._config = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def store_plan(self, plan: Plan) -> None:
        self._backend.store_plan(sign_plan(plan, self._config.signing_keys))

    def get_step(self, node: str, index: int) -> Step | None:
        step = self._backend.get_step(node, index)
        return None if step is None else verified_step(step, self._config.signing_keys)


def signed_plans(backend: Backend, config: Config) -> Backend:
    """The backend, with its plans signed and checked if there are keys."""
    return cast(Backend, _SignedPlans(backend, config)) if config.signing_keys else backend
