import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, StatusCode

from tests.unit.app.doubles import FlakyBroker, logged, server_with
from tests.unit.app.worker.wiring import TestWiring, step
from vecna.app import tracing
from vecna.bootstrap import Server
from vecna.domain.errors import BrokerUnavailable, InvalidArgument
from vecna.domain.signature import Signature

SECRET = "s3cr3t"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What is recorded meanwhile; the provider is put in place for this test only."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def finished(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def run(signature: Signature, **more: Any) -> Any:
    return tracing.process_span(signature, **{"queue": "q", "worker": "w1", "attempt": 1, **more})


def test_a_send_and_its_runs_are_one_trace(spans: InMemorySpanExporter) -> None:
    server = Server("memory://")
    handle = server.send_task(Signature("add", [SECRET], kwargs={"k": SECRET}, queue="math"))
    (message,) = server.get_pending_tasks("math")

    for attempt in (1, 2):
        with run(message, attempt=attempt) as span:
            assert trace.get_current_span().get_span_context().is_valid
            if attempt == 1:
                span.failed("ValueError")

    sent, first, second = spans.get_finished_spans()
    assert (sent.name, sent.kind) == ("send add", SpanKind.PRODUCER)
    assert (first.name, first.kind) == ("process add", SpanKind.CONSUMER)
    assert first.parent is not None
    assert second.parent is not None
    assert {first.parent.span_id, second.parent.span_id} == {sent.context.span_id}
    assert {first.context.trace_id, second.context.trace_id} == {sent.context.trace_id}
    assert dict(sent.attributes or {}) == {
        "messaging.system": "vecna", "messaging.operation.type": "send", "messaging.message.id": handle.uuid,
        "vecna.task.name": "add",
    }  # fmt: skip
    assert dict(second.attributes or {}) == {
        "messaging.system": "vecna", "messaging.operation.type": "process", "messaging.message.id": handle.uuid,
        "messaging.destination.name": "q", "vecna.task.name": "add", "vecna.task.attempt": 2, "vecna.worker": "w1",
    }  # fmt: skip
    assert (first.status.status_code, first.status.description) == (StatusCode.ERROR, "ValueError")
    assert second.status.status_code is StatusCode.UNSET
    assert not any(SECRET in span.to_json() for span in (sent, first, second))


def test_the_context_travels_in_w3c_headers_beside_those_of_the_user(spans: InMemorySpanExporter) -> None:
    server = Server("memory://")
    signature = Signature("a", headers={"tenant": 5}, on_success=Signature("b"))

    server.send_task(signature)

    (message,) = server.get_pending_tasks()
    (sent,) = spans.get_finished_spans()
    expected = f"00-{sent.context.trace_id:032x}-{sent.context.span_id:016x}-{sent.context.trace_flags:02x}"
    assert message.headers == {"tenant": 5, "traceparent": expected}
    assert message.on_success[0].headers == {"traceparent": expected}
    assert signature.headers == {"tenant": 5}


def test_a_send_belongs_to_the_span_around_it(spans: InMemorySpanExporter) -> None:
    server = Server("memory://")
    task = server.register_task("add", lambda: None)
    tracer = trace.get_tracer("test")

    with tracer.start_as_current_span("request"):
        task.send()
        server.send_tasks([Signature("a"), Signature("b")])
        asyncio.run(task.send_async())

    *sends, request = spans.get_finished_spans()
    assert [span.name for span in sends] == ["send add", "send", "send add"]
    assert {span.parent.span_id for span in sends if span.parent} == {request.context.span_id}
    assert (sends[1].attributes or {})["messaging.batch.message_count"] == 2


def test_a_task_that_sends_goes_on_with_the_trace(spans: InMemorySpanExporter) -> None:
    server = Server("memory://")
    server.send_task(Signature("outer"))
    (outer,) = server.get_pending_tasks()

    with run(outer):
        server.send_task(Signature("inner"))

    found = finished(spans)
    assert found["send inner"].parent is not None
    assert found["send inner"].parent.span_id == found["process outer"].context.span_id
    assert len({span.context.trace_id for span in found.values()}) == 1


