"""Chooses what the demo's person rates: movies of a kind they have watched little."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from cli.datasets.records import Dataset, Movie

_LEAST_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class Anchor:
    """A movie to begin with.

    Attributes:
        genre: The genre it stands for.
        movie: The most rated movie of that genre among those the person does not know.
        lift: How much of the genre the person watched, compared with everybody: 1 is the same.
    """

    genre: str
    movie: Movie
    lift: float


def anchors(dataset: Dataset, watched: Collection[str]) -> list[Anchor]:
    """Returns one anchor per genre of some weight, the genre the person watched least first.

    Args:
        dataset: Movies and everybody's ratings.
        watched: The ids of the movies the person knows.
    """
    movies = {movie.id: movie for movie in dataset.movies}
    counts = _counts(dataset)
    everybody = _genres({movies[m]: count for m, count in counts.items() if m in movies})
    person = _genres({movies[m]: 1 for m in watched if m in movies})
    total, own = everybody.total() or 1, person.total() or 1
    by_popularity = [movies[m] for m, _ in counts.most_common() if m in movies]
    found = []
    for genre, count in everybody.items():
        if count / total < _LEAST_SHARE:
            continue
        unseen = next(_unseen(by_popularity, genre, watched), None)
        if unseen is not None:
            found.append(Anchor(genre, unseen, (person[genre] / own) / (count / total)))
    return sorted(found, key=lambda anchor: (anchor.lift, anchor.genre))


def _unseen(movies: list[Movie], genre: str, watched: Collection[str]) -> Iterator[Movie]:
    return (movie for movie in movies if genre in movie.genres and movie.id not in watched)


def _counts(dataset: Dataset) -> Counter[str]:
    ratings = dataset.ratings
    return Counter(ratings.movie_ids[number] for number in ratings.movies)


def _genres(weights: dict[Movie, int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for movie, weight in weights.items():
        for genre in movie.genres:
            counts[genre] += weight
    return counts
