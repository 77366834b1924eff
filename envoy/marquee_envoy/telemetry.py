"""The access log and the spans of the edge: what happened, not who asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from marquee_envoy.config import EdgeConfig
from marquee_envoy.names import typed
from marquee_envoy.yaml import Tree

_PATH = "%PATH(NQ:ORIG_OR_PATH):160%"


def _header(name: str, **match: object) -> Tree:
    return {"header_filter": {"header": {"name": name, **match}}}


_NO_GRPC: Final[Tree] = {
    "string_match": {"prefix": "application/grpc"},
    "invert_match": True,
    "treat_missing_header_as_empty": True,
}
# The transcoder makes gRPC of JSON, and leaves this header behind.
_IN_JSON: Final[Tree] = {
    "or_filter": {
        "filters": [
            _header("x-envoy-original-path", present_match=True),
            _header("content-type", **_NO_GRPC),
        ]
    }
}
_IN_GRPC: Final[Tree] = {
    "and_filter": {
        "filters": [
            _header("x-envoy-original-path", present_match=True, invert_match=True),
            _header("content-type", string_match={"prefix": "application/grpc"}),
        ]
    }
}


def access_logs(config: EdgeConfig) -> list[Tree]:
    """One line of JSON per request, without queries, addresses or user agents."""
    return list(_access_logs(config))


def _access_logs(config: EdgeConfig) -> Iterator[Tree]:
    for as_grpc in (True, False):
        line = {
            "time": "%START_TIME%",
            "method": "%REQ(:METHOD)%",
            "path": _PATH,
            "protocol": "%PROTOCOL%",
            "status": "%RESPONSE_CODE%",
            # Not for the JSON form: Envoy would guess it from the HTTP status there.
            **({"grpc_status": "%GRPC_STATUS(SNAKE_STRING)%"} if as_grpc else {}),
            "duration_ms": "%DURATION%",
            "upstream": "%UPSTREAM_CLUSTER%",
            "flags": "%RESPONSE_FLAGS%",
            "details": "%RESPONSE_CODE_DETAILS%",
            "bytes_received": "%BYTES_RECEIVED%",
            "bytes_sent": "%BYTES_SENT%",
            "request_id": "%REQ(X-REQUEST-ID)%",
            "trace_id": "%TRACE_ID%",
        }
        log = typed(
            "envoy.access_loggers.file",
            "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            path=config.access_log,
            log_format={"json_format": line},
        )
        yield {**log, "filter": _IN_GRPC if as_grpc else _IN_JSON}


def tracing(config: EdgeConfig) -> Tree | None:
    """Spans to the collector, if there is one."""
    if config.otlp is None:
        return None
    return {
        "random_sampling": {"value": config.trace_percent},
        # These replace what Envoy would write: the whole URL with its query, and the caller's
        # address.
        "custom_tags": [
            {"tag": "http.url", "value": _PATH},
            {"tag": "peer.address", "literal": {"value": "-"}},
        ],
        "provider": typed(
            "envoy.tracers.opentelemetry",
            "envoy.config.trace.v3.OpenTelemetryConfig",
            service_name="marquee-edge",
            grpc_service={"envoy_grpc": {"cluster_name": "otlp"}, "timeout": "1s"},
        ),
    }
