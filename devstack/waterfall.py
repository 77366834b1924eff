"""Draws one trace as a waterfall in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from devstack.spans import SpanRecord

_PALETTE = ("cyan", "green", "magenta", "yellow", "blue", "bright_red", "bright_cyan", "white")
_KIND_MARKS = {"SERVER": "◀", "CLIENT": "▶", "PRODUCER": "⇥", "CONSUMER": "⇤"}
_LINK_MARK = "⤳"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_FOLD_FROM = 4
_MIN_NAME_WIDTH, _MAX_NAME_WIDTH = 24, 60
_DURATION_WIDTH = 9


@dataclass(frozen=True, slots=True)
class _Row:
    span: SpanRecord
    prefix: str
    """The lines of the tree in front of the name."""
    end_ns: int
    """The end of the span, or of the last one of those folded into this row."""
    folded: int = 1
    """How many like spans this row stands for."""


def waterfall(spans: Sequence[SpanRecord], *, width: int = 120) -> RenderableType:
    """A waterfall of one trace, for `rich` to print.

    Each row is a span: its place in the tree, its service, its time on a common axis and its
    duration. Runs of four and more sibling spans of the same name and without children are
    folded into one row. A span whose parent was not collected starts a tree of its own. Spans
    are placed by the clocks of their senders, so a child may begin before its parent. Links are
    named below the rows.

    Args:
        spans: The spans of one trace, in any order.
        width: Columns of the terminal; below 80 names are cut short.

    Returns:
        A renderable of `width` columns, which says so if there are no spans.
    """
    if not spans:
        return Text("no spans were collected", style="dim")
    unique = list({span.span_id: span for span in spans}.values())
    begin = min(span.start_ns for span in unique)
    length = max(1, max(span.end_ns for span in unique) - begin)
    colours = _colours(unique)
    rows = list(_rows(unique))

    service_width = min(16, max(len(span.service) for span in unique))
    wanted = max(len(row.prefix) + len(_name(row)) for row in rows)
    name_width = max(_MIN_NAME_WIDTH, min(_MAX_NAME_WIDTH, wanted, width * 45 // 100))
    bar_width = max(10, width - name_width - service_width - _DURATION_WIDTH - 3)

    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=name_width, no_wrap=True, overflow="ellipsis")
    table.add_column(width=service_width, no_wrap=True, overflow="ellipsis")
    table.add_column(width=bar_width, no_wrap=True)
    table.add_column(width=_DURATION_WIDTH, no_wrap=True, justify="right")
    table.add_row("", "", _axis(length, bar_width), "")
    for row in rows:
        colour = colours[row.span.service]
        bar = _bar(row.span.start_ns - begin, row.end_ns - begin, length, bar_width)
        table.add_row(
            _label(row, colour),
            Text(row.span.service, style=colour),
            Text(bar, style="red" if row.span.status == "ERROR" else colour),
            _milliseconds(row.end_ns - row.span.start_ns),
        )
    return Group(_headline(unique, length), table, *_links(unique))


def _headline(spans: Sequence[SpanRecord], length: int) -> Text:
    services = len({span.service for span in spans})
    headline = Text.assemble(
        ("trace ", "dim"),
        (spans[0].trace_id, "bold"),
        (
            f"  {_count(len(spans), 'span')}, {_count(services, 'service')}, "
            f"{_milliseconds(length)}",
            "dim",
        ),
    )
    headline.no_wrap = True
    return headline


def _rows(spans: Sequence[SpanRecord]) -> Iterator[_Row]:
    known = {span.span_id for span in spans}
    children: dict[str, list[SpanRecord]] = {}
    for span in sorted(spans, key=lambda span: (span.start_ns, -span.end_ns)):
        # A span that names itself as its parent would hang in the air.
        adopted = span.parent_span_id in known - {span.span_id}
        children.setdefault(span.parent_span_id if adopted else "", []).append(span)
    shown: set[str] = set()
    yield from _below("", "", children, shown)
    for span in spans:
        # What is left hangs in a circle of parents; it is shown all the same.
        if span.span_id not in shown:
            shown.add(span.span_id)
            yield _Row(span, "", span.end_ns)


def _below(
    parent: str, indent: str, children: dict[str, list[SpanRecord]], shown: set[str]
) -> Iterator[_Row]:
    runs = list(_runs(children.get(parent, ()), children))
    for index, run in enumerate(runs):
        span = run[0]
        shown.update(each.span_id for each in run)
        last = index == len(runs) - 1
        if parent:
            branch, deeper = ("└ ", "  ") if last else ("├ ", "│ ")
        else:
            branch = deeper = ""
        yield _Row(span, indent + branch, max(each.end_ns for each in run), len(run))
        yield from _below(span.span_id, indent + deeper, children, shown)


def _runs(
    siblings: Iterable[SpanRecord], children: dict[str, list[SpanRecord]]
) -> Iterator[list[SpanRecord]]:
    run: list[SpanRecord] = []
    for span in siblings:
        alike = run and (run[0].name, run[0].service) == (span.name, span.service)
        if run and not (alike and span.span_id not in children):
            yield from _folded(run)
            run = []
        run.append(span)
        if span.span_id in children:
            yield from _folded(run)
            run = []
    yield from _folded(run)


def _folded(run: list[SpanRecord]) -> Iterator[list[SpanRecord]]:
    if len(run) >= _FOLD_FROM:
        yield run
    else:
        yield from ([span] for span in run)


def _name(row: _Row) -> str:
    mark = _KIND_MARKS.get(row.span.kind)
    times = f" \N{MULTIPLICATION SIGN}{row.folded}" if row.folded > 1 else ""
    link = f" {_LINK_MARK}" if row.span.links else ""
    return f"{mark + ' ' if mark else ''}{_short(row.span.name)}{times}{link}"


def _short(name: str) -> str:
    """Without the Protobuf package, which would crowd out what tells RPCs apart."""
    service, slash, method = name.partition("/")
    return f"{service.rpartition('.')[2]}/{method}" if slash and method else name


def _links(spans: Sequence[SpanRecord]) -> Iterator[Text]:
    names = {span.span_id: span.name for span in spans}
    for span in spans:
        for link in span.links:
            target = _short(names.get(link.span_id, link.span_id))
            elsewhere = "" if link.trace_id == span.trace_id else f" of trace {link.trace_id}"
            yield Text(f"{_LINK_MARK} {_short(span.name)} follows {target}{elsewhere}", style="dim")


def _label(row: _Row, colour: str) -> Text:
    label = Text(row.prefix, style="dim")
    label.append(_name(row), style="bold red" if row.span.status == "ERROR" else colour)
    return label


def _axis(length: int, width: int) -> Text:
    middle, end = _milliseconds(length // 2), _milliseconds(length)
    line = list("0" + " " * (width - 1))
    line[width - len(end) :] = end
    half = width // 2
    if half + len(middle) < width - len(end) - 1:
        line[half : half + len(middle)] = middle
    return Text("".join(line), style="dim")


def _bar(start: int, end: int, length: int, width: int) -> str:
    """A bar from the column of its start to the eighth of a column of its end."""
    first = min(width - 1, start * width // length)
    eighths = max(1, round(end * width * 8 / length) - first * 8)
    whole, rest = divmod(eighths, 8)
    return " " * first + "█" * whole + (_EIGHTHS[rest] if rest else "")


def _colours(spans: Sequence[SpanRecord]) -> dict[str, str]:
    services = dict.fromkeys(span.service for span in sorted(spans, key=lambda s: s.start_ns))
    return {service: _PALETTE[i % len(_PALETTE)] for i, service in enumerate(services)}


def _milliseconds(nanoseconds: int) -> str:
    value = max(0, nanoseconds) / 1e6
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
