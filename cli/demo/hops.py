"""The path of a rating through the mesh, as its trace must show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table

from cli.tracing import SERVICE
from cli.views.text import cell, plain_table
from devstack.spans import SpanRecord
from mesh.kafka import topics

_RECORD = "marquee.reco.v1.InteractionService/RecordInteractions"
_EDGE, _RECO, _NOTIFY = "marquee-edge", "marquee-reco", "marquee-notify"


@dataclass(frozen=True, slots=True)
class Hop:
    """One place that the trace must have passed.

    Attributes:
        name: For people.
        matches: Tells whether a span shows that it did.
    """

    name: str
    matches: Callable[[SpanRecord], bool]


def _is(service: str, kind: str, name: str) -> Callable[[SpanRecord], bool]:
    return lambda span: (span.service, span.kind, span.name) == (service, kind, name)


def _in_mongodb(service: str) -> Callable[[SpanRecord], bool]:
    return lambda span: (
        span.service == service
        and span.kind == "CLIENT"
        and "mongodb" in (span.attributes.get("db.system"), span.attributes.get("db.system.name"))
    )


HOPS: tuple[Hop, ...] = (
    Hop("the call leaves this command", _is(SERVICE, "CLIENT", _RECORD)),
    Hop("Envoy", lambda span: span.service == _EDGE),
    Hop("InteractionService", _is(_RECO, "SERVER", _RECORD)),
    Hop("MongoDB: interactions, state, outbox", _in_mongodb(_RECO)),
    Hop("outbox to Kafka", _is(_RECO, "PRODUCER", f"send {topics.INTERACTION_EVENTS}")),
    Hop("refresher", _is(_RECO, "CONSUMER", f"process {topics.INTERACTION_EVENTS}")),
    Hop("outbox to Kafka again", _is(_RECO, "PRODUCER", f"send {topics.RECOMMENDATION_EVENTS}")),
    Hop(
        "notification service", _is(_NOTIFY, "CONSUMER", f"process {topics.RECOMMENDATION_EVENTS}")
    ),
    Hop("notification plan", _is(_NOTIFY, "INTERNAL", "plan notification")),
    Hop("MongoDB: notification", _in_mongodb(_NOTIFY)),
    Hop("inbox", _is(_NOTIFY, "INTERNAL", "deliver inbox")),
    Hop("live stream", _is(_NOTIFY, "INTERNAL", "deliver stream")),
)


def _short(name: str) -> str:
    service, slash, method = name.partition("/")
    return f"{service.rpartition('.')[2]}/{method}" if slash else name


def missing_hops(spans: Sequence[SpanRecord]) -> list[Hop]:
    """Returns the hops that no span shows, in their order."""
    return [hop for hop in HOPS if not any(map(hop.matches, spans))]


def hops_table(spans: Sequence[SpanRecord]) -> Table:
    """Every hop with when it began, counted from the first span, and how long it took."""
    table = plain_table()
    table.add_column("hop")
    table.add_column("span", overflow="fold")
    table.add_column("begins", justify="right")
    table.add_column("takes", justify="right")
    begin = min((span.start_ns for span in spans), default=0)
    for hop in HOPS:
        span = next((span for span in spans if hop.matches(span)), None)
        if span is None:
            table.add_row(hop.name, cell("missing", "bold red"), "", "")
        else:
            table.add_row(
                hop.name,
                cell(f"{span.service}  {_short(span.name)}"),
                f"{(span.start_ns - begin) / 1e6:.1f} ms",
                f"{span.duration_ms:.1f} ms",
            )
    return table
