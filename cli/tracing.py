"""Traces that begin at the command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from mesh.ids import new_id
from mesh.telemetry.setup import SCOPE, setup_telemetry

SERVICE = "marquee-cli"


@asynccontextmanager
async def telemetry(otlp: str) -> AsyncIterator[None]:
    """Sets up the spans of this process; once per process. What is queued is sent at the end.

    Args:
        otlp: Where they go, `http://host:port`; empty: nowhere.
    """
    providers = setup_telemetry(SERVICE, new_id(), traces_endpoint=otlp)
    try:
        yield
    finally:
        # It blocks, and the receiver may live in this very event loop.
        await asyncio.to_thread(providers.shutdown)


@contextmanager
def traced(name: str) -> Iterator[str]:
    """Begins a trace; the calls inside are part of it.

    The services record it also when this process does not (no telemetry was set up).

    Yields:
        Its id, 32 hexadecimal digits.
    """
    with trace.get_tracer(SCOPE).start_as_current_span(name) as span:
        context = span.get_span_context()
        if context.is_valid and context.trace_flags.sampled:
            yield format(context.trace_id, "032x")
            return
    with trace.use_span(NonRecordingSpan(_new_context(TraceFlags.SAMPLED))) as span:
        yield format(span.get_span_context().trace_id, "032x")


@contextmanager
def untraced() -> Iterator[None]:
    """Marks the calls inside as not sampled.

    For work in bulk: importing 100,000 interactions makes as many spans, which nobody reads.
    """
    with trace.use_span(NonRecordingSpan(_new_context(TraceFlags.DEFAULT))):
        yield


def _new_context(flags: int) -> SpanContext:
    ids = RandomIdGenerator()
    return SpanContext(
        trace_id=ids.generate_trace_id(),
        span_id=ids.generate_span_id(),
        is_remote=False,
        trace_flags=TraceFlags(flags),
    )
