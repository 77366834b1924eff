"""Spans of what happens inside a service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import Span, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from mesh.telemetry.context import context_of
from mesh.telemetry.setup import SCOPE

_NO_ATTRIBUTES: Mapping[str, AttributeValue] = {}


@contextmanager
def span(name: str, attributes: Mapping[str, AttributeValue] = _NO_ATTRIBUTES) -> Iterator[Span]:
    """Runs its body in a child of the current span.

    An exception marks the span and passes on; its message stays out of the trace, since it may
    quote personal data.
    """
    with trace.get_tracer(SCOPE).start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except Exception as error:
            _mark_failed(current, error)
            raise


@contextmanager
def span_of_cause(
    name: str, traceparent: str, attributes: Mapping[str, AttributeValue] = _NO_ATTRIBUTES
) -> Iterator[Span]:
    """Measures its body as a child of a remote span that was kept with what it caused.

    The span does not become the current one, so that the body may be a `yield` of a generator,
    which can be left from another task.
    """
    detached = trace.get_tracer(SCOPE).start_span(
        name, context=context_of(traceparent), attributes=attributes
    )
    try:
        yield detached
    except Exception as error:
        _mark_failed(detached, error)
        raise
    finally:
        detached.end()


@contextmanager
def untraced_database() -> Iterator[None]:
    """Runs its body without spans for MongoDB commands.

    For loops that ask the database all the time and belong to nobody's request; spans that the body
    makes itself are not affected.
    """
    with suppress_instrumentation():
        yield


def _mark_failed(failed: Span, error: Exception) -> None:
    failed.set_attribute("error.type", type(error).__name__)
    failed.set_status(Status(StatusCode.ERROR))
