"""Spans of messages and of work inside a service, and the trace context between them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from mesh.interceptors.base import ServerCall
from mesh.telemetry.context import (
    context_of,
    current_trace_id,
    current_traceparent,
    links_to,
    traceparent_of,
)
from mesh.telemetry.messaging import end_send_span, process_span, start_send_span
from mesh.telemetry.rpc import ServerTelemetry, code_name
from mesh.telemetry.spans import span, span_of_cause

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID = 0x0AF7651916CD43DD8448EB211C80319C
CAUSE_ID = 0xB7AD6B7169203331
PROCESS = {
    "topic": "t",
    "group": "g",
    "partition": 3,
    "offset": 17,
    "key": "k",
    "message_id": "m",
}


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (found,) = exporter.get_finished_spans()
    return found


class TestContext:
    def test_outside_of_any_span_there_is_none(self) -> None:
        assert current_traceparent() == ""
        assert current_trace_id() == ""

    def test_the_current_span_is_named(self, spans: InMemorySpanExporter) -> None:
        with trace.get_tracer("test").start_as_current_span("a") as current:
            assert current_traceparent() == traceparent_of(current)
            assert current_traceparent().split("-")[1] == current_trace_id()
            assert int(current_traceparent().split("-")[3], 16) & 1, "sampled"
        assert traceparent_of(trace.INVALID_SPAN) == ""

    def test_what_is_named_is_found(self) -> None:
        found = trace.get_current_span(context_of(TRACEPARENT)).get_span_context()
        assert (found.trace_id, found.span_id, found.is_remote) == (TRACE_ID, CAUSE_ID, True)
        assert [link.context.span_id for link in links_to(TRACEPARENT)] == [CAUSE_ID]

    @pytest.mark.parametrize("text", ["", "junk", "00-0-0-01", TRACEPARENT.replace("b7", "zz")])
    def test_a_malformed_one_names_nothing(self, text: str, spans: InMemorySpanExporter) -> None:
        with trace.get_tracer("test").start_as_current_span("a"):
            found = trace.get_current_span(context_of(text)).get_span_context()
        assert not found.is_valid
        assert links_to(text) == []


class TestSend:
    def test_a_child_of_its_cause_that_links_to_it(self, spans: InMemorySpanExporter) -> None:
        started = start_send_span("t", key="k", message_id="m", traceparent=TRACEPARENT)
        end_send_span(started, None)
        sent = only(spans)
        assert (sent.name, sent.kind) == ("send t", SpanKind.PRODUCER)
        assert sent.context.trace_id == TRACE_ID
        assert sent.parent.span_id == CAUSE_ID
        assert [link.context.span_id for link in sent.links] == [CAUSE_ID]
        assert sent.status.status_code is StatusCode.UNSET
        assert sent.attributes["messaging.destination.name"] == "t"
        assert sent.attributes["messaging.message.id"] == "m"
        assert "error.type" not in sent.attributes

    def test_without_a_cause_a_trace_begins(self, spans: InMemorySpanExporter) -> None:
        with trace.get_tracer("test").start_as_current_span("the relay's own"):
            end_send_span(start_send_span("t", key="k", message_id="m", traceparent=""), None)
            sent = only(spans)
        assert sent.parent is None
        assert not sent.links

    def test_a_failure(self, spans: InMemorySpanExporter) -> None:
        started = start_send_span("t", key="k", message_id="m", traceparent=TRACEPARENT)
        end_send_span(started, TimeoutError("secret"))
        sent = only(spans)
        assert sent.status.status_code is StatusCode.ERROR
        assert sent.attributes["error.type"] == "TimeoutError"
        assert "secret" not in sent.to_json()


class TestProcess:
    def test_what_happens_within_is_its_child(self, spans: InMemorySpanExporter) -> None:
        with process_span(**PROCESS, traceparent=TRACEPARENT) as current:
            assert trace.get_current_span() is current
        processed = only(spans)
        assert (processed.name, processed.kind) == ("process t", SpanKind.CONSUMER)
        assert processed.parent.span_id == CAUSE_ID
        assert [link.context.span_id for link in processed.links] == [CAUSE_ID]
        assert processed.attributes["messaging.consumer.group.name"] == "g"
        assert processed.attributes["messaging.destination.partition.id"] == "3"
        assert processed.attributes["messaging.kafka.offset"] == 17

    def test_a_failure_passes_on_and_leaks_nothing(self, spans: InMemorySpanExporter) -> None:
        with (
            pytest.raises(ValueError, match="secret"),
            process_span(**PROCESS, traceparent=TRACEPARENT),
        ):
            raise ValueError("secret")
        processed = only(spans)
        assert processed.status.status_code is StatusCode.ERROR
        assert processed.attributes["error.type"] == "ValueError"
        assert "secret" not in processed.to_json()


class TestInside:
    def test_a_span_is_a_child_of_the_current_one(self, spans: InMemorySpanExporter) -> None:
        with span("outer") as outer, span("inner", {"a": 1}):
            pass
        inner = spans.get_finished_spans()[0]
        assert inner.parent.span_id == outer.get_span_context().span_id
        assert inner.attributes["a"] == 1

    def test_a_failure_leaks_nothing(self, spans: InMemorySpanExporter) -> None:
        with pytest.raises(KeyError), span("work"):
            raise KeyError("secret")
        assert only(spans).status.status_code is StatusCode.ERROR
        assert "secret" not in only(spans).to_json()

    def test_the_span_of_a_cause_is_not_the_current_one(self, spans: InMemorySpanExporter) -> None:
        with span_of_cause("later", TRACEPARENT):
            assert not trace.get_current_span().get_span_context().is_valid
        assert only(spans).parent.span_id == CAUSE_ID


@pytest.mark.parametrize(
    ("code", "name"), [(None, "OK"), (0, "OK"), (5, "NOT_FOUND"), (16, "UNAUTHENTICATED")]
)
def test_names_of_codes(code: int | None, name: str) -> None:
    assert code_name(code) == name
    assert code_name(99) == "UNKNOWN"


class GoneCaller:
    """The context of a call that grpc cancels."""

    def __init__(self, remaining: float | None) -> None:
        self._remaining = remaining

    def code(self) -> None:
        return None

    def time_remaining(self) -> float | None:
        return self._remaining


@pytest.mark.parametrize(
    ("remaining", "code"),
    [
        (None, "CANCELLED"),
        (1.0, "CANCELLED"),
        (0, "DEADLINE_EXCEEDED"),
        (0.002, "DEADLINE_EXCEEDED"),
    ],
)
async def test_why_a_call_was_cancelled(
    remaining: float | None, code: str, spans: InMemorySpanExporter
) -> None:
    context: Any = GoneCaller(remaining)
    with pytest.raises(asyncio.CancelledError):
        async with ServerTelemetry().around(ServerCall("/a.B/C", {}, context)):
            raise asyncio.CancelledError
    assert only(spans).attributes["rpc.response.status_code"] == code
