"""The trace receiver, fed by the SDK's own exporter."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from devstack.errors import DevstackError
from devstack.otlp import OtlpReceiver
from devstack.ports import Ports
from devstack.spans import read_spans


@pytest.fixture
async def receiver(tmp_path):
    started = OtlpReceiver(f"127.0.0.1:{Ports.free().otlp}", tmp_path / "spans.jsonl")
    await started.start()
    yield started
    await started.stop()


async def test_spans_arrive_in_memory_and_in_the_file(receiver):
    provider = TracerProvider(resource=Resource.create({"service.name": "sender"}))
    provider.add_span_processor(
        SimpleSpanProcessor(OTLPSpanExporter(f"http://{receiver.address}", insecure=True))
    )
    tracer = provider.get_tracer("test")

    def send() -> tuple[str, str]:
        with tracer.start_as_current_span("cause") as cause:
            link = trace.Link(cause.get_span_context())
        attributes = {"text": "ü", "number": 7, "flag": True, "share": 0.5, "list": ["a", "b"]}
        with (
            tracer.start_as_current_span("outer", kind=trace.SpanKind.SERVER),
            tracer.start_as_current_span("inner", attributes=attributes, links=[link]) as inner,
        ):
            inner.set_status(trace.StatusCode.ERROR, "broken")
            context = inner.get_span_context()
            return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)

    trace_id, span_id = await asyncio.to_thread(send)
    spans = await receiver.store.wait_for(trace_id, lambda found: len(found) == 2)

    outer, inner = spans
    assert (outer.name, outer.service, outer.kind) == ("outer", "sender", "SERVER")
    assert outer.parent_span_id == ""
    assert inner.span_id == span_id
    assert inner.parent_span_id == outer.span_id
    assert inner.parent_is_remote is False
    assert (inner.status, inner.status_message) == ("ERROR", "broken")
    assert dict(inner.attributes) == {
        "text": "ü",
        "number": 7,
        "flag": True,
        "share": 0.5,
        "list": ["a", "b"],
    }
    assert inner.start_ns <= inner.end_ns
    (cause,) = receiver.store.find(name="cause", service="sender")
    assert inner.links[0].span_id == cause.span_id
    assert receiver.store.find(attributes={"number": 7}) == [inner]
    assert receiver.store.find(attributes={"number": 8}) == []
    # Another process reads the same from the file.
    assert read_spans(receiver.path, trace_id) == spans
    assert len(read_spans(receiver.path)) == 3


async def test_waiting_ends_when_the_time_is_up(receiver):
    assert await receiver.store.wait_for("0" * 32, bool, timeout_s=0.1) == []


async def test_an_address_in_use_is_told(receiver, tmp_path):
    second = OtlpReceiver(receiver.address, tmp_path / "second.jsonl")

    with pytest.raises(DevstackError, match=receiver.address):
        await second.start()
