"""Lists of movies."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from marquee.reco.v1 import recommendation_service_pb2 as pb
from rich.console import Group
from rich.text import Text

from cli.views.text import cell, plain_table, titled

_REASONS = 3


def recommendation_table(recommendations: Sequence[pb.Recommendation], title: str) -> Group:
    """Title, genres, score, source, and the watched movies that speak for each."""
    table = plain_table()
    table.add_column("#", justify="right")
    table.add_column("title", overflow="fold")
    table.add_column("genres", overflow="fold")
    table.add_column("score", justify="right")
    table.add_column("source")
    table.add_column("because of", overflow="fold")
    for place, item in enumerate(recommendations, start=1):
        table.add_row(
            str(place),
            cell(title_of(item.movie.title, item.movie.year)),
            cell(", ".join(item.movie.genres)),
            f"{item.score:.3f}",
            source_name(item.source),
            _reasons(item.contributions),
        )
    return titled(title, table)


def change_table(
    before: Sequence[pb.Recommendation], after: Sequence[pb.Recommendation], title: str
) -> Group:
    """Two lists side by side; what is new in the second is marked."""
    known = {item.movie.id for item in before}
    table = plain_table()
    table.add_column("#", justify="right")
    table.add_column("before", overflow="fold")
    table.add_column("after", overflow="fold")
    table.add_column("", justify="left")
    for place in range(max(len(before), len(after))):
        table.add_row(
            str(place + 1),
            _title_at(before, place, ()),
            _title_at(after, place, known),
            "new" if place < len(after) and after[place].movie.id not in known else "",
        )
    return titled(title, table)


def title_of(title: str, year: int) -> str:
    """Returns a title with its year, if known."""
    return f"{title} ({year})" if year else title


def source_name(source: pb.Source) -> str:
    """Returns the name of a source without its prefix."""
    return pb.Source.Name(source).removeprefix("SOURCE_")


def _title_at(items: Sequence[pb.Recommendation], place: int, known: Collection[str]) -> Text:
    if place >= len(items):
        return Text()
    movie = items[place].movie
    is_new = bool(known) and movie.id not in known
    return cell(title_of(movie.title, movie.year), "bold green" if is_new else "")


def _reasons(contributions: Sequence[pb.Contribution]) -> Text:
    return cell(", ".join(f"{c.title} {c.value:+.3f}" for c in contributions[:_REASONS]))
