"""The keys that tokens are verified with, as fresh as the cache time asks."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from mesh.auth.jwks import KeysError, KeySet, KeysUnreachable, KeysUnreadable
from mesh.auth.key_sources import KeySource
from mesh.background import end_background, start_background
from mesh.errors import Unauthenticated, Unavailable

_log = structlog.get_logger(__name__)

STALE_FACTOR: Final = 10
"""How many cache times the last keys are used for while their source fails."""

_EARLY_SECONDS: Final = 5.0
_START_SECONDS: Final = 3.0
_PATIENCE_SECONDS: Final = 1.0
_MOST_WAITING: Final = 64
_FIRST_RETRY_SECONDS: Final = 0.5
_LAST_RETRY_SECONDS: Final = 10.0


class Keys:
    """Keeps the published keys at hand.

    They are looked up again in the background, well within the cache time. A kid that nobody knows
    brings the next look forward, at most once in a few seconds. While the source fails, the last
    keys serve for `STALE_FACTOR` cache times; then, and before there ever were any, calls are
    answered UNAVAILABLE with the reason KEYS_UNAVAILABLE. The logs tell when looks begin to fail,
    when the last keys are too old, and when there are keys again.
    """

    def __init__(self, source: KeySource, *, cache_seconds: float) -> None:
        """Takes the place where keys are published, and how long they are believed."""
        self._source = source
        self._early_seconds = min(_EARLY_SECONDS, source.poll_seconds)
        self._stale_seconds = STALE_FACTOR * cache_seconds
        self._keys: KeySet | None = None
        self._generation = 0
        self._confirmed_at = 0.0
        self._asked_at = -math.inf
        self._failures = 0
        self._told_too_old = False
        self._looking: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._waiting = 0

    async def start(self) -> None:
        """Looks the keys up, and goes on doing so.

        Publishers who do not answer keep nobody from starting.

        Raises:
            KeysUnreadable: The place holds no keys that can be used.
        """
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._load()
            if not self._keys:
                raise KeysUnreadable("has no key for ES256")
        except (KeysUnreachable, TimeoutError) as error:
            self._failed(str(error) or "does not answer in time")
        except KeysError as error:
            await self._source.close()
            raise KeysUnreadable(f"{self._source.name} {error} (MARQUEE_AUTH_JWKS)") from None
        self._following = start_background(self._follow(), name="keys of tokens")

    async def stop(self) -> None:
        """Ends the look-ups."""
        await end_background(task for task in (self._following, self._looking) if task is not None)
        await self._source.close()

    @property
    def generation(self) -> int:
        """Changes whenever the keys do.

        Raises:
            Unavailable: There are no keys, or they are too old.
        """
        self._current()
        return self._generation

    async def find(self, kid: str) -> EllipticCurvePublicKey:
        """Returns a key by its kid.

        Raises:
            Unauthenticated: No such key is published.
            Unavailable: There are no keys, or they are too old.
        """
        key = self._current().get(kid)
        if key is None and await self._looked_again():
            key = self._current().get(kid)
        if key is None:
            raise Unauthenticated("TOKEN_KEY_UNKNOWN", "the token is signed with an unknown key")
        return key

    def _current(self) -> KeySet:
        if self._keys is None or self._too_old():
            raise Unavailable("KEYS_UNAVAILABLE", "the keys that verify tokens cannot be had now")
        return self._keys

    def _too_old(self) -> bool:
        return time.monotonic() - self._confirmed_at > self._stale_seconds

    async def _looked_again(self) -> bool:
        """Brings the next look forward, if it is time, and waits a little for its end."""
        if self._looking is None:
            if time.monotonic() - self._asked_at < self._early_seconds:
                return False
            self._look()
        if self._waiting >= _MOST_WAITING:
            return False
        self._waiting += 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await asyncio.shield(self._look())
        finally:
            self._waiting -= 1
        return True

    async def _follow(self) -> None:
        while True:
            pause = self._source.poll_seconds
            if self._failures:
                backoff = _FIRST_RETRY_SECONDS * 2 ** min(self._failures - 1, 10)
                pause = min(pause, backoff, _LAST_RETRY_SECONDS)
            await asyncio.sleep(pause)
            await asyncio.shield(self._look())

    def _look(self) -> asyncio.Task[None]:
        """Begins a look unless one is under way, and returns it."""
        if self._looking is None:
            self._looking = start_background(self._look_once(), name="look for keys of tokens")
        return self._looking

    async def _look_once(self) -> None:
        try:
            await self._load()
        except KeysError as error:
            self._failed(str(error))
        except Exception as error:
            # Whatever it is, the next look may do better; its text may quote what was received.
            self._failed(f"fails with {type(error).__name__}")
        finally:
            self._looking = None

    async def _load(self) -> None:
        begun_at = self._asked_at = time.monotonic()
        keys = await self._source.load()
        self._confirmed_at = begun_at
        if self._failures:
            _log.info("keys of tokens are back", source=self._source.name)
        self._failures, self._told_too_old = 0, False
        if keys is not None and keys != self._keys:
            self._keys = keys
            self._generation += 1
            _log.info("keys of tokens", source=self._source.name, kids=sorted(keys))

    def _failed(self, why: str) -> None:
        if not self._failures:
            _log.error("no keys of tokens", source=self._source.name, why=why)
        self._failures += 1
        if self._keys is not None and self._too_old() and not self._told_too_old:
            self._told_too_old = True
            _log.error(
                "the last keys of tokens are too old: every call is refused",
                source=self._source.name,
                why=why,
            )
