"""The words of a notification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from notify_svc.domain import NamedMovie, Recipient

_NAMED_MOVIES = 5
_NAMED_REASONS = 2
_MAX_TITLE = 80
_MAX_NAME = 40


@dataclass(frozen=True, slots=True)
class Text:
    """A notification's words.

    Attributes:
        title: One line.
        body: One line for each movie that is named.
    """

    title: str
    body: str


def render_new_movies(movies: Sequence[NamedMovie], recipient: Recipient) -> Text:
    """Tells of movies that are new among someone's recommendations, and why they are there.

    Args:
        movies: At least one, best first.
        recipient: Who is told.
    """
    name = _line(recipient.display_name, _MAX_NAME)
    first = _line(movies[0].title, _MAX_TITLE)
    title = f"New for you{', ' + name if name else ''}: {first}"
    if len(movies) > 1:
        title += f" and {len(movies) - 1} more"
    lines = [_reasoned(movie) for movie in movies[:_NAMED_MOVIES]]
    if len(movies) > _NAMED_MOVIES:
        lines.append(f"And {len(movies) - _NAMED_MOVIES} more.")
    return Text(title, "\n".join(lines))


def _reasoned(movie: NamedMovie) -> str:
    title = _line(movie.title, _MAX_TITLE)
    reasons = [_line(reason, _MAX_TITLE) for reason in movie.because[:_NAMED_REASONS]]
    if not reasons:
        return f"{title} is now among your recommendations."
    return f"{title}: because you watched {' and '.join(reasons)}."


def _line(text: str, longest: int) -> str:
    """Makes one line of at most `longest` characters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
