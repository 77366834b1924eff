"""W3C trace context across process boundaries."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACEPARENT = "traceparent"
_PROPAGATOR = TraceContextTextMapPropagator()


def current_traceparent() -> str:
    """Returns the traceparent of the current span, or an empty string outside of any span."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(TRACEPARENT, "")


def traceparent_of(span: trace.Span) -> str:
    """Returns the traceparent that names `span`, or an empty string if it is no valid one."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context=trace.set_span_in_context(span, Context()))
    return carrier.get(TRACEPARENT, "")


def context_of(traceparent: str) -> Context:
    """Returns a context whose current span is the remote span of `traceparent`.

    A missing or malformed traceparent gives a context without a span: a new trace begins there.
    """
    return _PROPAGATOR.extract({TRACEPARENT: traceparent}, context=Context())


def links_to(traceparent: str) -> list[trace.Link]:
    """Returns a link to the remote span of `traceparent`, or nothing if it names none."""
    span_context = trace.get_current_span(context_of(traceparent)).get_span_context()
    return [trace.Link(span_context)] if span_context.is_valid else []


def current_trace_id() -> str:
    """Returns the current trace id as 32 hex digits, or an empty string outside of any span."""
    span_context = trace.get_current_span().get_span_context()
    return format(span_context.trace_id, "032x") if span_context.is_valid else ""
