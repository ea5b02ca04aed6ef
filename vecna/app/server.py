"""The server: registers tasks, sends them, and knows what became of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from vecna.app.config import Config
from vecna.app.operating import OperatingServer
from vecna.app.registry import Registering, Registry
from vecna.app.results import AsyncResult
from vecna.app.schedule_handles import Schedule
from vecna.app.sending import PrePublishHandler, Sending, Sent
from vecna.app.twins import blocking
from vecna.app.when import When
from vecna.app.workflow_sending import WorkflowSending
from vecna.domain.errors import InvalidArgument, InvalidSignature
from vecna.domain.ids import check_id
from vecna.domain.signature import Signature
from vecna.ports.clock import Clock
from vecna.ports.values import Adapters

if TYPE_CHECKING:
    from vecna.app.group import WorkerGroup
    from vecna.app.worker import Worker

T = TypeVar("T")


class Server(Registering, OperatingServer):
    """Registers tasks, sends them, and makes workers that run them. Opens nothing until it is first used.

    Args:
        config: settings.
        connect: makes the ports; called once in each process, when they are first needed.
    """

    def __init__(self, config: Config, connect: Callable[[], Adapters]) -> None:
        super().__init__(config, connect)
        self._registry = Registry(_TaskSender(self))
        self._sending = Sending(config, self._registry, self.random)
        self._workflows = WorkflowSending(config, self._sending)

    def __repr__(self) -> str:
        return f"<Server {self._config.namespace} with {len(self._registry.names())} tasks>"

    @property
    def registry(self) -> Registry:
        """Its tasks."""
        return self._registry

    # -- sending ---------------------------------------------------------------------------------------------------

    @blocking
    def send_task(self, signature: Signature[T]) -> AsyncResult[T]:
        """Send one call. A uuid that broker or backend knows is not sent again.

        Returns:
            The handle of its result; `is_new` says whether this started it.

        Raises:
            InvalidArgument: the message is larger than `Config.max_message_size`.
            InvalidSignature: it is none, or carries what only workflows and schedules set.
            BrokerUnavailable: the store could not be reached within `Config.send_timeout`.
        """
        return self._send([signature])[0]

    @blocking
    def send_tasks(self, signatures: Iterable[Signature[T]]) -> list[AsyncResult[T]]:
        """Send several calls in one round trip. All are checked before any is sent.

        Returns:
            Their handles, in order.

        Raises:
            InvalidArgument, InvalidSignature: one of them cannot be sent; none was.
            BrokerUnavailable: the store could not be reached within `Config.send_timeout`. Its `.signatures` may have
                been accepted; sent again unchanged, none runs twice.
        """
        batch = _batch_of(signatures)
        return self._send(batch) if batch else []

    async def send_task_async(self, signature: Signature[T]) -> AsyncResult[T]:
        """As `send_task`, without blocking the event loop. What is sent at the same time shares its round trips.

        An await that is cancelled may or may not have sent it; to send the same signature again is harmless.
        """
        return (await self._send_on_loop([signature]))[0]

    async def send_tasks_async(self, signatures: Iterable[Signature[T]]) -> list[AsyncResult[T]]:
        """As `send_tasks`, without blocking the event loop; if the await is cancelled, as for `send_task_async`."""
        batch = _batch_of(signatures)
        return await self._send_on_loop(batch) if batch else []

    def set_pre_publish_handler(self, handler: PrePublishHandler | None) -> None:
        """Have a function see each signature before it is sent, in the sending process.

        Args:
            handler: takes the signature, with the options that the registration fills in; returns None to send it as
                it is, or another one with the same uuid to send that instead. What it raises, the send raises, and
                nothing is sent. None: no handler.
        """
        if handler is not None and not callable(handler):
            raise InvalidArgument(f"set_pre_publish_handler takes a function or None, not {type(handler).__name__}")
        self._sending.pre_publish_handler = handler

    # -- results ---------------------------------------------------------------------------

    def result(self, uuid: str) -> AsyncResult[Any]:
        """The handle for an id that is known from elsewhere. Asks nobody.

        Raises:
            InvalidArgument: that is no id.
        """
        return AsyncResult(self, check_id(uuid, "task id"))

    # -- workers ---------------------------------------------------------------------------------------------------

    def new_worker(self, name: str, concurrency: int = 0, queues: Sequence[str] | None = None) -> Worker:
        """A worker for the tasks registered here, also those registered later.

        Args:
            name: how states, logs and listings call it.
            concurrency: how many tasks it runs at a time; 0: any number of coroutines, up to `Config.max_threads`
                functions.
            queues: what it serves, in turn; the default queue if left out.

        Raises:
            InvalidArgument: a name, number or queue that is not allowed.
        """
        from vecna.app.worker import Worker

        return Worker(self, name, concurrency, queues)

    def new_custom_queue_worker(self, name: str, concurrency: int, queue: str) -> Worker:
        """A worker that serves one queue; see `new_worker`."""
        return self.new_worker(name, concurrency, [queue])

    def new_worker_group(
        self,
        name: str,
        processes: int,
        concurrency: int = 0,
        queues: Sequence[str] | None = None,
        *,
        target: str,
        log_level: str = "info",
    ) -> WorkerGroup:
        """Workers in processes of their own, with a supervisor in this one; `vecna worker --processes N`.

        Args:
            name: of the group; its workers are called `name.1`, `name.2` and so on.
            processes: how many.
            concurrency: how many tasks each of them runs at a time; 0: as in `new_worker`.
            queues: what they serve, in turn; the default queue if left out.
            target: `module:name`, where a child finds this server; the current directory is importable.
            log_level: of the children, where the module does not configure logging itself.

        Raises:
            InvalidArgument: a name, number or queue that is not allowed.
            ConfigError: what this server is wired with exists in this process only (`memory://`).
        """
        from vecna.app.group import WorkerGroup

        return WorkerGroup(self, name, processes, concurrency, queues, target=target, log_level=log_level)

    @property
    def within_process(self) -> bool:
        """Whether what it is wired with exists in this process only, and no worker in another one can serve it."""
        return False

    # -- inside ----------------------------------------------------------------------------------------------------

    def _forked(self) -> None:
        super()._forked()
        self._sending.forked()

    def _send(self, signatures: Sequence[Signature[T]]) -> list[AsyncResult[T]]:
        here = self._here()
        ports = here.adapters
        sent = self._sending.send(signatures, ports.broker, ports.backend, ports.clock, here.closing)
        return self._handles(sent)

    async def _send_on_loop(self, signatures: Sequence[Signature[T]]) -> list[AsyncResult[T]]:
        here = self._here()
        ports = here.adapters
        if ports.clock.virtual:  # one step after the other, in the order of their begin
            return await here.pool.run(lambda: self._send(signatures))
        sent = await self._sending.send_async(signatures, ports.backend, ports.clock, here.closing, here.lanes)
        return self._handles(sent)

    def _handles(self, sent: Iterable[Sent]) -> list[AsyncResult[Any]]:
        return [
            AsyncResult(self, each.message.uuid, each.signature, is_new=each.is_new, queue=each.message.queue)
            for each in sent
        ]


def _batch_of(signatures: Iterable[Signature[T]]) -> list[Signature[T]]:
    if isinstance(signatures, Signature) or not isinstance(signatures, Iterable):
        raise InvalidSignature(f"send_tasks takes a list of signatures, not a {type(signatures).__name__}")
    return list(signatures)


class _TaskSender:
    """Sends what `Task.send` makes."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def send_task(self, signature: Signature[T]) -> AsyncResult[T]:
        return self._server._send([signature])[0]  # noqa: SLF001  # a part of the server

    def send_task_async(self, signature: Signature[T]) -> Coroutine[Any, Any, AsyncResult[T]]:
        return self._server.send_task_async(signature)

    def store_schedule(self, when: When, signature: Signature[Any]) -> Schedule:
        return self._server._send_periodic("task", when, signature)  # noqa: SLF001  # a part of the server

    async def store_schedule_async(self, when: When, signature: Signature[Any]) -> Schedule:
        return await self._server.pool.run(lambda: self.store_schedule(when, signature))

    @property
    def clock(self) -> Clock:
        return self._server.clock
