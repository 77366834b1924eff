"""What became of an import."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table

from cli.importing.importer import InteractionReport, MovieReport, Refusal
from cli.views.text import cell, plain_table, seconds, titled

_STATUSES = ("ACCEPTED", "DUPLICATE", "CONFLICT", "UNKNOWN_MOVIE", "INVALID")


def import_table(movies: MovieReport, interactions: InteractionReport) -> Table:
    """Rows by fate, seconds and rate."""
    table = plain_table()
    table.add_column("what")
    table.add_column("fate")
    for name in ("rows", "seconds", "rows/s"):
        table.add_column(name, justify="right")
    fates = (
        ("created", movies.created),
        ("updated", movies.updated),
        ("unchanged", movies.unchanged),
    )
    _add(table, "movies", fates, movies.seconds)
    counts = interactions.counts
    known = [(name.lower(), counts[name]) for name in _STATUSES]
    others = [(name.lower(), counts[name]) for name in sorted(set(counts) - set(_STATUSES))]
    _add(table, "interactions", known + others, interactions.seconds)
    return table


def refusals_table(refusals: Sequence[Refusal], refused: int) -> Group:
    """The first rows that were not recorded, and why."""
    table = plain_table()
    for name in ("event", "user", "movie", "status", "reason"):
        table.add_column(name, overflow="fold")
    for row in refusals:
        fields = (row.event_id, row.user_id, row.movie_id, row.status, row.message)
        table.add_row(*map(cell, fields))
    title = f"the first {len(refusals):,} of {refused:,} rows that were not recorded"
    return titled(title, table)


def _add(table: Table, what: str, fates: Sequence[tuple[str, int]], took: float) -> None:
    total = sum(count for _, count in fates)
    for fate, count in fates:
        if count:
            table.add_row(what, fate, f"{count:,}")
    rate = f"{total / took:,.0f}" if took > 0 else ""
    table.add_row(what, "all", f"{total:,}", seconds(took), rate, style="bold")
