from __future__ import annotations

import asyncio
import json

from devstack.otlp import TraceStore
from devstack.spans import SpanRecord, read_spans


def span(trace: int, number: int, **more) -> SpanRecord:
    return SpanRecord(
        trace_id=f"{trace:032x}",
        span_id=f"{number:016x}",
        name="n",
        start_ns=number,
        end_ns=number + 1,
        **more,
    )


async def test_a_trace_is_ordered_by_time():
    store = TraceStore()
    await store.add([span(1, 3), span(2, 1)])
    await store.add([span(1, 2)])

    assert [s.start_ns for s in store.trace(f"{1:032x}")] == [2, 3]
    assert store.trace("unknown") == []
    assert len(store) == 3


async def test_the_oldest_traces_are_forgotten_first():
    store = TraceStore(max_spans=4)
    for trace in range(1, 4):
        await store.add([span(trace, 1), span(trace, 2)])

    assert store.trace(f"{1:032x}") == []
    assert len(store.trace(f"{3:032x}")) == 2
    assert len(store) == 4


async def test_who_waits_is_woken():
    store = TraceStore()
    waiting = asyncio.create_task(store.wait_for(f"{1:032x}", lambda found: len(found) == 2))
    await asyncio.sleep(0)
    await store.add([span(1, 1)])
    await store.add([span(1, 2)])

    assert len(await asyncio.wait_for(waiting, 5)) == 2


def test_reading_survives_what_a_killed_stack_left(tmp_path):
    path = tmp_path / "spans.jsonl"
    encoded = {"traceId": "a" * 32, "spanId": "b" * 16, "startTimeUnixNano": "5"}
    line = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [encoded]}]}]})
    path.write_text(f"{line}\n{line[:30]}")

    (found,) = read_spans(path)

    assert (found.trace_id, found.start_ns, found.service) == ("a" * 32, 5, "")
    assert read_spans(path, "c" * 32) == []
    assert read_spans(tmp_path / "nothing.jsonl") == []
