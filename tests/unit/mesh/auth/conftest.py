"""Keys that are published by a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from support.tokens import Issuer

from mesh.auth.jwks import KeySet, parse_key_set
from mesh.auth.keys import Keys


class Publisher:
    """A source of keys that does what it is told to.

    Attributes:
        trouble: Raised by the next looks.
        looks: How often somebody looked.
    """

    name = "test"

    def __init__(self, issuer: Issuer, poll_seconds: float) -> None:
        self.poll_seconds = poll_seconds
        self.issuer = issuer
        self.trouble: Exception | None = None
        self.looks = 0

    async def load(self) -> KeySet | None:
        self.looks += 1
        if self.trouble is not None:
            raise self.trouble
        return parse_key_set(self.issuer.jwks_path.read_bytes())

    async def close(self) -> None:
        pass


Publish = Callable[..., tuple[Publisher, Keys]]


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    """Whose tokens are taken."""
    return Issuer(tmp_path)


@pytest.fixture
async def publish(issuer: Issuer) -> AsyncIterator[Publish]:
    """Makes keys that follow a publisher; the test starts them."""
    made: list[Keys] = []

    def make(*, poll_seconds: float = 60.0, cache_seconds: float = 60.0) -> tuple[Publisher, Keys]:
        publisher = Publisher(issuer, poll_seconds)
        made.append(Keys(publisher, cache_seconds=cache_seconds))
        return publisher, made[-1]

    yield make
    for keys in made:
        await keys.stop()
