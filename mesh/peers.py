"""Channels to other services: deadlines handed on, trace context, client spans, safe retries."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import grpc
from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from mesh import contracts
from mesh.interceptors.deadline import remaining_seconds
from mesh.telemetry.context import TRACEPARENT, current_traceparent
from mesh.telemetry.rpc import BUCKETS, code_name
from mesh.telemetry.setup import SCOPE


def service_config() -> str:
    """Returns the gRPC service config of the mesh as JSON.

    Each RPC has its default timeout; those that are safe to repeat are retried on UNAVAILABLE.
    """
    return json.dumps(
        {
            "methodConfig": [
                {
                    "name": [
                        {
                            "service": policy.method.split("/")[1],
                            "method": policy.method.split("/")[2],
                        }
                    ],
                    **({"timeout": f"{policy.default_timeout}s"} if policy.default_timeout else {}),
                    **({"retryPolicy": _RETRY} if policy.retry_safe else {}),
                }
                for policy in contracts.policies().values()
            ]
        }
    )


_RETRY = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def open_channel(target: str, *, max_message_bytes: int = 8 * 1024 * 1024) -> grpc.aio.Channel:
    """Opens a channel to a service or to the edge.

    Args:
        target: host:port.
        max_message_bytes: Largest message taken or sent.
    """
    return grpc.aio.insecure_channel(
        target,
        options=[
            ("grpc.service_config", service_config()),
            ("grpc.enable_retries", 1),
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ],
        interceptors=[_UnaryCalls(), _StreamCalls()],
    )


class _Telemetry:
    def __init__(self) -> None:
        self._recording: set[asyncio.Future[None]] = set()
        self._tracer = trace.get_tracer(SCOPE)
        self._duration = metrics.get_meter(SCOPE).create_histogram(
            "rpc.client.call.duration",
            unit="s",
            description="Duration of an outgoing call",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )

    def begin(self, details: grpc.aio.ClientCallDetails) -> tuple[Any, Callable[[Any], None]]:
        """Returns the details to call with and what to run with the call once it is done."""
        method = details.method
        name = (method.decode() if isinstance(method, bytes) else method).removeprefix("/")
        attributes = {"rpc.system.name": "grpc", "rpc.method": name}
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        with trace.use_span(span):
            traceparent = current_traceparent()
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        if traceparent and metadata.get(TRACEPARENT) is None:
            metadata.add(TRACEPARENT, traceparent)
        remaining = remaining_seconds()
        timeouts = [left for left in (details.timeout, remaining) if left is not None]
        begin = time.perf_counter()

        async def record(call: Any) -> None:
            code = code_name(await call.code())
            outcome = {"rpc.response.status_code": code}
            if code != "OK":
                outcome["error.type"] = code
                span.set_status(Status(StatusCode.ERROR))
            span.set_attributes(outcome)
            span.end()
            self._duration.record(time.perf_counter() - begin, {**attributes, **outcome})

        def end(call: Any) -> None:
            task = asyncio.ensure_future(record(call))
            self._recording.add(task)
            task.add_done_callback(self._recording.discard)

        called = grpc.aio.ClientCallDetails(
            method=details.method,
            timeout=min(timeouts) if timeouts else None,
            metadata=metadata,
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
        )
        return called, end


class _UnaryCalls(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self) -> None:
        self._telemetry = _Telemetry()

    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        details, end = self._telemetry.begin(client_call_details)
        call = await continuation(details, request)
        call.add_done_callback(end)
        return call


class _StreamCalls(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self) -> None:
        self._telemetry = _Telemetry()

    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        details, end = self._telemetry.begin(client_call_details)
        call = await continuation(details, request)
        call.add_done_callback(end)
        return call
