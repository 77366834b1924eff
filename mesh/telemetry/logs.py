"""JSON logs on standard error, one object a line, with trace ids."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from opentelemetry import trace


def _add_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    span_context = trace.get_current_span().get_span_context()
    if span_context.is_valid:
        event["trace_id"] = format(span_context.trace_id, "032x")
        event["span_id"] = format(span_context.span_id, "016x")
    return event


def _quotes_no_metadata(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Invalid encoding on ")


def setup_logs(service_name: str, level: str) -> None:
    """Sends the logs of this process, structlog's and the standard library's, through one format.

    Args:
        service_name: Written as `service` on every line.
        level: The least severity, DEBUG, INFO, WARNING or ERROR.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                lambda _, __, event: {"service": service_name, **event},
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # They log every attempt to reconnect, kafka-python as errors; the mesh logs what matters.
    logging.getLogger("pymongo").setLevel(logging.ERROR)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    # What it quotes is metadata of a caller, perhaps a token with a byte too many.
    logging.getLogger("grpc._cython.cygrpc").addFilter(_quotes_no_metadata)
    # It logs every request, with its address.
    logging.getLogger("httpx").setLevel(logging.WARNING)
