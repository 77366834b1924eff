"""One trace shows the whole path of a rating, from Envoy to the inbox and the live stream."""

from __future__ import annotations

import pytest
from support.running import RunningMesh

from cli.demo import steps
from cli.demo.live_stream import subscribe
from devstack.spans import SpanRecord
from mesh.kafka import topics

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(400),  # the first test waits for the import
]

USER_ID = "234"
RECORD = "marquee.reco.v1.InteractionService/RecordInteractions"


def _find(spans: list[SpanRecord], service: str, name: str) -> SpanRecord:
    found = [span for span in spans if span.service == service and span.name.startswith(name)]
    shown = sorted({(span.service, span.kind, span.name) for span in spans})
    assert found, f"no {name!r} of {service} among {shown}"
    return found[0]


def _path(spans: list[SpanRecord]) -> list[SpanRecord]:
    """The spans of the path, in order; fails with the name of the one that is missing."""
    interactions = topics.INTERACTION_EVENTS
    lists = topics.RECOMMENDATION_EVENTS
    return [
        next(span for span in spans if span.service == "marquee-edge"),
        _find(spans, "marquee-reco", RECORD),
        next(
            span
            for span in spans
            if span.service == "marquee-reco" and "db.system" in "".join(span.attributes)
        ),
        _find(spans, "marquee-reco", f"send {interactions}"),
        _find(spans, "marquee-reco", f"process {interactions}"),
        _find(spans, "marquee-reco", f"send {lists}"),
        _find(spans, "marquee-notify", f"process {lists}"),
        _find(spans, "marquee-notify", "plan notification"),
        _find(spans, "marquee-notify", "deliver inbox"),
        _find(spans, "marquee-notify", "deliver stream"),
    ]


async def test_one_trace_holds_the_whole_path(running: RunningMesh) -> None:
    mesh, traces = running.mesh, running.stack.traces
    plan = await steps.plan_ratings(mesh, running.dataset, USER_ID)
    async with subscribe(mesh, USER_ID) as stream:
        told = await steps.rate_and_wait(mesh, stream, USER_ID, list(plan.titles))

    names = {"deliver stream", "deliver inbox", f"send {topics.RECOMMENDATION_EVENTS}"}
    spans = await traces.wait_for(
        told.trace_id,
        lambda found: (
            names <= {span.name for span in found}
            and any(span.service == "marquee-edge" for span in found)
        ),
        20.0,
    )
    spans = list(spans)
    path = _path(spans)

    assert {span.trace_id for span in path} == {told.trace_id}
    begins = [span.start_ns for span in path]
    assert begins[1] <= begins[4] <= begins[6] <= begins[8]
    # Every span but those that the caller began hangs below another one of the trace.
    ids = {span.span_id for span in spans}
    orphans = [(span.service, span.name) for span in path[1:] if span.parent_span_id not in ids]
    assert not orphans
    # A message's span links to what caused the message.
    linked = [span for span in path if span.name.startswith(("send ", "process "))]
    assert all(link.trace_id == told.trace_id for span in linked for link in span.links)
    assert all(span.links for span in linked)
