"""The part of the server that sends workflows and cancels."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from vecna.app.cancelling import Canceller, cancellation
from vecna.app.inspecting import Inspecting
from vecna.app.registry import Registry
from vecna.app.results import AsyncResult
from vecna.app.twins import blocking, twin
from vecna.app.workflow_handle import WorkflowResult
from vecna.app.workflow_results import ChainAsyncResult, ChordAsyncResult, GroupAsyncResult, handle
from vecna.app.workflow_sending import Workflow, WorkflowSending, check_workflow
from vecna.domain.cancellation import Cancellation
from vecna.domain.errors import BrokerUnavailable, InvalidArgument, UnknownTask
from vecna.domain.ids import check_id
from vecna.domain.plan import GroupMeta
from vecna.domain.signature import Signature
from vecna.domain.workflow import Chain, Chord, Group
from vecna.ports.plans import NodeState, NodeStatus

#: Cancelled messages that a cancel ends itself; the workers end what is left.
_ENDED_AT_ONCE: Final = 10_000
_BATCH: Final = 500


class WorkflowServer(Inspecting):
    """Sends groups, chords and chains; cancels them, and single tasks."""

    _workflows: WorkflowSending

    @property
    @abstractmethod
    def registry(self) -> Registry:
        """Its tasks."""

    # -- sending ---------------------------------------------------------------------------------------------------

    @blocking
    def send_group(self, group: Group, send_concurrency: int | None = 0) -> GroupAsyncResult:
        """Send a group: all of it, or nothing.

        Args:
            group: what to send.
            send_concurrency: batches of a large group in flight at a time; 0: all, None: the configured default.

        Returns:
            The handle: a sequence of its members' handles.

        Raises:
            InvalidArgument, InvalidSignature: some member cannot be sent; nothing was.
            BrokerUnavailable: the store could not be reached within `Config.send_timeout`; the same call may be
                repeated.
        """
        check_workflow(group, Group, "send_group")
        return self._send_workflow(group, send_concurrency)  # type: ignore[no-any-return]  # a group's handle

    @blocking
    def send_chord(self, chord: Chord, send_concurrency: int | None = 0) -> ChordAsyncResult:
        """Send a chord: its group, and what runs with the group's results when all members have succeeded.

        Args:
            chord: what to send.
            send_concurrency: as for `send_group`.

        Returns:
            The handle, whose result is the callback's.

        Raises:
            InvalidArgument, InvalidSignature, BrokerUnavailable: as for `send_group`.
        """
        check_workflow(chord, Chord, "send_chord")
        return self._send_workflow(chord, send_concurrency)  # type: ignore[no-any-return]  # a chord's handle

    @blocking
    def send_chain(self, chain: Chain) -> ChainAsyncResult:
        """Send a chain: each link runs when the one before has succeeded.

        Returns:
            The handle, whose result is the last link's.

        Raises:
            InvalidArgument, InvalidSignature, BrokerUnavailable: as for `send_group`.
        """
        check_workflow(chain, Chain, "send_chain")
        return self._send_workflow(chain, 0)  # type: ignore[no-any-return]  # a chain's handle

    send_group_async = twin(send_group)
    send_chord_async = twin(send_chord)
    send_chain_async = twin(send_chain)

    def _send_workflow(self, workflow: Workflow, send_concurrency: int | None) -> Any:
        here = self._here()
        sent = self._workflows.send(workflow, here.adapters, here.closing, send_concurrency=send_concurrency)
        return handle(self, workflow, sent.queues, sent.new, is_new=bool(sent.new))

    @blocking
    def group_result(self, group_uuid: str) -> GroupAsyncResult:
        """The handle of a group whose id is known from elsewhere.

        Raises:
            UnknownTask: there is no such group, or it has expired.
            InvalidArgument: that is no id. BrokerUnavailable: the backend cannot be reached.
        """
        node = self._group(group_uuid)
        members = [AsyncResult[Any](self, uuid) for uuid in self._pages(node.node.uuid, every=False)]
        return GroupAsyncResult(self, group_uuid, members, is_new=False)

    @blocking
    def get_group_meta(self, group_uuid: str) -> GroupMeta:
        """What is known of a group.

        Raises:
            UnknownTask, InvalidArgument, BrokerUnavailable: as for `group_result`.
        """
        found = self._group(group_uuid)
        tasks = tuple(self._pages(group_uuid, every=False))
        complete, over = found.status is NodeStatus.COMPLETE, found.status is not NodeStatus.OPEN
        return GroupMeta(group_uuid, tasks, complete and bool(found.node.outer), over, found.created_at)

    group_result_async = twin(group_result)
    get_group_meta_async = twin(get_group_meta)

    # -- cancelling ------------------------------------------------------------------------------------------------

    @blocking
    def cancel_delayed_task(self, *tasks: object) -> Cancellation:
        """Stop tasks: one that has not started never will, one that runs is told to stop and causes nothing more.

        Args:
            *tasks: ids, signatures, handles, or iterables of these.

        Returns:
            What became of each.

        Raises:
            InvalidArgument: none of these, or no id can be written so.
            BrokerUnavailable: the store cannot be reached; part of it may have been done, the call may be repeated.
        """
        return self.cancel_leaves(dict(self._named(tasks)))

    @blocking
    def cancel_delayed_group(self, *groups: object) -> Cancellation:
        """Stop groups, and the workflows around them: members, what follows, callbacks.

        Args:
            *groups: groups, handles, ids of groups or of their members, or iterables of these.

        Returns:
            What became of each task.

        Raises:
            InvalidArgument, BrokerUnavailable: as for `cancel_delayed_task`.
        """
        return self._cancel_workflows(groups)

    @blocking
    def cancel_delayed_chain(self, *chains: object) -> Cancellation:
        """Stop chains: the link whose turn it is, and all later ones. As `cancel_delayed_group`."""
        return self._cancel_workflows(chains)

    @blocking
    def cancel_delayed_chord(self, *chords: object) -> Cancellation:
        """Stop chords: members and callback. As `cancel_delayed_group`."""
        return self._cancel_workflows(chords)

    cancel_delayed_task_async = twin(cancel_delayed_task)
    cancel_delayed_group_async = twin(cancel_delayed_group)
    cancel_delayed_chain_async = twin(cancel_delayed_chain)
    cancel_delayed_chord_async = twin(cancel_delayed_chord)

    def cancel_leaves(self, queues: Mapping[str, str]) -> Cancellation:
        """Stop tasks by id; for each the queue that it was sent to, "" if unknown."""
        canceller = self._canceller()
        answer = canceller.tasks(queues)
        self._end(canceller.touched)
        return answer

    # -- inside ----------------------------------------------------------------------------------------------------

    def _cancel(self, what: object) -> Cancellation:
        """Stop the task with this id and all work with this code, whatever it is."""
        if isinstance(what, Signature | AsyncResult):
            what = what.uuid
        if not isinstance(what, str):
            return self._cancel_workflows([what])
        check_id(what, "id or code")
        canceller = self._canceller()
        (node,) = self.backend.get_nodes([what])
        leaves = self._pages(node.node.root, every=True) if node is not None else ()
        # First by id: what a task has caused until it is stopped shares its code, and is found by the walks after.
        by_id = canceller.tasks({**dict.fromkeys(leaves, ""), what: ""})
        by_code = canceller.code(what)
        self._end(canceller.touched)
        found = {uuid: kind for each in (by_id, by_code) for uuid, kind in kinds(each)}
        if by_code.canceled or by_code.running or len(found) > 1:
            found = {uuid: kind for uuid, kind in found.items() if uuid != what or kind != "unknown"}
        return cancellation(found, found)

    def _canceller(self) -> Canceller:
        return Canceller(self.lookup, self.clock.now())

    def _cancel_workflows(self, workflows: Iterable[object]) -> Cancellation:
        queues: dict[str, str] = {}
        for uuid, queue in self._named(workflows):
            queues.setdefault(uuid, queue)
            for leaf in self._leaves_of(uuid):
                queues.setdefault(leaf, "")
        # A group's or chain's own id is no task: what it stands for was found through it.
        nodes = self._nodes(list(queues))
        return self.cancel_leaves({uuid: queue for uuid, queue in queues.items() if uuid not in nodes})

    def _nodes(self, uuids: list[str]) -> dict[str, NodeState]:
        found: dict[str, NodeState] = {}
        for start in range(0, len(uuids), _BATCH):
            page = uuids[start : start + _BATCH]
            states = self.backend.get_nodes(page)
            found.update({uuid: state for uuid, state in zip(page, states, strict=True) if state is not None})
        return found

    def _leaves_of(self, uuid: str) -> Iterator[str]:
        """All tasks of the workflow that an id stands for: of a group or chain, or of a task in one."""
        (node,) = self.backend.get_nodes([uuid])
        if node is None:
            within = self.lookup.node_of(uuid)
            (node,) = self.backend.get_nodes([within]) if within else (None,)
        if node is not None:
            yield from self._pages(node.node.root, every=True)

    def _group(self, group_uuid: str) -> NodeState:
        (found,) = self.backend.get_nodes([check_id(group_uuid, "group id")])
        if found is None or found.node.is_chain:
            raise UnknownTask(
                f"no group {group_uuid} is known: it was never sent, or has expired (Config.results_expire_in)"
            )
        return found

    def _pages(self, node: str, *, every: bool) -> Iterator[str]:
        offset = 0
        while page := self.backend.get_tasks(node, every=every, offset=offset, limit=_BATCH):
            yield from page
            offset += len(page)

    def _end(self, queues: Iterable[str]) -> None:
        """Record the ends of what was cancelled, so that it shows and waiters wake though no worker may be there."""
        ender = self._ender()
        for queue in queues:
            ender(queue)

    def _ender(self) -> Callable[[str], None]:
        """Records the ends of what was stopped in a queue."""
        from vecna.app.delivery import Deliveries  # with what runs tasks: not for who only sends

        deliveries = Deliveries(self, "canceller")

        def end(queue: str) -> None:
            # The cancel itself is done; what cannot be recorded now, a worker records.
            with contextlib.suppress(BrokerUnavailable):
                for _ in range(_ENDED_AT_ONCE // _BATCH):
                    batch = deliveries.lease(queue, _BATCH, verdicts_only=True)
                    if not batch.items:
                        break
                    deliveries.finish(deliveries.admit(batch)[1])

        return end

    def _named(self, tasks: Iterable[object]) -> Iterable[tuple[str, str]]:
        """Ids and, as far as known, queues of what was given to a cancel."""
        for task in tasks:
            if isinstance(task, AsyncResult):
                yield task.uuid, task.queue
            elif isinstance(task, WorkflowResult):
                yield from self._named(task.leaves())
            elif isinstance(task, Signature):
                yield task.uuid, task.queue or self._config.default_queue
            elif isinstance(task, Group | Chord | Chain):
                yield from self._named(task.signatures())
            elif isinstance(task, str):
                yield check_id(task, "id"), ""
            elif isinstance(task, Iterable):
                yield from self._named(task)
            else:
                raise InvalidArgument(f"cancel takes ids, signatures or handles of results, not {type(task).__name__}")


def kinds(answer: Cancellation) -> Iterator[tuple[str, str]]:
    """What became of each id."""
    for kind in ("canceled", "running", "finished", "unknown"):
        for uuid in getattr(answer, kind):
            yield uuid, kind
