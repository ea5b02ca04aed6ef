"""Cancelling: what has not started never will, what runs is told to stop, and the answer is true.

In the broker a message is marked in one step. A later link or callback is not there yet: its end is recorded instead,
and whoever is handed its message later finds that end and does not run it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from vecna.app.lookup import Lookup
from vecna.app.relaying import carry_all
from vecna.app.stopping import mark, unmark
from vecna.domain.cancellation import Cancellation
from vecna.domain.errors import BrokerUnavailable, InvalidSignature
from vecna.domain.signature import Signature
from vecna.domain.state import State, TaskState
from vecna.ports.values import Canceling, Standing

#: A task may change its place between two looks: what was found nowhere is looked for once more.
_LOOKS: Final = 2
_PAGE: Final = 500
_KINDS: Final = ("canceled", "running", "finished", "unknown")
#: Times that all queues are walked for a code. What is found in a round may have caused what only the next one finds.
_ROUNDS: Final = 20
#: So many in a row that find nothing new end it. A task may end behind the walk and cause one before it, in a queue
#: that was looked at already, or in an outbox. That one may do so once more, if its end was on its way before the code
#: was marked; what it causes waits (`stopping`), and is found by the third.
_QUIET: Final = 3


class Canceller:
    """Stops tasks.

    Args:
        lookup: where they are looked for.
        now: for what is recorded.
    """

    def __init__(self, lookup: Lookup, now: dt.datetime) -> None:
        self._lookup = lookup
        self._broker = lookup.broker
        self._backend = lookup.backend
        self._now = now
        #: Queues that now hold messages to be ended.
        self.touched: set[str] = set()

    def tasks(self, queues: Mapping[str, str]) -> Cancellation:
        """Stop tasks by id.

        Args:
            queues: for each id the queue that it was sent to, "" if unknown.

        Raises:
            BrokerUnavailable: the store cannot be reached; the call may be repeated.
        """
        found: dict[str, str] = {}
        left = list(queues)
        for _ in range(_LOOKS):
            for start in range(0, len(left), _PAGE):
                found.update(self._cancel(left[start : start + _PAGE], queues))
            left = [uuid for uuid in left if uuid not in found]
        return cancellation(queues, found)

    def code(self, code: str) -> Cancellation:
        """Stop all work that shares a code, and all that this work would still cause.

        Raises:
            BrokerUnavailable: the store cannot be reached; the call may be repeated.
        """
        token = mark(self._backend, code, self._now)
        try:
            found = self._rounds(code)
        finally:
            with contextlib.suppress(BrokerUnavailable):
                unmark(self._backend, code, token)
        found.update(self._ended(found))
        return cancellation(found, found)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _rounds(self, code: str) -> dict[str, str]:
        """Walk through all queues, until nothing new is found."""
        found: dict[str, str] = {}
        quiet = 0
        for number in range(_ROUNDS):
            fresh = dict(self._round(code, found, backwards=number % 2 == 1))
            quiet = 0 if fresh else quiet + 1
            if quiet == _QUIET:
                break
            found.update(fresh)
            for uuids in _pages([uuid for root in self._roots(fresh) for uuid in self._every(root)]):
                missing = {uuid: "" for uuid in uuids if uuid not in found}
                found.update(self._cancel(list(missing), missing))
        return found

    def _round(self, code: str, known: Mapping[str, str], *, backwards: bool) -> Iterator[tuple[str, str]]:
        """One walk over all queues: what was not found before, and what has changed."""
        for queue in self._broker.queues():
            carry_all(partial(self._broker.relay, queue))
        for queue in sorted(self._broker.queues(), reverse=backwards):
            cursor = ""
            while True:
                page = self._broker.cancel_code(queue, code, cursor)
                if page.canceled or page.running:
                    self.touched.add(queue)
                yield from [(uuid, "canceled") for uuid in page.canceled if known.get(uuid) != "canceled"]
                yield from [(uuid, "running") for uuid in page.running if uuid not in known]
                cursor = page.cursor
                if not cursor:
                    break

    def _roots(self, uuids: Iterable[str]) -> list[str]:
        """The workflows that these tasks belong to."""
        nodes: dict[str, None] = {}
        for page in _pages(list(uuids)):
            for place in self._broker.locate(page):
                node = None if place is None else _node(place.body)
                if node:
                    nodes[node] = None
            for state in self._backend.get_states(page):
                if state is not None and state.node:
                    nodes[state.node] = None
        roots: dict[str, None] = {}
        for page in _pages(list(nodes)):
            roots.update({state.node.root: None for state in self._backend.get_nodes(page) if state is not None})
        return list(roots)

    def _every(self, root: str) -> Iterator[str]:
        offset = 0
        while page := self._backend.get_tasks(root, every=True, offset=offset, limit=_PAGE):
            yield from page
            offset += len(page)

    def _cancel(self, uuids: Sequence[str], queues: Mapping[str, str]) -> dict[str, str]:
        if not uuids:
            return {}
        found = self._cancel_messages(uuids, queues)
        found.update(self._ended(found))
        rest = [uuid for uuid in uuids if uuid not in found]
        if rest:
            states = self._backend.get_states(rest)
            later = []
            for uuid, state in zip(rest, states, strict=True):
                if state is not None and state.is_completed:
                    found[uuid] = _kind(state)
                elif state is not None and state.state is State.PENDING:
                    later.append(state)
            found.update(self._cancel_later(later, queues))
        return found

    def _ended(self, found: Mapping[str, str]) -> dict[str, str]:
        """Those whose end a worker has recorded, and not settled: it is about to, or has lost the lease or its life."""
        states = [state for page in _pages(list(found)) for state in self._backend.get_states(page)]
        # An end without a token was recorded by a cancel: it says nothing of a run that had begun before.
        return {
            state.task_uuid: _kind(state)
            for state in states
            if state is not None and state.is_completed and (state.token or not state.is_canceled)
        }

    def _cancel_messages(self, uuids: Sequence[str], queues: Mapping[str, str]) -> dict[str, str]:
        """Stop what is in the broker."""
        found: dict[str, str] = {}
        by_queue: dict[str, list[str]] = {}
        for uuid, place in self._lookup.places(uuids, queues).items():
            if place is not None and place.standing is Standing.DEAD:
                found[uuid] = "finished"
            elif place is not None:
                by_queue.setdefault(place.queue, []).append(uuid)
        for queue, ids in by_queue.items():
            for uuid, answer in zip(ids, self._broker.cancel(queue, ids), strict=True):
                if answer is not Canceling.UNKNOWN:
                    found[uuid] = "canceled" if answer is Canceling.CANCELED else "running"
                    self.touched.add(queue)
        return found

    def _cancel_later(self, states: Sequence[TaskState], queues: Mapping[str, str]) -> dict[str, str]:
        """Record the end of what has not been enqueued yet."""
        if not states:
            return {}
        ends = [state.advance(State.CANCELED, error="canceled", finished_at=self._now) for state in states]
        recorded = {state.task_uuid: state for state in self._backend.put_states(ends)}
        found = {uuid: _kind(state) for uuid, state in recorded.items()}
        # It may have been enqueued, and even leased, before its end was recorded. Then the broker has the last word.
        canceled = [uuid for uuid, kind in found.items() if kind == "canceled"]
        found.update(self._cancel_messages(canceled, queues))
        return found


def cancellation(asked: Iterable[str], found: Mapping[str, str]) -> Cancellation:
    """The answer: what was asked for, by what became of it."""
    asked = list(asked)
    return Cancellation(
        **{kind: tuple([uuid for uuid in asked if found.get(uuid, "unknown") == kind]) for kind in _KINDS}
    )


def _kind(state: TaskState) -> str:
    return "canceled" if state.is_canceled else "finished"


def _node(body: bytes) -> str:
    try:
        position = Signature.from_json(body).position
    except InvalidSignature:
        return ""
    return position.node if position is not None else ""


def _pages(items: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(items), _PAGE):
        yield list(items[start : start + _PAGE])
