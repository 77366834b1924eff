"""The random per-user split on which models are measured.

The trainer and the command that evaluates over gRPC must hold out the very same interactions
although they read them from different places and in different orders. So whether an interaction
is held out depends on nothing but the seed, the ids and what else its user interacted with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

HELD_OUT_FRACTION = 0.25
"""Share of each user's interactions that published MovieLens comparisons hold out."""


def held_out_mask(
    users: Sequence[str],
    movies: Sequence[str],
    *,
    seed: int,
    fraction: float = HELD_OUT_FRACTION,
) -> NDArray[np.bool_]:
    """Choose the interactions to hold out: a fraction of each user's movies, drawn at random.

    Each (user, movie) pair is given a hash of (seed, user, movie); of every user the pairs with
    the smallest hashes are held out. Rows that repeat a pair stay together on one side. Of ``n``
    movies ``fraction * n``, rounded half up, are held out, but at least one always stays.

    Args:
        users: User ids, ``[rows]``, in any order.
        movies: Movie ids, ``[rows]``.
        seed: Another seed gives another split.
        fraction: Share to hold out, at least 0 and less than 1.

    Returns:
        ``[rows]``, true where the row is held out.

    Raises:
        ValueError: When the lengths differ or the fraction is out of range.
    """
    if len(users) != len(movies):
        raise ValueError(f"{len(users)} users and {len(movies)} movies do not match")
    if not 0 <= fraction < 1:
        raise ValueError(f"the held-out fraction must lie in [0, 1), not {fraction}")

    movies_of: defaultdict[str, set[str]] = defaultdict(set)
    for user, movie in zip(users, movies, strict=True):
        movies_of[user].add(movie)
    held_out = {
        user: _draw(user, watched, seed, min(int(fraction * len(watched) + 0.5), len(watched) - 1))
        for user, watched in movies_of.items()
    }
    return np.fromiter(
        (movie in held_out[user] for user, movie in zip(users, movies, strict=True)),
        dtype=bool,
        count=len(users),
    )


def _draw(user: str, movies: set[str], seed: int, count: int) -> frozenset[str]:
    """Return the ``count`` movies whose hash with the seed and the user is smallest."""
    keyed = blake2b(f"{seed}\0{user}\0".encode(), digest_size=16)

    def rank(movie: str) -> tuple[bytes, str]:
        digest = keyed.copy()
        digest.update(movie.encode())
        return digest.digest(), movie

    return frozenset(sorted(movies, key=rank)[:count])
