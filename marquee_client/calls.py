"""What each call gets on its way out: a deadline, metadata and a span."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from marquee_policy import POLICIES
from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from marquee_client.targets import endpoints
from marquee_client.tokens import AUTHORIZATION

AFFINITY: Final = "x-marquee-affinity"
"""Carries the one user a call is about, so that the edge may send them to the same replica."""

MetadataEntry = tuple[str, str | bytes]

_SCOPE = "marquee_client"
_PROPAGATOR = TraceContextTextMapPropagator()
_USER_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
# Upper bounds in seconds, as the semantic conventions advise.
_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]


def timeout_of(path: str, asked: float | None) -> float | None:
    """Returns how long a call may take: what was asked for, or else the default of its contract.

    Args:
        path: `/marquee.user.v1.UserService/GetUser`.
        asked: Seconds; None: nothing was asked for.
    """
    if asked is not None:
        return asked
    policy = POLICIES.get(path)
    return None if policy is None else policy.default_timeout


def affinity_of(path: str, request: Any) -> str:
    """Returns the one user whose data a request touches.

    Args:
        path: The path of the RPC, whose contract names the field.
        request: The message; anything else, such as a stream of messages, is about nobody.

    Returns:
        A user id; empty if the request names none, several, or something that is no user id.
    """
    policy = POLICIES.get(path)
    if policy is None or not policy.subject_field or not isinstance(request, Message):
        return ""
    people = set(_values(request, policy.subject_field.split(".")))
    if len(people) != 1:
        return ""
    (person,) = people
    return person if _USER_ID.fullmatch(person) else ""


def _values(message: Any, path: list[str]) -> Iterator[str]:
    field = message.DESCRIPTOR.fields_by_name[path[0]]
    value = getattr(message, path[0])
    found = value if field.is_repeated else [value]
    if len(path) == 1:
        yield from found
        return
    for part in found:
        yield from _values(part, path[1:])


def metadata_of(
    path: str,
    given: Iterable[MetadataEntry] | None,
    *,
    request: Any,
    token: str | None,
    span: Span,
) -> list[MetadataEntry]:
    """Returns the metadata of a call. What the caller has given is left as it is.

    Args:
        path: The path of the RPC.
        given: The caller's own.
        request: The message, or a stream of them.
        token: The bearer token; None: none.
        span: The span of the call.
    """
    metadata = [(str(key), value) for key, value in given or ()]
    own: dict[str, str] = {}
    _PROPAGATOR.inject(own, context=trace.set_span_in_context(span))
    if token is not None:
        own[AUTHORIZATION] = f"Bearer {token}"
    if person := affinity_of(path, request):
        own[AFFINITY] = person
    taken = {key for key, _ in metadata}
    return metadata + [(key, value) for key, value in own.items() if key not in taken]


class CallSpans:
    """Client spans and the measurement `rpc.client.call.duration` of the calls to one target."""

    def __init__(self, target: str) -> None:
        self._attributes: dict[str, str | int] = {"rpc.system.name": "grpc"}
        if found := endpoints(target):
            host, port = found[0]
            self._attributes["server.address"] = host
            if port is not None:
                self._attributes["server.port"] = port
        self._tracer = trace.get_tracer(_SCOPE)
        self._duration = metrics.get_meter(_SCOPE).create_histogram(
            "rpc.client.call.duration",
            unit="s",
            description="Duration of an outgoing call",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )

    def start(self, path: str) -> CallSpan:
        """Begins a call."""
        name = path.removeprefix("/")
        attributes = {**self._attributes, "rpc.method": name}
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        return CallSpan(span, self._duration, attributes)


class CallSpan:
    """The span of one call.

    Attributes:
        span: OpenTelemetry's.
    """

    def __init__(
        self, span: Span, duration: metrics.Histogram, attributes: Mapping[str, str | int]
    ) -> None:
        self.span = span
        self._duration = duration
        self._attributes = attributes
        self._began = time.perf_counter()

    def end(self, code: Any) -> None:
        """Ends the span and measures how long the call took.

        Args:
            code: The status, as grpc gives it: a `StatusCode`, a number, None for OK.
        """
        name = code.name if isinstance(code, grpc.StatusCode) else _CODES.get(code or 0, "UNKNOWN")
        outcome = {"rpc.response.status_code": name}
        if name != "OK":
            outcome["error.type"] = name
            self.span.set_status(Status(StatusCode.ERROR))
        self.span.set_attributes(outcome)
        self.span.end()
        self._duration.record(time.perf_counter() - self._began, {**self._attributes, **outcome})
