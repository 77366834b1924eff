"""Spans of Kafka messages.

A message carries the traceparent of its cause, set where the event was created. `send` and
`process` spans are children of that cause, so that one trace shows the whole path, and link to it,
as the messaging conventions ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from mesh.telemetry.context import context_of, links_to
from mesh.telemetry.setup import SCOPE


@cache
def _tracer() -> Tracer:
    return trace.get_tracer(SCOPE)


def start_send_span(topic: str, *, key: str, message_id: str, traceparent: str) -> Span:
    """Starts a `send` span for one message; the caller ends it once the broker has answered."""
    return _tracer().start_span(
        f"send {topic}",
        context=context_of(traceparent),
        kind=SpanKind.PRODUCER,
        links=links_to(traceparent),
        attributes={
            "messaging.system": "kafka",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": topic,
            "messaging.kafka.message.key": key,
            "messaging.message.id": message_id,
        },
    )


def end_send_span(span: Span, error: BaseException | None) -> None:
    """Ends a `send` span with the broker's answer."""
    if error is not None:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(Status(StatusCode.ERROR))
    span.end()


@contextmanager
def process_span(
    topic: str,
    *,
    group: str,
    partition: int,
    offset: int,
    key: str,
    message_id: str,
    traceparent: str,
) -> Iterator[Span]:
    """Runs the handling of one message inside a `process` span."""
    with _tracer().start_as_current_span(
        f"process {topic}",
        context=context_of(traceparent),
        kind=SpanKind.CONSUMER,
        links=links_to(traceparent),
        attributes={
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": topic,
            "messaging.destination.partition.id": str(partition),
            "messaging.kafka.offset": offset,
            "messaging.kafka.message.key": key,
            "messaging.message.id": message_id,
            "messaging.consumer.group.name": group,
        },
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except Exception as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR))
            raise
