"""Ranking for people of whom nothing but their preferred genres is known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from math import log1p


def rank_by_genres(
    movies: Iterable[tuple[str, Collection[str]]],
    liked: Collection[str],
    disliked: Collection[str],
    popularity: Callable[[str], float],
    limit: int,
) -> list[tuple[str, float]]:
    """Ranks movies by how well their genres fit, and among equals by popularity.

    The score is the share of liked genres a movie has, times one plus the logarithm of its
    popularity: a movie of the right genres that people watch comes before one they do not. Movies
    with a disliked genre, or without a liked one, are left out.

    Args:
        movies: (movie id, genres).
        liked: Genre names, compared without case.
        disliked: The same.
        popularity: Score of a movie, 0 or more.
        limit: How many at most.

    Returns:
        (movie id, score), best first.
    """
    wanted = {genre.casefold() for genre in liked}
    unwanted = {genre.casefold() for genre in disliked}
    ranked = []
    for movie_id, genres in movies:
        own = {genre.casefold() for genre in genres}
        if own & unwanted or not own & wanted:
            continue
        fit = len(own & wanted) / len(wanted)
        ranked.append((movie_id, fit * (1 + log1p(popularity(movie_id)))))
    ranked.sort(key=lambda pair: (-pair[1], pair[0]))
    return ranked[:limit]
