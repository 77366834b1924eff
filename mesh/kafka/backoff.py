"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential growth with jitter.

    The wait is drawn evenly from the upper half of the interval that the exponential allows, so
    that many waiters spread out and none returns at once ("equal jitter", AWS Architecture Blog,
    "Exponential Backoff and Jitter", 2015).

    Attributes:
        first: Longest wait before the second attempt, seconds.
        longest: Longest wait at all, seconds.
    """

    first: float = 0.1
    longest: float = 5.0

    def seconds(self, failures: int) -> float:
        """Returns how long to wait after this many failures in a row, counted from 1."""
        ceiling = min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311  # jitter is no secret
