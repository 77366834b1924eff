"""Providers and exporters: built once at the start of a process, before any client exists."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
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
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

SCOPE = "marquee"


class Telemetry:
    """The providers of this process; `shutdown` sends what is still queued."""

    def __init__(self, tracer_provider: TracerProvider, *ends: Callable[[], None]) -> None:
        """Takes the provider of spans and what ends the providers."""
        self._tracer_provider = tracer_provider
        self._ends = ends

    def flush(self, timeout_seconds: float = 2.0) -> None:
        """Sends queued spans, at most for `timeout_seconds`; blocks."""
        self._tracer_provider.force_flush(int(timeout_seconds * 1000))

    def shutdown(self, timeout_seconds: float = 3.0) -> None:
        """Sends queued spans and metrics and stops the exporters; blocks.

        Args:
            timeout_seconds: What is not sent by then is dropped: the exporters would try for longer
                than an orchestrator waits for the end of a process.
        """
        enders = [
            threading.Thread(target=end, name="telemetry-shutdown", daemon=True)
            for end in self._ends
        ]
        for ender in enders:
            ender.start()
        give_up_at = time.monotonic() + timeout_seconds
        for ender in enders:
            ender.join(max(0.0, give_up_at - time.monotonic()))


def setup_telemetry(
    service_name: str,
    instance_id: str,
    *,
    traces_endpoint: str = "",
    metrics_endpoint: str = "",
) -> Telemetry:
    """Installs the global providers and traces MongoDB commands.

    Spans leave in the background; a collector that is away costs spans, never a request. Without
    an endpoint spans are not recorded and nothing is measured; trace ids still reach logs, peers
    and events.

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
    tracer_provider = TracerProvider(
        resource=resource,
        sampler=None if traces_endpoint else ALWAYS_OFF,
        shutdown_on_exit=False,
    )
    if traces_endpoint:
        tracer_provider.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(
                    endpoint=traces_endpoint, insecure=_is_plain(traces_endpoint), timeout=5
                ),
                schedule_delay_millis=500,
            )
        )
        PymongoInstrumentor().instrument(tracer_provider=tracer_provider)
    trace.set_tracer_provider(tracer_provider)
    ends = [tracer_provider.shutdown]
    if metrics_endpoint:
        exporter = OTLPMetricExporter(
            endpoint=metrics_endpoint, insecure=_is_plain(metrics_endpoint), timeout=5
        )
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=10_000)
        meter_provider = MeterProvider(
            resource=resource, metric_readers=[reader], shutdown_on_exit=False
        )
        metrics.set_meter_provider(meter_provider)
        ends.append(meter_provider.shutdown)
    # The exporters log every failed attempt; an outage is seen by what the collector lacks.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    return Telemetry(tracer_provider, *ends)


def _is_plain(endpoint: str) -> bool:
    return not endpoint.startswith("https://")
