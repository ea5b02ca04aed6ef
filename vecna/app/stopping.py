"""Codes that are being cancelled. What work under them causes meanwhile waits a little, so that the canceller finds it.

A cancel by code walks from queue to queue. A task may end behind it and cause the next one before it, and so on: a
chain of short tasks could pass the walk by for ever. So the code is marked first, by a record in the backend: whoever
finishes tasks looks for it, and sends what follows with a delay. Nothing is lost if the canceller dies: what it has not
found goes on, only later, and the mark expires.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from typing import Final

import attrs

from vecna.domain.ids import new_id
from vecna.domain.message import Message
from vecna.domain.state import State, TaskState
from vecna.ports.backend import Backend

#: How long what follows waits: longer than a walk through all queues.
DELAY: Final = dt.timedelta(seconds=30)
#: How long a mark counts that nobody takes away.
_LASTS: Final = dt.timedelta(minutes=5)


def mark(backend: Backend, code: str, now: dt.datetime) -> str:
    """Mark a code as being cancelled; a token for `unmark`.

    Raises:
        BrokerUnavailable: the backend cannot be reached.
    """
    own, token = _id(code), new_id()
    backend.forget([own])  # one that a canceller which died has left is older
    backend.put_states([TaskState(task_uuid=own, state=State.CANCELED, finished_at=now, worker=token)])
    backend.release([own], _LASTS)
    return token


def unmark(backend: Backend, code: str, token: str) -> None:
    """Take a mark away, unless another canceller has made one since.

    Raises:
        BrokerUnavailable: the backend cannot be reached; then it expires.
    """
    state = backend.get_state(_id(code))
    if state is not None and state.worker == token:
        backend.forget([_id(code)])


def marked(backend: Backend, codes: Iterable[str], now: dt.datetime) -> set[str]:
    """Those codes that are being cancelled.

    Raises:
        BrokerUnavailable: the backend cannot be reached.
    """
    asked = sorted(set(codes))
    states = backend.get_states([_id(code) for code in asked]) if asked else ()
    return {
        code
        for code, state in zip(asked, states, strict=True)
        if state is not None and state.finished_at is not None and now - state.finished_at < _LASTS
    }


def slowed(messages: Iterable[Message], codes: set[str]) -> tuple[Message, ...]:
    """The messages, those under these codes with a delay."""
    return tuple(
        [
            attrs.evolve(message, delay=max(message.delay or DELAY, DELAY)) if message.code in codes else message
            for message in messages
        ]
    )


def _id(code: str) -> str:
    # A code may be as long as an id, so its mark has an id of its own.
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"vecna:canceled:{code}"))
