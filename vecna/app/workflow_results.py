"""Handles of groups, chords and chains."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from vecna.app.results import AsyncResult, ResultSource
from vecna.app.twins import blocking, twin
from vecna.app.waiting import News
from vecna.app.workflow_handle import WorkflowResult
from vecna.domain.errors import VecnaError
from vecna.domain.signature import Signature
from vecna.domain.state import State, TaskState
from vecna.domain.workflow import Chord, Group, Link


class GroupAsyncResult(WorkflowResult, Sequence[Any]):
    """The handle of a group: a sequence of its members' handles."""

    def __init__(self, source: ResultSource, group_uuid: str, members: Sequence[Any], *, is_new: bool) -> None:
        super().__init__(source, is_new=is_new)
        self.group_uuid = group_uuid
        self._members = tuple(members)

    def __repr__(self) -> str:
        return f"<GroupAsyncResult {self.group_uuid} of {len(self)}>"

    def __len__(self) -> int:
        return len(self._members)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._members[index]

    @property
    def uuid(self) -> str:
        """The group's id."""
        return self.group_uuid

    def leaves(self) -> Iterator[AsyncResult[Any]]:
        """The handles of all tasks in it, in order."""
        return _leaves(self._members)

    def finals(self) -> Iterator[AsyncResult[Any]]:
        """The handles of the tasks whose results it gives."""
        return _finals(self._members)

    def value(self, news: Mapping[str, News]) -> list[Any]:
        """One item per member."""
        return [member.value(news) for member in self._members]

    @blocking
    def get(
        self,
        timeout: dt.timedelta | float | None = None,
        return_exceptions: bool = False,  # as asyncio.gather has it
    ) -> list[Any]:
        """Wait for all members and return a list with one item per member.

        Args:
            timeout: how long to wait, a timedelta or seconds; None: as long as it takes.
            return_exceptions: wait for every member, and put the error of one that went wrong in its place.

        Raises:
            TaskFailed, TaskCanceled: as soon as a member has ended so; it is named.
            ResultTimeout, UnknownTask, BrokerUnavailable, RuntimeError: as for a single task.
        """
        news = self._wait(timeout, tolerant=return_exceptions)
        return self._tolerant(news) if return_exceptions else self.value(news)

    async def get_async(
        self,
        timeout: dt.timedelta | float | None = None,  # noqa: ASYNC109  # the documented name
        return_exceptions: bool = False,  # as asyncio.gather has it
    ) -> list[Any]:
        """As `get`, without blocking the event loop."""
        news = await self._wait_async(timeout, tolerant=return_exceptions)
        return await self._pool.run(lambda: self._tolerant(news)) if return_exceptions else self.value(news)

    def _tolerant(self, news: Mapping[str, News]) -> list[Any]:
        values: list[Any] = []
        for member in self._members:
            try:
                values.append(member.value(news))
            except VecnaError as exc:
                values.append(self._cause(member) or exc)
        return values

    def _cause(self, member: Any) -> VecnaError | None:
        """Why a member that is a workflow itself went wrong: its last task may have suffered from another one."""
        if isinstance(member, WorkflowResult):
            try:
                member.touch()
            except VecnaError as exc:
                return exc
        return None

    @property
    @blocking
    def completed(self) -> int:
        """How many of its members have succeeded, of `len(group)`. Asks the store."""
        states = self._states(self.leaves())
        return sum(all(states[each.uuid].is_success for each in _finals([member])) for member in self._members)

    async def completed_async(self) -> int:
        """As `completed`, without blocking the event loop."""
        return await self._pool.run(lambda: self.completed)

    @blocking
    def get_state(self) -> TaskState:
        """The state of the whole: SUCCESS when all have succeeded, FAILURE or CANCELED as soon as one has ended so.

        Raises:
            UnknownTask: a member is not known (any more). BrokerUnavailable: the store cannot be reached.
        """
        states = list(self._states(self.leaves()).values())
        for wrong in (State.FAILURE, State.CANCELED):
            for state in states:
                if state.state is wrong:
                    error = f"task {state.task_uuid} ({state.task_name}): {state.error}"
                    return TaskState(task_uuid=self.uuid, state=wrong, error=error, finished_at=state.finished_at)
        done = sum(state.is_success for state in states)
        whole = State.SUCCESS if done == len(states) else State.PENDING
        if whole is State.PENDING and any(state.state is not State.PENDING for state in states):
            whole = State.STARTED
        return TaskState(task_uuid=self.uuid, state=whole, progress=(done, len(states)))

    get_state_async = twin(get_state)


