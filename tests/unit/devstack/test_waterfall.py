from __future__ import annotations

import io
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from devstack.spans import SpanLink, SpanRecord
from devstack.waterfall import waterfall

TRACE = "ab" * 16
EPOCH = 1_700_000_000_000_000_000
numbers = itertools.count(1)


def span(name, start_ms, end_ms, *, parent=None, service="svc", **more) -> SpanRecord:
    return SpanRecord(
        trace_id=TRACE,
        span_id=more.pop("span_id", f"{next(numbers):016x}"),
        parent_span_id=parent.span_id if parent else more.pop("parent_span_id", ""),
        name=name,
        service=service,
        start_ns=EPOCH + int(start_ms * 1e6),
        end_ns=EPOCH + int(end_ms * 1e6),
        **more,
    )


def drawn(spans, width=120) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(waterfall(spans, width=width))
    return console.file.getvalue().splitlines()


def line_of(lines, name) -> str:
    (found,) = [line for line in lines if name in line]
    return found


def test_the_tree_the_services_and_the_durations():
    edge = span("edge.v1.Films/Get", 0, 100, service="edge", kind="SERVER")
    film = span("films.v1.Films/Get", 10, 90, parent=edge, service="films", kind="SERVER")
    find = span("find films", 20, 40, parent=film, service="films", kind="CLIENT")
    send = span("send topic", 50, 60, parent=film, service="films", kind="PRODUCER")
    lines = drawn([send, find, film, edge])

    assert TRACE in lines[0]
    assert "4 spans, 2 services, 100 ms" in lines[0]
    names = [line[:24].rstrip() for line in lines[2:6]]
    assert names == ["◀ Films/Get", "└ ◀ Films/Get", "  ├ ▶ find films", "  └ ⇥ send topic"]
    assert line_of(lines, "find films").rstrip().endswith("20.0 ms")


@pytest.mark.parametrize("width", [100, 140])
def test_bars_lie_on_one_axis(width):
    whole = span("whole", 0, 100)
    first = span("first", 0, 50, parent=whole)
    second = span("second", 50, 100, parent=whole)
    lines = drawn([whole, first, second], width)

    def extent(name):
        line = line_of(lines, name)
        return line.index("█"), line.rindex("█")

    assert extent("whole")[0] == extent("first")[0]
    assert extent("whole")[1] == extent("second")[1]
    assert abs(extent("second")[0] - extent("first")[1]) <= 1
    assert all(len(line) <= width for line in lines)


def test_clocks_that_disagree_and_parents_that_are_missing():
    parent = span("parent", 10, 20)
    early = span("early child", 5, 12, parent=parent)
    lost = span("lost", 30, 31, parent_span_id="f" * 16)
    lines = drawn([early, lost, parent])

    assert line_of(lines, "early child").startswith("└ ")
    assert line_of(lines, "lost").startswith("lost")
    assert "26.0 ms" in lines[0]


def test_like_spans_are_folded_from_four_on():
    parent = span("parent", 0, 100)
    finds = [span("find", n, n + 1, parent=parent) for n in range(5)]
    inserts = [span("insert", 10 + n, 11 + n, parent=parent) for n in range(3)]
    lines = drawn([parent, *finds, *inserts])

    assert "\N{MULTIPLICATION SIGN}5" in line_of(lines, "find")
    assert sum("insert" in line for line in lines) == 3


def test_a_span_with_children_is_not_folded():
    parent = span("parent", 0, 100)
    finds = [span("find", n, n + 1, parent=parent) for n in range(6)]
    child = span("child", 2, 3, parent=finds[2])
    lines = drawn([parent, *finds, child])

    assert "child" in lines[lines.index(line_of(lines, "child"))]
    assert sum("find" in line for line in lines) == 6


def test_links_are_named():
    cause = span("cause", 0, 1)
    effect = span(
        "effect",
        2,
        3,
        links=(SpanLink(TRACE, cause.span_id), SpanLink("cd" * 16, "1" * 16)),
    )
    lines = drawn([cause, effect])

    assert "⤳ effect follows cause" in lines
    assert f"⤳ effect follows {'1' * 16} of trace {'cd' * 16}" in lines


def test_errors_are_red():
    console = Console(width=100, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(waterfall([span("fine", 0, 1), span("broken", 0, 1, status="ERROR")], width=100))
    fine, broken = console.file.getvalue().splitlines()[2:4]

    assert "\x1b[31m" in broken
    assert "\x1b[31m" not in fine


def test_no_spans_and_circles():
    assert drawn([]) == ["no spans were collected"]
    one = span("one", 0, 1, span_id="a" * 16, parent_span_id="b" * 16)
    other = span("other", 0, 1, span_id="b" * 16, parent_span_id="a" * 16)
    itself = span("itself", 0, 1, span_id="c" * 16, parent_span_id="c" * 16)
    lines = drawn([one, other, itself])

    for name in ("one", "other", "itself"):
        assert line_of(lines, name)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 5000), st.integers(-10, 5000)),
        min_size=1,
        max_size=12,
    ),
    width=st.integers(100, 160),
)
def test_any_trace_can_be_drawn(rows, width):
    spans = [
        span(
            f"name {n}",
            start,
            start + length,
            span_id=f"{n:016x}",
            parent_span_id=f"{parent:016x}",
            service=f"service-{parent % 3}",
        )
        for n, (parent, start, length) in enumerate(rows)
    ]
    lines = drawn(spans, width)

    assert all(len(line) <= width for line in lines)
    assert len(lines) == 2 + len(rows)
    for one in spans:
        assert sum(f"{one.name} " in line for line in lines) == 1
