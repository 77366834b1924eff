"""Spans and durations of RPCs, on the serving and on the calling side.

Written here since the contrib instrumentation leaves the server span of an uncaught exception
unset, has no metrics, and uses attribute names that have been replaced.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from mesh.interceptors.base import ServerCall
from mesh.telemetry.context import TRACEPARENT, context_of
from mesh.telemetry.setup import SCOPE

# For a server, the other codes are the caller's doing.
_SERVER_FAULTS = frozenset(
    {
        "UNKNOWN",
        "DEADLINE_EXCEEDED",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
    }
)
_CLOCKS_DIFFER_SECONDS = 0.05
# Upper bounds in seconds, as the semantic conventions advise.
BUCKETS = [
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
]

DEADLINE_ATTRIBUTE = "marquee.rpc.deadline_s"
"""On the spans of both sides of a call: the seconds that it has when it is sent, or received."""


def code_name(code: Any) -> str:
    """Returns the name of a status code that grpc gives as an enum, an int or None (OK)."""
    if isinstance(code, grpc.StatusCode):
        return code.name
    return _NAMES.get(code or 0, "UNKNOWN")


_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


class ServerTelemetry:
    """A server span and a `rpc.server.call.duration` measurement around each call."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer(SCOPE)
        self._duration = metrics.get_meter(SCOPE).create_histogram(
            "rpc.server.call.duration",
            unit="s",
            description="Duration of an incoming call",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )

    @asynccontextmanager
    async def around(self, call: ServerCall) -> AsyncIterator[None]:
        """Wraps one call; see `mesh.interceptors.base`."""
        attributes = {"rpc.system.name": "grpc", "rpc.method": call.method.removeprefix("/")}
        parent = context_of(call.metadata.get(TRACEPARENT, ""))
        begin = time.perf_counter()
        with self._tracer.start_as_current_span(
            attributes["rpc.method"],
            context=parent,
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            failure: BaseException | None = None
            try:
                yield
            except BaseException as error:
                failure = error
                raise
            finally:
                code = _outcome(call, failure)
                outcome = {"rpc.response.status_code": code}
                if code in _SERVER_FAULTS:
                    outcome["error.type"] = code
                    span.set_status(Status(StatusCode.ERROR))
                span.set_attributes(outcome)
                self._duration.record(time.perf_counter() - begin, {**attributes, **outcome})


def _outcome(call: ServerCall, failure: BaseException | None) -> str:
    """Returns the code of the reply, which the layers below have set unless the call was ended."""
    code = code_name(call.context.code())
    if failure is None or code != "OK":
        return code
    if isinstance(failure, asyncio.CancelledError):
        # grpc cancels the handler in the same way whether the caller's time or patience was up, and
        # its timers go by a clock of their own.
        remaining = call.context.time_remaining()
        late = remaining is not None and remaining < _CLOCKS_DIFFER_SECONDS
        return "DEADLINE_EXCEEDED" if late else "CANCELLED"
    return "UNKNOWN"
