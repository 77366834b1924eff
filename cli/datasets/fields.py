"""Reads single fields of a row, with reasons when they cannot be read."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from cli.datasets.records import Movie
from mesh.ids import is_id

_TITLE_AND_YEAR = re.compile(r"(?P<title>.*\S)\s*\((?P<year>\d{4})\)\s*\Z")
_YEARS = range(1870, 2201)
_LONGEST_TITLE = 500
_MOST_GENRES = 32
_NO_GENRE = frozenset({"", "unknown", "(no genres listed)"})
_LATEST_TIME = 253_402_300_799  # the last second of the year 9999
_RATINGS = (0.5, 5.0)


class FieldError(ValueError):
    """A field of a row cannot be read; the text says which and why."""


def identifier(label: str, text: str) -> str:
    """Reads an id.

    Raises:
        FieldError: It cannot be an id of the mesh.
    """
    text = text.strip()
    if not is_id(text):
        raise FieldError(
            f"{label} {text[:40]!r} is not an id (1 to 128 characters of A-Z a-z 0-9 . _ ~ -)"
        )
    return text


def rating(text: str) -> float:
    """Reads a rating.

    Raises:
        FieldError: It is not a number from 0.5 to 5.
    """
    value = _number("rating", text)
    lowest, highest = _RATINGS
    if not lowest <= value <= highest:
        raise FieldError(f"rating {text.strip()[:40]} is outside {lowest:g} to {highest:g}")
    return value


def unix_time(text: str) -> int:
    """Reads seconds since 1970; a fraction is cut off.

    Raises:
        FieldError: It is not such a number.
    """
    value = _number("timestamp", text)
    if not 0 <= value <= _LATEST_TIME:
        raise FieldError(f"timestamp {text.strip()[:40]} is not in seconds since 1970")
    return int(value)


def movie(movie_id: str, title: str, year: str, genres: Sequence[str]) -> Movie:
    """Reads a movie.

    The year is that of its field, else the one in brackets behind the title, else unknown; the
    brackets are cut off either way.

    Args:
        movie_id: Its id.
        title: Its title.
        year: Its year of release, or anything else where the file does not know it.
        genres: Names of genres; those that stand for "none" are left out.

    Raises:
        FieldError: The id or the title cannot be used.
    """
    name, behind = title.strip(), ""
    if match := _TITLE_AND_YEAR.match(name):
        name, behind = match["title"], match["year"]
    if not 0 < len(name) <= _LONGEST_TITLE:
        raise FieldError(f"the title has {len(name)} characters instead of 1 to {_LONGEST_TITLE}")
    named = tuple(dict.fromkeys(g.strip() for g in genres if g.strip() not in _NO_GENRE))
    if len(named) > _MOST_GENRES:
        raise FieldError(f"{len(named)} genres, at most {_MOST_GENRES} are allowed")
    return Movie(identifier("movie id", movie_id), name, named, _year(year) or _year(behind))


def _year(text: str) -> int:
    text = text.strip()
    return int(text) if re.fullmatch(r"\d{4}", text) and int(text) in _YEARS else 0


def _number(label: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FieldError(f"{label} {text.strip()[:40]!r} is not a number")
    return value
