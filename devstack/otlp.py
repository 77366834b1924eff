"""A small OTLP/gRPC trace receiver, so that traces can be looked at without a collector."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from devstack.errors import DevstackError
from devstack.spans import SpanRecord, spans_in

_MAX_SPANS = 50_000
_MAX_FILE_BYTES = 64 * 1024 * 1024
_MAX_MESSAGE_BYTES = 16 * 1024 * 1024


class TraceStore:
    """The most recent traces, in memory; when it is full the oldest traces are forgotten.

    It belongs to one event loop and is not safe to share between threads.
    """

    def __init__(self, max_spans: int = _MAX_SPANS) -> None:
        self._max_spans = max_spans
        self._count = 0
        self._traces: OrderedDict[str, list[SpanRecord]] = OrderedDict()
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        """How many spans are held."""
        return self._count

    async def add(self, spans: Sequence[SpanRecord]) -> None:
        """Keeps spans and wakes those who wait for them."""
        async with self._changed:
            for span in spans:
                self._traces.setdefault(span.trace_id, []).append(span)
            self._count += len(spans)
            while self._count > self._max_spans and len(self._traces) > 1:
                _, forgotten = self._traces.popitem(last=False)
                self._count -= len(forgotten)
            self._changed.notify_all()

    def trace(self, trace_id: str) -> list[SpanRecord]:
        """The spans of one trace (lower-case hexadecimal id), ordered by their start."""
        held = self._traces.get(trace_id, ())
        return sorted(held, key=lambda span: (span.start_ns, span.end_ns))

    def find(
        self,
        *,
        name: str | None = None,
        service: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> list[SpanRecord]:
        """The spans that have all the given properties, in the order they arrived per trace."""
        wanted = dict(attributes or {}).items()
        return [
            span
            for span in self._all()
            if (name is None or span.name == name)
            and (service is None or span.service == service)
            and all(key in span.attributes and span.attributes[key] == v for key, v in wanted)
        ]

    async def wait_for(
        self, trace_id: str, enough: Callable[[list[SpanRecord]], bool], timeout_s: float = 10.0
    ) -> list[SpanRecord]:
        """Waits until a trace is as complete as the caller needs it.

        Args:
            trace_id: The trace.
            enough: Looks at the spans that have arrived, in order of their start.
            timeout_s: How long to wait.

        Returns:
            The spans of the trace, also when the time ran out: ask `enough` again to know.
        """
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: enough(self.trace(trace_id)))
        except TimeoutError:
            pass
        return self.trace(trace_id)

    def _all(self) -> Iterator[SpanRecord]:
        for spans in self._traces.values():
            yield from spans


class OtlpReceiver:
    """Serves OTLP's TraceService on a port, fills a `TraceStore`, appends to a file.

    The file has one export request per line in OTLP JSON; past 64 MiB it is set aside once (its
    name gets the suffix `.1`).
    """

    def __init__(self, address: str, path: Path, store: TraceStore | None = None) -> None:
        self.address = address
        self.path = path
        self.store = store if store is not None else TraceStore()
        self._server: grpc.aio.Server | None = None
        self._file: IO[str] | None = None

    async def start(self) -> None:
        """Starts to listen.

        Raises:
            DevstackError: The address cannot be bound.
        """
        self._file = self.path.open("a", encoding="utf-8", buffering=1)
        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ]
        )
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]  # generated without types
            _TraceService(self), server
        )
        try:
            server.add_insecure_port(self.address)
        except RuntimeError as error:
            self._file.close()
            raise DevstackError(f"the trace receiver cannot listen on {self.address}") from error
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Stops to listen; harmless when it does not."""
        if self._server is not None:
            await self._server.stop(grace=0.5)
            self._server = None
        if self._file is not None:
            self._file.close()
            self._file = None

    async def receive(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        """Keeps what one export request brings."""
        export = _as_otlp_json(request)
        if self._file is not None:
            self._file.write(json.dumps(export, separators=(",", ":")) + "\n")
            if self._file.tell() > _MAX_FILE_BYTES:
                self._set_file_aside()
        await self.store.add(list(spans_in(export)))

    def _set_file_aside(self) -> None:
        if self._file is not None:
            self._file.close()
        self.path.replace(self.path.with_name(self.path.name + ".1"))
        self._file = self.path.open("a", encoding="utf-8", buffering=1)


class _TraceService(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, receiver: OtlpReceiver) -> None:
        self._receiver = receiver

    async def Export(  # noqa: N802 - the name is the protocol's
        self,
        request: trace_service_pb2.ExportTraceServiceRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        await self._receiver.receive(request)
        return trace_service_pb2.ExportTraceServiceResponse()


def _as_otlp_json(request: trace_service_pb2.ExportTraceServiceRequest) -> dict[str, Any]:
    export: dict[str, Any] = MessageToDict(request, use_integers_for_enums=True)
    # Protobuf's JSON writes bytes in base64, OTLP's wants ids in hexadecimal.
    encoded = (
        span
        for group in export.get("resourceSpans", ())
        for scope in group.get("scopeSpans", ())
        for span in scope.get("spans", ())
    )
    for span, sent in zip(encoded, _sent_spans(request), strict=True):
        span["traceId"] = sent.trace_id.hex()
        span["spanId"] = sent.span_id.hex()
        if sent.parent_span_id:
            span["parentSpanId"] = sent.parent_span_id.hex()
        for link, sent_link in zip(span.get("links", ()), sent.links, strict=True):
            link["traceId"] = sent_link.trace_id.hex()
            link["spanId"] = sent_link.span_id.hex()
    return export


def _sent_spans(request: trace_service_pb2.ExportTraceServiceRequest) -> Iterator[Span]:
    for group in request.resource_spans:
        for scope in group.scope_spans:
            yield from scope.spans
