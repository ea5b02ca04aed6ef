"""Spans for sending and running, and the trace context that travels in the headers of a signature (W3C).

Nothing is done, and OpenTelemetry not even imported, in a program that has not set it up. No arguments and no texts of
errors are put on spans. What samplers, span processors and providers raise is logged once and hinders nobody.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from vecna import log
from vecna.domain.signature import Signature

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

T = TypeVar("T")


class RunSpan:
    """The span of a run, as far as the worker speaks to it; one that records nothing if there is no tracing."""

    def __init__(self, span: Span | None = None) -> None:
        self._span = span

    def failed(self, error_type: str) -> None:
        """Note that the run ended with an error of this class."""
        if self._span is not None:
            from opentelemetry.trace import StatusCode

            try:
                self._span.set_attribute("error.type", error_type)
                self._span.set_status(StatusCode.ERROR, error_type)
            except Exception as exc:  # noqa: BLE001  # whatever tracing raises
                _complain(exc)


class _Tolerant(contextlib.AbstractContextManager[T], Generic[T]):
    """As another, but what that one raises itself changes nothing.

    Args:
        spanning: begins and ends a span.
        otherwise: what stands for the span if there is none.
    """

    def __init__(self, spanning: contextlib.AbstractContextManager[T], otherwise: T) -> None:
        self._spanning = spanning
        self._otherwise = otherwise
        self._is_open = False

    def __enter__(self) -> T:
        try:
            span = self._spanning.__enter__()
        except Exception as exc:  # noqa: BLE001  # whatever tracing raises
            _complain(exc)
            return self._otherwise
        self._is_open = True
        return span

    def __exit__(
        self, kind: type[BaseException] | None, passing: BaseException | None, frames: TracebackType | None
    ) -> None:
        if self._is_open:
            try:
                self._spanning.__exit__(kind, passing, frames)
            except Exception as exc:  # noqa: BLE001  # whatever tracing raises
                if exc is not passing:
                    _complain(exc)


_SILENT: Final = RunSpan()
_NO_SPAN: Final = contextlib.nullcontext(_SILENT)
#: Classes of errors that tracing has raised, and that were logged.
_complained: Final[set[type[Exception]]] = set()


def _complain(exc: Exception) -> None:
    if type(exc) not in _complained:
        _complained.add(type(exc))
        log.error(
            f"tracing has raised {type(exc).__name__}: spans are missing, tasks are not affected; this is said once",
            exc_info=exc,
        )


#: Whether the environment names a provider, to be made when it is first asked for.
_IS_CONFIGURED: Final = "OTEL_PYTHON_TRACER_PROVIDER" in os.environ
_NOT_RECORDED = contextlib.nullcontext(False)


def _tracer() -> Tracer | None:
    """The tracer of vecna; None if nobody records spans."""
    trace: Any = sys.modules.get("opentelemetry.trace")  # who records has imported it
    if trace is None:
        return None
    if getattr(trace, "_TRACER_PROVIDER", trace) is None and not _IS_CONFIGURED:
        return None  # nobody has set one: what the next call finds out too, for a tenth of what a send costs
    try:
        provider = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
            return None
        return trace.get_tracer("vecna")  # type: ignore[no-any-return]  # the module is looked up by name
    except Exception as exc:  # noqa: BLE001  # whatever tracing raises
        _complain(exc)
        return None


def is_recorded() -> bool:
    """Whether spans are recorded. To find out costs as much as all else of a short run: ask seldom."""
    return _tracer() is not None


def inject(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """The headers with the trace context of the current span; the same object if there is none."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None or not trace.get_current_span().get_span_context().is_valid:
        return headers
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return {**headers, **carrier}


def send_span(signatures: Sequence[Signature[Any]]) -> contextlib.AbstractContextManager[bool]:
    """The span of one call of send, current inside; true if it is recorded, so that its context should travel."""
    tracer = _tracer()
    return _NOT_RECORDED if tracer is None else _Tolerant(_send_span(tracer, signatures), False)


@contextlib.contextmanager
def _send_span(tracer: Tracer, signatures: Sequence[Signature[Any]]) -> Iterator[bool]:
    from opentelemetry.trace import SpanKind

    only = signatures[0] if len(signatures) == 1 else None
    attributes: dict[str, Any] = {"messaging.system": "vecna", "messaging.operation.type": "send"}
    if only is None:
        attributes["messaging.batch.message_count"] = len(signatures)
    else:
        attributes["messaging.message.id"] = only.uuid
        attributes["vecna.task.name"] = only.name
    with tracer.start_as_current_span(
        f"send {only.name}" if only else "send", kind=SpanKind.PRODUCER, attributes=attributes,
        record_exception=False, set_status_on_exception=False,
    ) as span:  # fmt: skip
        run = RunSpan(span)
        with _noting(run):
            yield True


def process_span(
    signature: Signature[Any], *, queue: str, worker: str, attempt: int
) -> contextlib.AbstractContextManager[RunSpan]:
    """The span of one run, current inside, a child of the span that sent the task.

    An exception that passes is noted by its class and goes on; a caller that keeps it calls `failed`.

    Args:
        signature: the call that runs.
        queue: where it was leased from.
        worker: name of the worker.
        attempt: which run this is, from 1.
    """
    tracer = _tracer()
    if tracer is None:
        return _NO_SPAN
    return _Tolerant(_process_span(tracer, signature, queue, worker, attempt), _SILENT)


@contextlib.contextmanager
def _process_span(
    tracer: Tracer, signature: Signature[Any], queue: str, worker: str, attempt: int
) -> Iterator[RunSpan]:
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    texts = {name: value for name, value in signature.headers.items() if isinstance(value, str)}
    with tracer.start_as_current_span(
        f"process {signature.name}",
        context=TraceContextTextMapPropagator().extract(texts),
        kind=SpanKind.CONSUMER,
        attributes={
            "messaging.system": "vecna",
            "messaging.operation.type": "process",
            "messaging.destination.name": queue,
            "messaging.message.id": signature.uuid,
            "vecna.task.name": signature.name,
            "vecna.task.attempt": attempt,
            "vecna.worker": worker,
        },
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        run = RunSpan(span)
        with _noting(run):
            yield run


@contextlib.contextmanager
def _noting(run: RunSpan) -> Iterator[None]:
    try:
        yield
    except BaseException as exc:
        run.failed(f"{type(exc).__module__}.{type(exc).__qualname__}".removeprefix("builtins."))
        raise
