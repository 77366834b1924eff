"""How much each movie is watched, recent interactions counting more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

# Weights are kept relative to this moment, so that adding an interaction changes one number.
_ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)
_SECONDS_PER_DAY = 86_400.0


class Popularity:
    """Interactions per movie, each halved for every half-life of its age.

    Ages are measured from the newest interaction, so that scores of a data set of the past read as
    those of the present. An interaction at time `t` adds `2 ** ((t - origin) / half-life)`; the
    order of the movies does not depend on the moment of asking.
    """

    def __init__(self, half_life_days: float) -> None:
        """Takes the half-life in days."""
        self._half_life = half_life_days
        self._weights: dict[str, float] = {}
        self._newest = 0.0
        self._order: list[str] | None = None

    def __len__(self) -> int:
        return len(self._weights)

    def add(self, watched: Iterable[tuple[str, datetime]]) -> None:
        """Counts interactions, (movie id, when) each."""
        for movie_id, moment in watched:
            age = self._age(moment)
            self._newest = max(self._newest, age) if self._weights else age
            self._weights[movie_id] = self._weights.get(movie_id, 0.0) + 2.0**age
        self._order = None

    def top(self, limit: int, *, without: Iterable[str] = ()) -> list[tuple[str, float]]:
        """Returns up to `limit` (movie id, score), most watched first.

        Args:
            limit: How many at most.
            without: Ids to leave out.
        """
        if self._order is None:
            self._order = sorted(self._weights, key=lambda m: (-self._weights[m], m))
        gone = set(without)
        scale = 2.0**-self._newest
        found: list[tuple[str, float]] = []
        for movie_id in self._order:
            if len(found) == limit:
                break
            if movie_id not in gone:
                found.append((movie_id, self._weights[movie_id] * scale))
        return found

    def score(self, movie_id: str) -> float:
        """Returns the score of one movie; 0 if nobody watched it."""
        return float(self._weights.get(movie_id, 0.0) * 2.0**-self._newest)

    def _age(self, moment: datetime) -> float:
        days = (moment - _ORIGIN).total_seconds() / _SECONDS_PER_DAY
        # Beyond a thousand half-lives a float's exponent ends; such a time is a mistake anyway.
        return min(max(days / self._half_life, -1000.0), 1000.0)
