"""Channels to other services: deadlines handed on, trace context, client spans, safe retries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc
import marquee_policy
from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from mesh import contracts
from mesh.deadline import remaining_seconds
from mesh.telemetry.context import TRACEPARENT, traceparent_of
from mesh.telemetry.rpc import BUCKETS, code_name
from mesh.telemetry.setup import SCOPE
from mesh.tls.channel import ReloadingChannel
from mesh.tls.files import TlsFiles
from mesh.tls.watch import PEER_ROLES, CertificateWatch


def service_config() -> str:
    """Returns the gRPC service config of the mesh as JSON, as the policy compiler wrote it.

    No call takes longer than its RPC's longest timeout; those that are safe to repeat are retried
    on UNAVAILABLE. The default timeouts are not in it: a client would take them for limits, too.
    """
    return marquee_policy.service_config_json()


_AUTHORIZATION = "authorization"


def open_channel(
    target: str,
    *,
    token: Callable[[], str] | None = None,
    tls: TlsFiles | None = None,
    max_message_bytes: int = 8 * 1024 * 1024,
) -> grpc.aio.Channel:
    """Opens a channel to a service or to the edge.

    Args:
        target: host:port.
        token: Gives the bearer token for a call; asked before each, so it must not block.
        tls: Whom to trust and what to show; followed when the files change. None: plain text.
        max_message_bytes: Largest message taken or sent.

    Raises:
        CertificateError: A file of `tls` cannot be used.
    """
    calls = _Calls(target, token)
    interceptors = [_UnaryCalls(calls), _StreamCalls(calls)]
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", service_config()),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
    return ReloadingChannel(
        CertificateWatch(tls, roles=PEER_ROLES),
        lambda credentials: grpc.aio.secure_channel(
            target, credentials, options=options, interceptors=interceptors
        ),
    )


class _Calls:
    """Starts a span and a measurement for each call, and hands deadline and trace context on."""

    def __init__(self, target: str, token: Callable[[], str] | None) -> None:
        self._token = token
        host, _, port = target.rpartition(":")
        self._attributes: dict[str, str | int] = {
            "rpc.system.name": "grpc",
            "server.address": host or target,
            **({"server.port": int(port)} if host and port.isdigit() else {}),
        }
        self._endings: set[asyncio.Future[None]] = set()
        self._tracer = trace.get_tracer(SCOPE)
        self._duration = metrics.get_meter(SCOPE).create_histogram(
            "rpc.client.call.duration",
            unit="s",
            description="Duration of an outgoing call",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )

    async def make(
        self, continuation: Any, details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        """Makes the call; its span ends when the call does."""
        name = _path(details).removeprefix("/")
        attributes = {**self._attributes, "rpc.method": name}
        begin = time.perf_counter()
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)

        def end(code: str) -> None:
            outcome = {"rpc.response.status_code": code}
            if code != "OK":
                outcome["error.type"] = code
                span.set_status(Status(StatusCode.ERROR))
            span.set_attributes(outcome)
            span.end()
            self._duration.record(time.perf_counter() - begin, {**attributes, **outcome})

        async def end_with(call: Any) -> None:
            end(code_name(await call.code()))

        def on_done(call: Any) -> None:
            ending = asyncio.ensure_future(end_with(call))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

        try:
            call = await continuation(_handed_on(details, span, self._token), request)
        except BaseException as error:
            end("CANCELLED" if isinstance(error, asyncio.CancelledError) else "UNKNOWN")
            raise
        call.add_done_callback(on_done)
        return call


def _handed_on(
    details: grpc.aio.ClientCallDetails, span: Span, token: Callable[[], str] | None
) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    traceparent = traceparent_of(span)
    if traceparent and metadata.get(TRACEPARENT) is None:
        metadata.add(TRACEPARENT, traceparent)
    if token is not None and metadata.get(_AUTHORIZATION) is None:
        metadata.add(_AUTHORIZATION, f"Bearer {token()}")
    return grpc.aio.ClientCallDetails(
        method=details.method,
        timeout=_timeout(details),
        metadata=metadata,
        credentials=details.credentials,
        wait_for_ready=details.wait_for_ready,
    )


def _timeout(details: grpc.aio.ClientCallDetails) -> float | None:
    """Returns the shorter of what was asked for and what is left, or else the RPC's default."""
    timeouts = [left for left in (details.timeout, remaining_seconds()) if left is not None]
    if timeouts:
        return min(timeouts)
    policy = contracts.policies().get(_path(details))
    return None if policy is None else policy.default_timeout


def _path(details: grpc.aio.ClientCallDetails) -> str:
    method = details.method
    return method.decode() if isinstance(method, bytes) else method


class _UnaryCalls(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await self._calls.make(continuation, client_call_details, request)


class _StreamCalls(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await self._calls.make(continuation, client_call_details, request)