def test_an_error_that_passes_is_noted_by_its_class_only(spans: InMemorySpanExporter) -> None:
    server = server_with(broker=FlakyBroker(1000), send_timeout=0.01)

    with pytest.raises(KeyError), run(Signature("a")):
        raise KeyError(SECRET)
    with logged(), pytest.raises(BrokerUnavailable):
        server.send_task(Signature("b"))
    with pytest.raises(InvalidArgument):
        server.send_task(Signature("c", ["x" * 300_000]))

    found = finished(spans)
    assert found["process a"].status.description == "KeyError"
    assert (found["process a"].attributes or {})["error.type"] == "KeyError"
    assert found["send b"].status.description == "vecna.domain.errors.BrokerUnavailable"
    assert found["send c"].status.description == "vecna.domain.errors.InvalidArgument"
    assert all(span.events == () for span in found.values())


@pytest.mark.parametrize(
    "headers", [{}, {"traceparent": "nonsense"}, {"traceparent": 5}, {"traceparent": None, "tracestate": ["x"]}]
)
def test_a_run_without_a_readable_context_begins_a_trace(spans: InMemorySpanExporter, headers: Any) -> None:
    with run(Signature("a", headers=headers)):
        pass

    (span,) = spans.get_finished_spans()
    assert span.parent is None


class Broken(Sampler, SpanProcessor):
    """Raises where it is told to."""

    def __init__(self, where: str) -> None:
        self.where = where

    def provider(self) -> TracerProvider:
        provider = TracerProvider(sampler=self, shutdown_on_exit=False)
        provider.add_span_processor(self)
        if self.where == "tracer":
            provider.get_tracer = lambda *_, **__: self._break("tracer")  # type: ignore[method-assign]  # that is the fault
        return provider

    def _break(self, where: str) -> Any:
        if where == self.where:
            raise RuntimeError(f"broken at {where}")

    def should_sample(self, *args: Any, **more: Any) -> SamplingResult:
        self._break("sampler")
        return ALWAYS_ON.should_sample(*args, **more)

    def get_description(self) -> str:
        return "broken"

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self._break("start")
        if self.where == "attribute":
            span.set_attribute = lambda *_: self._break("attribute")

    def on_end(self, span: Any) -> None:
        self._break("end")


@pytest.mark.parametrize("where", ["tracer", "sampler", "start", "attribute", "end"])
def test_broken_tracing_changes_nothing_and_is_said_once(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", Broken(where).provider())
    monkeypatch.setattr(tracing, "_complained", set())
    server = Server("memory://")

    with logged() as lines:
        for _ in range(3):
            server.send_task(Signature("a"))
            with run(Signature("a")) as span:
                span.failed("ValueError")
            with pytest.raises(KeyError), run(Signature("a")):
                raise KeyError(SECRET)
            assert tracing.is_recorded() is (where != "tracer")

    assert len(server.get_pending_tasks()) == 3
    (line,) = lines.of("error")
    assert line.startswith("tracing has raised RuntimeError")


def test_a_result_outlives_broken_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", Broken("end").provider())
    wiring = TestWiring.make()
    wiring.registry.add("seven", lambda: 7, {})
    wiring.send(Signature("seven", uuid="t1"))

    step(wiring.deliveries())

    assert wiring.state("t1").value() == 7


def test_without_a_provider_nothing_is_done() -> None:
    server = Server("memory://")
    signature = Signature("a", headers={"traceparent": "kept"})

    server.send_task(signature)
    with run(signature) as span:
        span.failed("ValueError")
        assert not trace.get_current_span().get_span_context().is_valid

    (message,) = server.get_pending_tasks()
    assert message.headers == {"traceparent": "kept"}
    headers = {"a": 1}
    assert tracing.inject(headers) is headers


@pytest.mark.slow
def test_a_program_without_opentelemetry_does_not_import_it() -> None:
    program = (
        "import sys, vecna\n"
        "server = vecna.Server('memory://')\n"
        "server.register_task('add', lambda a: a).send(1)\n"
        "from vecna.app.tracing import process_span\n"
        "with process_span(server.get_pending_tasks()[0], queue='q', worker='w', attempt=1): pass\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"
