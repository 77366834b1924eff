"""The tokens a command sends: given from outside, or signed by the stack on this machine."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

import jwt

from cli.errors import CliError
from cli.scopes import ALL
from devstack.issuer import Issuer

TOKEN_VARIABLE = "MARQUEE_TOKEN"  # noqa: S105 - the name of a variable
_WHO = "service:cli"
_LIFETIME_S = 3600.0
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+\Z")


class Tokens(Protocol):
    """Where a command's tokens come from; `str()` of it says so to people."""

    def __call__(self) -> str:
        """Returns a token that is good now.

        Raises:
            CliError: There is none.
            DevstackError: The stack's keys cannot be used.
        """


class GivenToken:
    """A token from the environment.

    Raises:
        CliError: It is no token.
    """

    def __init__(self, token: str) -> None:
        self._token = checked_token(token, str(self))

    def __str__(self) -> str:
        return f"the token in {TOKEN_VARIABLE}"

    def __call__(self) -> str:
        """Returns it.

        Raises:
            CliError: It has expired.
        """
        ensure_not_expired(self._token, str(self))
        return self._token


class TokenFile:
    """A token in a file, which somebody else may renew.

    Raises:
        CliError: The file holds none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int] | None = None
        self._token = ""
        self._read()

    def __str__(self) -> str:
        return f"the token in {self._path}"

    def __call__(self) -> str:
        """Returns what the file holds now.

        Raises:
            CliError: It holds none, or one that has expired.
        """
        self._read()
        ensure_not_expired(self._token, str(self))
        return self._token

    def _read(self) -> None:
        try:
            status = self._path.stat()
            version = (status.st_mtime_ns, status.st_ino)
            if version != self._version:
                text = self._path.read_text(encoding="utf-8", errors="replace")
                self._token = checked_token(text.strip(), str(self))
                self._version = version
        except OSError as error:
            raise CliError(f"{self} cannot be read: {error.strerror}") from None


class StackTokens:
    """Tokens signed with the key of the stack in a data directory; renewed as they grow old.

    Args:
        issuer: The stack's.
        subject: Whose they are.
        scopes: What they are for.
    """

    def __init__(self, issuer: Issuer, subject: str = _WHO, scopes: Collection[str] = ALL) -> None:
        self._issuer = issuer
        self._subject = subject
        self._scopes = scopes
        self._token = ""
        self._signed_by = ""
        self._renew_at = 0.0

    def __str__(self) -> str:
        return f"a token signed with the key in {self._issuer.directory}"

    def __call__(self) -> str:
        """Returns a token.

        Raises:
            IssuerError: The stack has no key.
        """
        now = time.time()
        signing = self._issuer.signing_kid(now)
        if signing != self._signed_by or now >= self._renew_at:
            self._token = self._issuer.mint(self._subject, self._scopes, _LIFETIME_S, now)
            self._signed_by, self._renew_at = signing, now + _LIFETIME_S / 2
        return self._token


def given_tokens(token_file: Path | None) -> Tokens | None:
    """The tokens that a person names, on the command line before the environment, or None.

    Args:
        token_file: What --token-file or MARQUEE_TOKEN_FILE says.

    Raises:
        CliError: What they name is not a token.
    """
    if token_file is not None:
        return TokenFile(token_file)
    if token := os.environ.get(TOKEN_VARIABLE, "").strip():
        return GivenToken(token)
    return None


def checked_token(token: str, what: str) -> str:
    """Returns a token as it was given.

    Raises:
        CliError: It cannot be one; the message does not quote it.
    """
    if not _TOKEN.match(token):
        raise CliError(f"{what} is empty or not a token")
    return token


def ensure_not_expired(token: str, what: str) -> None:
    """Checks the expiry that a token states; one that states none is left to the mesh.

    Raises:
        CliError: It has passed.
    """
    try:
        # Only to say so early and clearly: the mesh is who verifies tokens.
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return
    expiry = claims.get("exp")
    if isinstance(expiry, int | float) and expiry <= time.time():
        ago = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(expiry))
        raise CliError(f"{what} expired at {ago}: get a new one")
