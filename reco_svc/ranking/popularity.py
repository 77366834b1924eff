"""How much each movie is watched, recent interactions counting more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from mesh.times import now as wall_clock

_SECONDS_PER_DAY = 86_400.0
# Weights double with every half-life, so they are brought down long before a float is too small.
_REBASE_AFTER_HALF_LIVES = 500.0


class Popularity:
    """Interactions per movie, each halved for every half-life of its age.

    Ages are measured from the newest interaction, so that scores of a data set of the past read as
    those of the present. Weights are kept relative to a fixed origin, an interaction at time `t`
    adding `2 ** ((t - origin) / half-life)`, so that adding one changes one number (forward decay:
    Cormode et al., ICDE 2009); the order of the movies does not depend on the moment of asking.

    What is said to have happened in the future counts as happening now: one wrong clock must not
    make everything else look old.
    """

    def __init__(self, half_life_days: float, *, now: Callable[[], datetime] = wall_clock) -> None:
        """Takes the half-life in days, and the clock."""
        self._half_life = half_life_days
        self._now = now
        self._weights: dict[str, float] = {}
        self._origin: datetime | None = None
        self._newest = 0.0
        self._order: list[str] | None = None

    def __len__(self) -> int:
        return len(self._weights)

    def add(self, watched: Iterable[tuple[str, datetime]]) -> None:
        """Counts interactions, (movie id, when) each."""
        latest = self._now()
        for movie_id, moment in watched:
            age = self._age(min(moment, latest))
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
        """Returns the half-lives from the origin to a moment that is about to be counted."""
        if self._origin is None:
            self._origin = moment
        age = (moment - self._origin).total_seconds() / _SECONDS_PER_DAY / self._half_life
        if age > _REBASE_AFTER_HALF_LIVES:
            self._weights = {
                movie_id: weight * 2.0**-age for movie_id, weight in self._weights.items()
            }
            self._origin, self._newest, age = moment, 0.0, 0.0
        self._newest = max(self._newest, age)
        return age
