"""Sending: everything is checked, completed and encoded before anything leaves the process."""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Final

import attrs

from vecna import log
from vecna.app import tracing
from vecna.app.config import Config
from vecna.app.insisting import Insisting
from vecna.app.lanes import Lanes
from vecna.app.launchers import RESERVED
from vecna.app.registry import Registry
from vecna.app.signing import message_of
from vecna.domain.errors import InvalidArgument, InvalidSignature
from vecna.domain.message import Message
from vecna.domain.signature import Signature
from vecna.domain.signing import bare
from vecna.domain.state import TaskState
from vecna.domain.workflow import share_code
from vecna.ports.backend import Backend
from vecna.ports.broker import Broker
from vecna.ports.clock import Clock

AnySignature = Signature[Any]
PrePublishHandler = Callable[[AnySignature], AnySignature | None]
#: So many are prepared on an event loop in one go.
_AT_ONCE: Final = 100
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


@attrs.frozen
class _Batch:
    """What one call sends, checked and encoded. All but `consult` and `confirm` is computation.

    Attributes:
        signatures: as they are sent.
        messages: theirs.
        later: records of their callbacks.
        old: ids that left this process before, and so may have ended.
        publish_timeout: of the config.
    """

    signatures: Sequence[AnySignature]
    messages: Sequence[Message]
    later: Sequence[TaskState]
    old: Sequence[str]
    publish_timeout: float

    @property
    def asks(self) -> bool:
        """Whether the backend is to be consulted first: seldom."""
        return bool(self.later or self.old)

    def consult(self, backend: Backend) -> Collection[str]:
        """Have the callbacks known, and find out which of the old ones have ended."""
        if self.later:
            backend.put_states(self.later)
        if not self.old:
            return ()
        # The broker forgets a task when it has ended; that it has is for the backend to say.
        states = backend.get_states(self.old)
        return {state.task_uuid for state in states if state is not None and state.is_completed}

    def confirm(self, backend: Backend, seconds: float) -> None:
        """Have the callbacks known once more, where it took so many seconds to send their parent.

        A sweep may have taken it for given up meanwhile, and have forgotten them (`Config.publish_timeout`).
        """
        if self.later and seconds >= self.publish_timeout:
            backend.put_states(self.later)

    def left(self, ended: Collection[str]) -> Sequence[Message]:
        """What is to be enqueued."""
        return [message for message in self.messages if message.uuid not in ended] if ended else self.messages

    def answers(self, ended: Collection[str], accepted: Iterable[bool]) -> list[bool]:
        """For each message whether it is new, from what the broker has answered to what was left."""
        answers = iter(accepted)
        return [message.uuid not in ended and next(answers) for message in self.messages]

    def sent(self, new: Sequence[bool]) -> list[Sent]:
        """What the caller gets."""
        return list(map(Sent, self.signatures, self.messages, new))


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
        self.insisting = Insisting(lambda: config.send_timeout, random)
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
            batch = self._batch(signatures, clock, traced=traced)

            def attempt() -> list[bool]:
                if not batch.asks:
                    return broker.enqueue(batch.messages)
                began = clock.monotonic()
                ended = batch.consult(backend)
                accepted = broker.enqueue(batch.left(ended))
                batch.confirm(backend, clock.monotonic() - began)
                return batch.answers(ended, accepted)

            new = self.insisting.insist(attempt, signatures, clock, stop)
        return batch.sent(new)

    async def send_async(
        self, signatures: Sequence[AnySignature], backend: Backend, clock: Clock, stop: threading.Event, lanes: Lanes
    ) -> list[Sent]:
        """As `send`, on an event loop, with a real clock; the broker is reached through `lanes`."""
        for signature in signatures:
            check(signature)
        if len(signatures) == 1 and self._joins_others(signatures[0]):
            parcel = lanes.join(signatures[0], self._made)

            def again() -> Awaitable[list[bool]]:
                return lanes.enqueue(parcel.messages) if parcel.answers.done() else parcel.answers

            new = await self.insisting.insist_async(again, signatures, clock, stop)
            return [Sent(parcel.signature, parcel.messages[0], new[0])]
        with tracing.send_span(signatures) as traced:
            if self.pre_publish_handler is None and len(signatures) <= _AT_ONCE:
                batch = self._batch(signatures, clock, traced=traced)
            else:  # what a handler does may block, and to encode many takes its time
                batch = await lanes.aside(functools.partial(self._batch, signatures, clock, traced=traced))

            def attempt() -> Awaitable[list[bool]]:
                asked = self._attempt_async(batch, backend, lanes, clock) if batch.asks else None
                return lanes.enqueue(batch.messages) if asked is None else asked

            new = await self.insisting.insist_async(attempt, signatures, clock, stop)
        return batch.sent(new)

    @staticmethod
    async def _attempt_async(batch: _Batch, backend: Backend, lanes: Lanes, clock: Clock) -> list[bool]:
        began = clock.monotonic()
        ended = await lanes.aside(lambda: batch.consult(backend))
        accepted = await lanes.enqueue(batch.left(ended))
        if (seconds := clock.monotonic() - began) >= batch.publish_timeout:
            await lanes.aside(lambda: batch.confirm(backend, seconds))
        return batch.answers(ended, accepted)

    def _joins_others(self, signature: AnySignature) -> bool:
        """Whether nothing is to be done for it but to enqueue it; if so, it has been sent from now on."""
        if signature.on_success or signature.on_error or self.pre_publish_handler is not None or tracing.is_recorded():
            return False
        with self._lock:
            fresh = signature.fresh
            if fresh:
                signature.sent()
        return fresh

    def _made(
        self, signatures: Sequence[AnySignature], *, traced: bool = False
    ) -> tuple[list[AnySignature], list[Message]]:
        """Calls as they are sent, and their messages."""
        prepared = [
            share_code(each, each.code) if each.on_success or each.on_error else each
            for each in self.prepared(signatures, traced=traced)
        ]
        return prepared, [self.message(signature) for signature in prepared]

    def _batch(self, signatures: Sequence[AnySignature], clock: Clock, *, traced: bool) -> _Batch:
        prepared, messages = self._made(signatures, traced=traced)
        later, old = waiting_callbacks(prepared, clock), self.old(signatures)
        return _Batch(prepared, messages, later, old, self._config.publish_timeout)

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """What calls are signed with."""
        return self._config.signing_keys

    def forked(self) -> None:
        """Begin anew in a child process: another thread of the parent may hold the lock for ever."""
        self._lock = threading.Lock()
        self.insisting.forked()

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
        if signature.on_success or signature.on_error:
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
    if signature.group_uuid or signature.group_task_count or signature.chord_callback or signature.spec:
        _check_place(signature, member_of)
    if signature.position is not None:
        _check_place(signature, member_of)
    if signature.on_success or signature.on_error:
        for callback in (*signature.on_success, *signature.on_error):
            check(callback)


def _check_place(signature: AnySignature, member_of: str) -> None:
    for name in _BY_WORKFLOWS:
        value = getattr(signature, name)
        if value and not (member_of and (value == member_of or name == "group_task_count")):
            raise InvalidSignature(f"{name} of task {signature.name} is set by workflows and schedules, not by hand")
