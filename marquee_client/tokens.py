"""Where the bearer token of a call comes from."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from marquee_client.targets import stays_on_this_machine

AUTHORIZATION: Final = "authorization"

Token = str | os.PathLike[str] | Callable[[], str]
"""A token, a file that holds one, or what gives one when asked."""

AsyncToken = Token | Callable[[], Awaitable[str]]
"""The same; for asyncio what gives the token may also be a coroutine function."""

# RFC 6750: the characters of a bearer token.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class TokenError(Exception):
    """A token is configured and there is none to send; the call was not made."""


class TokenFile:
    """A token in a file, read again when the file changes.

    A change that leaves nothing readable behind keeps the last token: whoever replaces the file
    may be half-way, and a token that has expired is refused by the mesh anyway.
    """

    def __init__(self, path: os.PathLike[str]) -> None:
        self._path = Path(path)
        # One attribute, so that threads see a token only with the state it was read at.
        self._read: tuple[tuple[int, int, int], str] | None = None

    def __call__(self) -> str:
        """Returns the token.

        Raises:
            TokenError: The file cannot be read or holds no token, and never did.
        """
        try:
            state = _state(self._path)
            if self._read is None or self._read[0] != state:
                self._read = (state, checked(self._path.read_text(encoding="ascii").strip()))
        except (OSError, UnicodeError, TokenError) as error:
            if self._read is None:
                why = error.strerror if isinstance(error, OSError) else "it holds no token"
                raise TokenError(f"the token file {self._path} cannot be used: {why}") from None
        return self._read[1]


class Tokens:
    """Gives the token of each call.

    Attributes:
        renewable: Whether another token may come after the one that has just been refused.
    """

    def __init__(self, token: AsyncToken) -> None:
        """Takes a token in any of its forms.

        Raises:
            TokenError: A string that cannot be a token.
        """
        self.renewable = not isinstance(token, str)
        self._give: Callable[[], str | Awaitable[str]]
        if isinstance(token, str):
            checked(token)
            self._give = lambda: token
        elif isinstance(token, os.PathLike):
            self._give = TokenFile(token)
        else:
            self._give = token

    def get(self) -> str:
        """Returns a token at once.

        Raises:
            TokenError: There is none.
        """
        given = self._give()
        if not isinstance(given, str):
            if inspect.iscoroutine(given):
                given.close()  # or Python would warn that nobody awaited it
            raise TokenError("a coroutine function gives tokens to marquee_client.aio only")
        return checked(given)

    async def get_async(self) -> str:
        """Returns a token.

        Raises:
            TokenError: There is none.
        """
        given = self._give()
        return checked(given if isinstance(given, str) else await given)


def tokens_for(
    target: str, token: AsyncToken | None, *, encrypted: bool, allow_plaintext: bool
) -> Tokens | None:
    """Checks that tokens may travel to a target.

    Args:
        target: Where to.
        token: None: calls carry none.
        encrypted: Whether the connection is.
        allow_plaintext: Whether tokens may leave this machine in the clear.

    Raises:
        ValueError: They would leave it in the clear.
        TokenError: A string that cannot be a token.
    """
    if token is None:
        return None
    if not encrypted and not allow_plaintext and not stays_on_this_machine(target):
        raise ValueError(
            f"a token would travel to {target} in the clear: give tls=Tls(), or "
            "allow_plaintext_token=True where something else encrypts the connection"
        )
    return Tokens(token)


def checked(token: str) -> str:
    """Returns a token as it is.

    Raises:
        TokenError: It is empty or has characters that no token has. It is not quoted.
    """
    if not _TOKEN.fullmatch(token):
        raise TokenError("the token is empty or has characters that no token has")
    return token


def _state(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino
