"""Channels to other services: deadlines handed on, trace context, tokens, spans, safe retries."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import marquee_policy
from grpc_status import rpc_status
from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from mesh import contracts
from mesh.auth.peer_tokens import ClientCredentials, TokenSource
from mesh.deadline import remaining_seconds
from mesh.errors import DeadlineExceeded, MeshError
from mesh.loopback import is_loopback
from mesh.status import to_status
from mesh.telemetry.context import TRACEPARENT, traceparent_of
from mesh.telemetry.rpc import BUCKETS, DEADLINE_ATTRIBUTE, code_name
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
    token_source: TokenSource | None = None,
    tls: TlsFiles | None = None,
    max_message_bytes: int = 8 * 1024 * 1024,
) -> grpc.aio.Channel:
    """Opens a channel to a service or to the edge.

    Args:
        target: host:port.
        token_source: Gives the bearer token of a call that brings none of its own. A call for which
            it has none fails with UNAUTHENTICATED or UNAVAILABLE and is not sent. None: calls carry
            what their caller gives them.
        tls: Whom to trust and what to show; followed when the files change. None: plain text.
        max_message_bytes: Largest message taken or sent.

    Raises:
        CertificateError: A file of `tls` cannot be used.
    """
    calls = _Calls(target, token_source)
    interceptors: list[grpc.aio.ClientInterceptor] = [
        _UnaryUnaryCalls(calls),
        _UnaryStreamCalls(calls),
        _StreamUnaryCalls(calls),
        _StreamStreamCalls(calls),
    ]
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", service_config()),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]
    if is_loopback(target.rpartition(":")[0].strip("[]")):
        # A proxy of the environment would take it, with its token, elsewhere.
        options.append(("grpc.enable_http_proxy", 0))
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
    return ReloadingChannel(
        CertificateWatch(tls, roles=PEER_ROLES),
        lambda credentials: grpc.aio.secure_channel(
            target, credentials, options=options, interceptors=interceptors
        ),
    )


class _Calls:
    """Starts a span and a measurement for each call; hands deadline, trace and token on."""

    def __init__(self, target: str, token_source: TokenSource | None) -> None:
        self._token_source = token_source
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
            code = await call.code()
            if code is grpc.StatusCode.UNAUTHENTICATED and isinstance(
                self._token_source, ClientCredentials
            ):
                self._token_source.give_up()
            end(code_name(code))

        def on_done(call: Any) -> None:
            ending = asyncio.ensure_future(end_with(call))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

        try:
            call = await continuation(await self._handed_on(details, span), request)
        except grpc.aio.AioRpcError as error:
            end(code_name(error.code()))
            raise
        except BaseException as error:
            end("CANCELLED" if isinstance(error, asyncio.CancelledError) else "UNKNOWN")
            raise
        call.add_done_callback(on_done)
        return call

    async def _handed_on(
        self, details: grpc.aio.ClientCallDetails, span: Span
    ) -> grpc.aio.ClientCallDetails:
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        traceparent = traceparent_of(span)
        if traceparent and metadata.get(TRACEPARENT) is None:
            metadata.add(TRACEPARENT, traceparent)
        begin, timeout = time.monotonic(), _timeout(details)
        if self._token_source is not None and metadata.get(_AUTHORIZATION) is None:
            token = await _token_of(self._token_source, timeout)
            metadata.add(_AUTHORIZATION, f"Bearer {token}")
        if timeout is not None:
            timeout = max(0.0, timeout - (time.monotonic() - begin))
            span.set_attribute(DEADLINE_ATTRIBUTE, timeout)
        return grpc.aio.ClientCallDetails(
            method=details.method,
            timeout=timeout,
            metadata=metadata,
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
        )


async def _token_of(source: TokenSource, timeout_seconds: float | None) -> str:
    """Asks for a token.

    Raises:
        AioRpcError: There is none, as if the peer had refused the call.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            token = source()
            return token if isinstance(token, str) else await token
    except MeshError as error:
        failure = error
    except TimeoutError:
        failure = DeadlineExceeded(timeout_seconds or 0.0)
    status: grpc.Status = rpc_status.to_status(to_status(failure))
    raise grpc.aio.AioRpcError(
        status.code,
        grpc.aio.Metadata(),
        grpc.aio.Metadata(*status.trailing_metadata),
        details=status.details,
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


class _UnaryUnaryCalls(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await self._calls.make(continuation, client_call_details, request)


class _UnaryStreamCalls(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await self._calls.make(continuation, client_call_details, request)


class _StreamUnaryCalls(grpc.aio.StreamUnaryClientInterceptor):
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def intercept_stream_unary(
        self,
        continuation: Any,
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        return await self._calls.make(continuation, client_call_details, request_iterator)


class _StreamStreamCalls(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def intercept_stream_stream(
        self,
        continuation: Any,
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        return await self._calls.make(continuation, client_call_details, request_iterator)
