"""Spans as plain values, read from OTLP's JSON encoding.

The encoding is that of the OpenTelemetry protocol (OTLP/HTTP JSON): ids in lower-case
hexadecimal, times as decimal strings of nanoseconds, enumerations as numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUSES = ("UNSET", "OK", "ERROR")
_HAS_IS_REMOTE = 0x100
_IS_REMOTE = 0x200


@dataclass(frozen=True, slots=True)
class SpanLink:
    """A reference from one span to another, possibly in another trace."""

    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRecord:
    """One finished span. Ids are lower-case hexadecimal, times nanoseconds since the epoch."""

    trace_id: str
    span_id: str
    parent_span_id: str = ""
    """Empty for a root span."""
    parent_is_remote: bool | None = None
    """Whether the parent ran in another process; None when the sender did not say."""
    name: str
    service: str = ""
    kind: str = "INTERNAL"
    """INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER or UNSPECIFIED."""
    start_ns: int
    end_ns: int
    status: str = "UNSET"
    """UNSET, OK or ERROR."""
    status_message: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    resource: Mapping[str, Any] = field(default_factory=dict)
    links: tuple[SpanLink, ...] = ()

    @property
    def duration_ms(self) -> float:
        """How long the span lasted, never negative."""
        return max(0, self.end_ns - self.start_ns) / 1e6


def spans_in(export: Mapping[str, Any]) -> Iterator[SpanRecord]:
    """The spans of one export request in OTLP JSON."""
    for group in export.get("resourceSpans", ()):
        resource = _attributes(group.get("resource", {}).get("attributes", ()))
        service = str(resource.get("service.name", ""))
        for scope in group.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                yield _record(span, service, resource)


def read_spans(path: Path, trace_id: str | None = None) -> list[SpanRecord]:
    """Reads the file that the trace receiver of a running or finished stack wrote.

    Args:
        path: The file; one that does not exist holds no spans.
        trace_id: Only the spans of this trace; None for all.

    Returns:
        The spans, ordered by their start.
    """
    if not path.exists():
        return []
    found = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if trace_id is not None and trace_id not in line:
                continue
            try:
                export = json.loads(line)
            except ValueError:
                continue  # the last line of a stack that was killed while it wrote
            found += [s for s in spans_in(export) if trace_id in (None, s.trace_id)]
    return sorted(found, key=lambda span: (span.start_ns, span.end_ns))


def _record(span: Mapping[str, Any], service: str, resource: Mapping[str, Any]) -> SpanRecord:
    flags = int(span.get("flags", 0))
    status = span.get("status", {})
    return SpanRecord(
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_span_id=span.get("parentSpanId", ""),
        parent_is_remote=bool(flags & _IS_REMOTE) if flags & _HAS_IS_REMOTE else None,
        name=span.get("name", ""),
        service=service,
        kind=_KINDS[int(span.get("kind", 0))],
        start_ns=int(span.get("startTimeUnixNano", 0)),
        end_ns=int(span.get("endTimeUnixNano", 0)),
        status=_STATUSES[int(status.get("code", 0))],
        status_message=status.get("message", ""),
        attributes=_attributes(span.get("attributes", ())),
        resource=resource,
        links=tuple(SpanLink(link["traceId"], link["spanId"]) for link in span.get("links", ())),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair["key"]: _value(pair.get("value", {})) for pair in pairs}


def _value(encoded: Mapping[str, Any]) -> Any:
    if "intValue" in encoded:
        return int(encoded["intValue"])
    if "arrayValue" in encoded:
        return [_value(item) for item in encoded["arrayValue"].get("values", ())]
    if "kvlistValue" in encoded:
        return _attributes(encoded["kvlistValue"].get("values", ()))
    return next(iter(encoded.values()), None)
