"""How good ranked lists are, measured against interactions that were held out.

Relevance is binary throughout: a movie was held out for the user or it was not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from typing import TypeVar

MovieKey = TypeVar("MovieKey", bound=Hashable)
UserKey = TypeVar("UserKey", bound=Hashable)


def recall_at_k(ranked: Sequence[MovieKey], relevant: Collection[MovieKey], k: int = 10) -> float:
    """Return the share of the relevant movies that stand among the first ``k`` of the list.

    Args:
        ranked: Distinct movies, best first.
        relevant: The held-out movies, not empty.
        k: Length of the list that counts.
    """
    return sum(movie in relevant for movie in ranked[:k]) / len(relevant)


def ndcg_at_k(ranked: Sequence[MovieKey], relevant: Collection[MovieKey], k: int = 10) -> float:
    """Return the normalised discounted cumulative gain of the first ``k`` of the list.

    The gain at place ``p`` (from 1) is ``1 / log2(p + 1)``; the ideal list has hits in its first
    ``min(k, len(relevant))`` places (Järvelin and Kekäläinen, TOIS 2002, with binary relevance).

    Args:
        ranked: Distinct movies, best first.
        relevant: The held-out movies, not empty.
        k: Length of the list that counts.
    """
    gained = sum(1 / log2(place + 2) for place, movie in enumerate(ranked[:k]) if movie in relevant)
    ideal = sum(1 / log2(place + 2) for place in range(min(k, len(relevant))))
    return gained / ideal


def coverage_at_k(
    rankings: Iterable[Sequence[MovieKey]], catalogue_size: int, k: int = 10
) -> float:
    """Return the share of the catalogue that appears in the first ``k`` of at least one list."""
    shown = {movie for ranked in rankings for movie in ranked[:k]}
    return len(shown) / catalogue_size if catalogue_size else 0.0


@dataclass(frozen=True, slots=True)
class RankingQuality:
    """The quality of one list per user.

    Attributes:
        ndcg: Mean NDCG@k over the users measured, 0 to 1.
        recall: Mean recall@k over the users measured, 0 to 1.
        coverage: Share of the catalogue that was shown to somebody, 0 to 1.
        users: How many users were measured: those with held-out movies.
        k: Length of the lists.
    """

    ndcg: float
    recall: float
    coverage: float
    users: int
    k: int


def measure_rankings(
    rankings: Mapping[UserKey, Sequence[MovieKey]],
    held_out: Mapping[UserKey, Collection[MovieKey]],
    *,
    catalogue_size: int,
    k: int = 10,
) -> RankingQuality:
    """Measure one ranked list per user against what was held out for them.

    Users with nothing held out do not count. A user with held-out movies but no list counts as
    zero: a service that answers nothing must not look better for it.

    Args:
        rankings: The movies recommended to each user, best first, without those they know.
        held_out: The movies held out for each user.
        catalogue_size: Number of movies that could have been recommended.
        k: Length of the lists that counts.
    """
    relevant = {user: frozenset(movies) for user, movies in held_out.items() if movies}
    lists = {user: rankings.get(user, ()) for user in relevant}
    users = len(relevant)
    ndcg = sum(ndcg_at_k(lists[user], movies, k) for user, movies in relevant.items())
    recall = sum(recall_at_k(lists[user], movies, k) for user, movies in relevant.items())
    return RankingQuality(
        ndcg=ndcg / users if users else 0.0,
        recall=recall / users if users else 0.0,
        coverage=coverage_at_k(lists.values(), catalogue_size, k),
        users=users,
        k=k,
    )


def popularity_rankings(
    known: Mapping[UserKey, Collection[MovieKey]], users: Iterable[UserKey], *, k: int = 10
) -> dict[UserKey, list[MovieKey]]:
    """Recommend to everyone the most watched movies they do not know: the baseline to beat.

    Args:
        known: The movies each user interacted with in the training part; popularity is counted
            over all of them. Among equally popular movies the one counted first stands first.
        users: Whom to make a list for.
        k: Length of the lists.
    """
    counts = Counter(movie for movies in known.values() for movie in movies)
    popular = [movie for movie, _ in counts.most_common()]
    rankings: dict[UserKey, list[MovieKey]] = {}
    for user in users:
        seen = frozenset(known.get(user, ()))
        unseen = (movie for movie in popular if movie not in seen)
        rankings[user] = [movie for movie, _ in zip(unseen, range(k), strict=False)]
    return rankings