class _EndsInOne(WorkflowResult):
    """A chord or chain: its result is that of its last part."""

    _last: Any

    @property
    def uuid(self) -> str:
        """The id of the last task."""
        return self._last.uuid  # type: ignore[no-any-return]  # a handle

    def finals(self) -> Iterator[AsyncResult[Any]]:
        """The handles of the tasks whose results it gives."""
        return _finals([self._last])

    def value(self, news: Mapping[str, News]) -> Any:
        """What its last part returns."""
        return self._last.value(news)

    @blocking
    def get_state(self) -> TaskState:
        """The state of its last part.

        Raises:
            UnknownTask: it is not known (any more). BrokerUnavailable: the store cannot be reached.
        """
        return self._last.get_state()  # type: ignore[no-any-return]  # a handle

    get_state_async = twin(get_state)


class ChordAsyncResult(_EndsInOne):
    """The handle of a chord: its result is the callback's.

    Attributes:
        group: the handle of its group.
        callback: the handle of its callback.
    """

    def __init__(self, source: ResultSource, group: GroupAsyncResult, callback: Any, *, is_new: bool) -> None:
        super().__init__(source, is_new=is_new)
        self.group = group
        self.callback = self._last = callback

    def __repr__(self) -> str:
        return f"<ChordAsyncResult {self.uuid} after {len(self.group)}>"

    def leaves(self) -> Iterator[AsyncResult[Any]]:
        """The handles of all tasks in it, in order."""
        return _leaves([self.group, self.callback])


class ChainAsyncResult(_EndsInOne):
    """The handle of a chain: its result is the last link's.

    Attributes:
        links: the handles of its links.
    """

    def __init__(self, source: ResultSource, links: Sequence[Any], *, is_new: bool) -> None:
        super().__init__(source, is_new=is_new)
        self.links = tuple(links)
        self._last = self.links[-1]

    def __repr__(self) -> str:
        return f"<ChainAsyncResult {self.uuid} of {len(self.links)}>"

    def leaves(self) -> Iterator[AsyncResult[Any]]:
        """The handles of all tasks in it, in order."""
        return _leaves(self.links)


def handle(source: ResultSource, link: Link, queues: Mapping[str, str], new: frozenset[str], *, is_new: bool) -> Any:
    """The handle of a link as it was sent.

    Args:
        source: the server.
        link: what was sent.
        queues: of what began at once, by task id.
        new: ids of tasks that this sending started.
        is_new: whether this sending started the whole.
    """
    if isinstance(link, Signature):
        started = link.uuid in new or (is_new and link.uuid not in queues)
        return AsyncResult(source, link.uuid, link, is_new=started, queue=queues.get(link.uuid, ""))
    parts = [handle(source, part, queues, new, is_new=is_new) for part in link.tasks]
    if isinstance(link, Group):
        return GroupAsyncResult(source, link.group_uuid, parts, is_new=is_new)
    if isinstance(link, Chord):
        return ChordAsyncResult(source, parts[0], parts[1], is_new=is_new)
    return ChainAsyncResult(source, parts, is_new=is_new)


def _leaves(parts: Iterable[Any]) -> Iterator[AsyncResult[Any]]:
    for part in parts:
        if isinstance(part, AsyncResult):
            yield part
        else:
            yield from part.leaves()


def _finals(parts: Iterable[Any]) -> Iterator[AsyncResult[Any]]:
    for part in parts:
        if isinstance(part, AsyncResult):
            yield part
        else:
            yield from part.finals()
