"""Providers and exporters: built once at the start of a process, before any client exists."""

from __future__ import annotations

import logging
from importlib.metadata import version

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.pymongo import PymongoInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

SCOPE = "marquee"


class Telemetry:
    """The providers of this process; `shutdown` sends what is still queued."""

    def __init__(self, tracer_provider: TracerProvider, meter_provider: MeterProvider) -> None:
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider

    def flush(self, timeout_seconds: float = 2.0) -> None:
        """Sends queued spans, at most for `timeout_seconds`; blocks."""
        self._tracer_provider.force_flush(int(timeout_seconds * 1000))

    def shutdown(self) -> None:
        """Sends queued spans and metrics and stops the exporters; blocks."""
        self._tracer_provider.shutdown()
        self._meter_provider.shutdown()


def setup_telemetry(
    service_name: str,
    instance_id: str,
    *,
    traces_endpoint: str = "",
    metrics_endpoint: str = "",
) -> Telemetry:
    """Installs the global providers and traces MongoDB commands.

    Spans leave in the background; a collector that is away costs spans, never a request.

    Args:
        service_name: service.name of the resource, for example `marquee-user`.
        instance_id: service.instance.id of the resource.
        traces_endpoint: OTLP/gRPC endpoint, `http://host:port`; empty: spans are not exported.
        metrics_endpoint: The same for metrics.
    """
    resource = Resource.create(
        {
            "service.name": service_name,
            "service.instance.id": instance_id,
            "service.namespace": "marquee",
            "service.version": version("marquee"),
        }
    )
    tracer_provider = TracerProvider(resource=resource)
    if traces_endpoint:
        tracer_provider.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(endpoint=traces_endpoint, insecure=True, timeout=5),
                schedule_delay_millis=500,
            )
        )
    readers = []
    if metrics_endpoint:
        exporter = OTLPMetricExporter(endpoint=metrics_endpoint, insecure=True, timeout=5)
        readers.append(PeriodicExportingMetricReader(exporter, export_interval_millis=10_000))
    meter_provider = MeterProvider(resource=resource, metric_readers=readers)
    trace.set_tracer_provider(tracer_provider)
    metrics.set_meter_provider(meter_provider)
    # The exporters log every failed attempt; an outage is seen by what the collector lacks.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    PymongoInstrumentor().instrument(tracer_provider=tracer_provider)
    return Telemetry(tracer_provider, meter_provider)
