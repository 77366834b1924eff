"""Where key sets are published: a file, or an address on the network."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Final, Protocol

import httpx

from mesh.auth.jwks import MAX_BYTES, KeySet, KeysUnreachable, KeysUnreadable, parse_key_set

_LOOK_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 5.0


class KeySource(Protocol):
    """A place where keys are published.

    Attributes:
        name: For people.
        poll_seconds: How long to wait before looking again.
    """

    name: str
    poll_seconds: float

    async def load(self) -> KeySet | None:
        """Looks at the place.

        Returns:
            What is published, or None if it is what was returned last.

        Raises:
            KeysUnreadable: Something else is there.
            KeysUnreachable: Nobody answers.
        """

    async def close(self) -> None:
        """Lets go of connections."""


class KeyFile:
    """A file, read every second and parsed when it has changed.

    Its bytes are compared, since times of modification are too coarse for one that is written in
    place. Rather replace it by renaming: one that is read half written counts as unreadable until
    the next look.
    """

    def __init__(self, path: Path, *, cache_seconds: float) -> None:
        """Takes the file, and the longest time a change of it may go unnoticed."""
        self.name = str(path)
        self.poll_seconds = min(_LOOK_SECONDS, cache_seconds)
        self._path = path
        self._document: bytes | None = None

    async def load(self) -> KeySet | None:
        """Reads the file; see `KeySource`."""
        document = self._read()
        if document == self._document:
            return None
        keys = parse_key_set(document)
        self._document = document
        return keys

    def _read(self) -> bytes:
        try:
            if not stat.S_ISREG(self._path.stat().st_mode):
                raise KeysUnreadable("is not a file")  # reading a pipe would wait
            with self._path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except OSError as error:
            raise KeysUnreadable(f"cannot be read: {error.strerror}") from None

    async def close(self) -> None:
        """Nothing is kept open."""


class KeyUrl:
    """An http or https address, as identity providers have one (`jwks_uri`)."""

    def __init__(self, url: str, *, cache_seconds: float) -> None:
        """Takes the address, and how long what it answers is believed."""
        self.name = url
        # A key that is withdrawn right after one answer is gone with the next, in time.
        self.poll_seconds = cache_seconds / 2
        self._client = httpx.AsyncClient(timeout=_ANSWER_SECONDS)

    async def load(self) -> KeySet | None:
        """Asks for the keys; see `KeySource`."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                document = await self._get()
        except (httpx.HTTPError, TimeoutError) as error:
            raise KeysUnreachable(f"does not answer: {type(error).__name__}") from None
        except (httpx.InvalidURL, UnicodeError):
            raise KeysUnreadable("is not an address") from None
        return parse_key_set(document)

    async def _get(self) -> bytes:
        document = bytearray()
        async with self._client.stream("GET", self.name) as response:
            if response.status_code != httpx.codes.OK:
                raise KeysUnreachable(f"answers {response.status_code}")
            async for part in response.aiter_bytes():
                document += part
                if len(document) > MAX_BYTES:
                    break
        return bytes(document)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


def key_source(place: str, *, cache_seconds: float) -> KeySource:
    """Makes the source of a place as settings write it: a path, or an http(s) URL."""
    if "://" in place:
        return KeyUrl(place, cache_seconds=cache_seconds)
    return KeyFile(Path(place), cache_seconds=cache_seconds)
