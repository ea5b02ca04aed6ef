"""Sending: everything is checked, completed and encoded before anything leaves the process."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import attrs

from vecna import log
from vecna.app import tracing
from vecna.app.config import Config
from vecna.app.launchers import RESERVED
from vecna.app.registry import Registry
from vecna.app.signing import message_of
from vecna.domain.errors import BrokerUnavailable, InvalidArgument, InvalidSignature
from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.domain.signing import bare
from vecna.domain.state import TaskState
from vecna.domain.workflow import share_code
from vecna.ports.backend import Backend
from vecna.ports.broker import Broker
from vecna.ports.clock import Clock

AnySignature = Signature[Any]
T = TypeVar("T")
PrePublishHandler = Callable[[AnySignature], AnySignature | None]
_FIRST_BACKOFF: Final = 0.05
_LAST_BACKOFF: Final = 2.0
#: With a clock that stands still.
_TRIES_AT_ONCE: Final = 3
#: So many names are remembered as warned of.
_MOST_WARNINGS: Final = 1000
_BY_WORKFLOWS: Final = ("group_uuid", "group_task_count", "chord_callback", "spec", "position")


@attrs.frozen
class Sent:
    """One signature as it was sent.

    Attributes:
        signature: with the sender's options filled in.
        message: what the broker was given.
        is_new: whether this started it.
    """

    signature: AnySignature
    message: Message
    is_new: bool


class Sending:
    """Prepares signatures and hands them to the broker.

    Args:
        config: settings.
        registry: whose options are filled in.
        random: chance, for the backoff's jitter.
    """

    def __init__(self, config: Config, registry: Registry, random: random.Random) -> None:
        self._config = config
        self._registry = registry
        self._random = random
        self._lock = threading.Lock()
        self._unknown: set[str] = set()
        self.pre_publish_handler: PrePublishHandler | None = None

    def send(
        self, signatures: Sequence[AnySignature], broker: Broker, backend: Backend, clock: Clock, stop: threading.Event
    ) -> list[Sent]:
        """Check all, then send all in one call.

        Args:
            signatures: what to send.
            broker: where to.
            backend: where a task that ended already is known.
            clock: time.
            stop: set when the server is closed: no further attempt is made.

        Raises:
            InvalidArgument, InvalidSignature: one of them cannot be sent; none was.
            BrokerUnavailable: the store could not be reached within `Config.send_timeout`.
        """
        for signature in signatures:
            check(signature)
        with tracing.send_span(signatures) as traced:
            prepared = [share_code(each, each.code) for each in self.prepared(signatures, traced=traced)]
            messages = [self.message(signature) for signature in prepared]
            later = waiting_callbacks(prepared, clock)
            old = self.old(signatures)

            def attempt() -> list[bool]:
                if later:
                    backend.put_states(later)
                return self._attempt(messages, old, broker, backend)

            new = self.insist(attempt, signatures, clock, stop)
        return [Sent(*each) for each in zip(prepared, messages, new, strict=True)]

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """What calls are signed with."""
        return self._config.signing_keys

    def forked(self) -> None:
        """Begin anew in a child process: another thread of the parent may hold the lock for ever."""
        self._lock = threading.Lock()

    # -- preparing -------------------------------------------------------------------------------------------------

    def prepared(self, signatures: Iterable[AnySignature], *, traced: bool) -> list[AnySignature]:
        """Signatures as they are sent: options, trace context and the pre-publish handler's changes filled in.

        Raises:
            InvalidSignature: the handler returned something else.
        """
        prepared = [self._prepared(signature, traced=traced) for signature in signatures]
        self._warn(prepared)
        return prepared

    def _prepared(self, signature: AnySignature, *, traced: bool) -> AnySignature:
        handler = self.pre_publish_handler
        complete = self._completed(signature, traced=traced)
        if handler is None:
            return complete
        replaced = handler(complete)
        if replaced is None:
            return complete
        if not isinstance(replaced, Signature) or replaced.uuid != signature.uuid:
            raise InvalidSignature(
                f"the pre-publish handler returned {replaced!r} for task {signature.uuid}: it must return None or a "
                "signature with the same uuid (signature.replace(...))"
            )
        check(replaced, member_of=signature.group_uuid)
        return self._completed(replaced, traced=False)

    def _completed(self, signature: AnySignature, *, traced: bool) -> AnySignature:
        """The signature with what the registration says about options that it leaves open, and the trace context."""
        changes: dict[str, Any] = {}
        task = self._registry.get(signature.name)
        if task is not None and task.set_options:
            options = signature.set_options
            timed = "eta" in options or "delay" in options
            changes = {
                name: value
                for name, value in task.set_options.items()
                if name not in options and not (timed and name in ("eta", "delay"))
            }
        if traced:
            changes["headers"] = tracing.inject(signature.headers)
        for kind in ("on_success", "on_error"):
            callbacks = getattr(signature, kind)
            if callbacks:
                changes[kind] = [self._completed(callback, traced=traced) for callback in callbacks]
        return signature.replace(**changes) if changes else signature

    def message(self, signature: AnySignature) -> Message:
        """The message of a prepared signature.

        Raises:
            InvalidArgument: it is larger than `Config.max_message_size`.
        """
        message = message_of(bare(signature), self._config)
        size, limit = len(message.body), self._config.max_message_size
        if size > limit:
            raise InvalidArgument(
                f"the message of task {signature.name} has {size} bytes; the limit is {limit} "
                "(Config.max_message_size): store large data elsewhere and pass where it is"
            )
        return message

    def _warn(self, signatures: Sequence[AnySignature]) -> None:
        for signature in signatures:
            name = signature.name
            if name in self._unknown or self._registry.get(name) is not None:
                continue
            if self._registry.names() and len(self._unknown) < _MOST_WARNINGS:
                self._unknown.add(name)
                log.warning(
                    f"task {name!r} is sent but not registered here; that is right if another service runs it",
                    task_name=name,
                )

    # -- sending ---------------------------------------------------------------------------------------------------

    def old(self, signatures: Sequence[AnySignature]) -> list[str]:
        """Ids that left this process before, and so may have ended already; from now on all of them have."""
        with self._lock:
            old = [signature.uuid for signature in signatures if not signature.fresh]
            for signature in signatures:
                signature.sent()
        return old

    @staticmethod
    def _attempt(messages: Sequence[Message], old: Sequence[str], broker: Broker, backend: Backend) -> list[bool]:
        ended: set[str] = set()
        if old:
            # The broker forgets a task when it has ended; that it has is for the backend to say.
            states = backend.get_states(old)
            ended = {state.task_uuid for state in states if state is not None and state.is_completed}
        accepted = iter(broker.enqueue([message for message in messages if message.uuid not in ended]))
        return [message.uuid not in ended and next(accepted) for message in messages]

    def insist(
        self, attempt: Callable[[], T], signatures: Sequence[AnySignature], clock: Clock, stop: threading.Event
    ) -> T:
        """Try until it works or the time is over. A repeated attempt has no second effect.

        With a virtual clock, which nobody moves meanwhile, it tries some times at once.

        Raises:
            BrokerUnavailable: it did not work within `Config.send_timeout`.
        """
        deadline = clock.monotonic() + self._config.send_timeout
        pause = _FIRST_BACKOFF
        lost = False
        at_once = _TRIES_AT_ONCE if clock.virtual else 0
        while True:
            try:
                return attempt()
            except BrokerUnavailable as exc:
                left = deadline - clock.monotonic()
                at_once -= 1
                if left <= 0 or at_once == 0 or stop.is_set():
                    raise self._given_up(exc, signatures) from exc
                if clock.virtual:
                    continue
                if not lost:
                    lost = True
                    log.warning(f"the broker cannot be reached, sending is tried again for {left:.0f} s: {exc}")
                clock.wait(stop, min(pause * (0.5 + self._random.random()), left))
                pause = min(pause * 2, _LAST_BACKOFF)

    def _given_up(self, exc: BrokerUnavailable, signatures: Sequence[AnySignature]) -> BrokerUnavailable:
        return BrokerUnavailable(
            f"{len(signatures)} task(s) could not be sent within {self._config.send_timeout:g} s, or the answer got "
            f"lost: {exc}. Send the same signatures (.signatures of this error) again: none will run twice",
            signatures,
        )


def waiting_callbacks(signatures: Iterable[AnySignature], clock: Clock) -> list[TaskState]:
    """Records of the callbacks of what is sent: they are PENDING from now on, until their parent has ended."""
    return [
        TaskState(task_uuid=callback.uuid, task_name=callback.name, created_at=clock.now(), parent=parent)
        for signature in signatures
        if signature.on_success or signature.on_error
        for callback, parent in callbacks_of(signature)
    ]


def callbacks_of(signature: AnySignature) -> Iterator[tuple[AnySignature, str]]:
    """All callbacks below a call, each with the id of the task that it waits for."""
    for callback in (*signature.on_success, *signature.on_error):
        yield callback, signature.uuid
        yield from callbacks_of(callback)


def check(signature: object, *, member_of: str = "") -> None:
    """Refuse what cannot be sent.

    Args:
        signature: what to look at.
        member_of: the group that it may belong to.

    Raises:
        InvalidSignature: it is no signature, or carries what only workflows and schedules set.
    """
    if not isinstance(signature, Signature):
        name = getattr(signature, "name", None)
        hint = f": call {name}.send(...), or pass {name}.signature(...)" if hasattr(signature, "signature") else ""
        raise InvalidSignature(f"send_task takes a Signature, not a {type(signature).__name__}{hint}")
    if signature.name in RESERVED:
        raise InvalidSignature(f"the task name {signature.name!r} is used by vecna itself")
    for name in _BY_WORKFLOWS:
        value = getattr(signature, name)
        if value and not (member_of and (value == member_of or name == "group_task_count")):
            raise InvalidSignature(f"{name} of task {signature.name} is set by workflows and schedules, not by hand")
    for callback in (*signature.on_success, *signature.on_error):
        check(callback)
