"""The tokens that this service shows its peers."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus

import httpx
import jwt
import structlog

from mesh.auth.settings import AuthSettings
from mesh.background import start_background
from mesh.errors import Unauthenticated, Unavailable

_log = structlog.get_logger(__name__)

TokenSource = Callable[[], str | Awaitable[str]]
"""Gives the token of a call, asked before each.

Raises a `mesh.errors.MeshError` if it has none; the call then fails without being sent.
"""

_ANSWER_SECONDS: Final = 5.0
_ANSWER_BYTES: Final = 64 * 1024
_RETRY_SECONDS: Final = 1.0
_GIVEN_UP_AGAIN_SECONDS: Final = 5.0
_SHORTEST_SECONDS: Final = 1.0
_RENEWED_AFTER: Final = 0.75
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*\Z")  # RFC 6750's b64token


def peer_tokens(settings: AuthSettings) -> TokenSource:
    """Makes the source of tokens that the settings name.

    Without any, every call to a peer fails with the reason PEER_TOKEN_MISSING.
    """
    if settings.peer_token_file is not None:
        return TokenFile(settings.peer_token_file)
    if settings.peer_token_url:
        assert settings.peer_client_secret_file is not None
        return ClientCredentials(
            settings.peer_token_url, settings.peer_client_id, settings.peer_client_secret_file
        )
    return _no_token


def _no_token() -> str:
    raise _missing("neither MARQUEE_PEER_TOKEN_FILE nor MARQUEE_PEER_TOKEN_URL is set")


def _missing(why: str) -> Unauthenticated:
    return Unauthenticated("PEER_TOKEN_MISSING", f"there is no token for calls to peers: {why}")


class TokenFile:
    """A token in a file that somebody else renews; read again when it changes."""

    def __init__(self, path: Path) -> None:
        """Takes the file, which need not exist yet."""
        self._path = path
        self._version: tuple[int, ...] | None = None
        self._token = ""

    def __call__(self) -> str:
        """Returns what the file holds now.

        Raises:
            Unauthenticated: It cannot be read or holds no token.
        """
        try:
            status = self._path.stat()
            version = (status.st_mtime_ns, status.st_ino, status.st_dev, status.st_size)
            if version == self._version:
                return self._token
            text = self._path.read_text("ascii", "replace").strip()
        except OSError as error:
            raise _missing(f"{self._path} cannot be read: {error.strerror}") from None
        if not _TOKEN.match(text):
            raise _missing(f"{self._path} is empty or holds something else")
        self._token, self._version = text, version
        return text


class ClientCredentials:
    """Tokens by OAuth 2.0 client credentials (RFC 6749, section 4.4).

    A token is renewed in the background when three quarters of its time are over, and used until
    its end if that fails. However many calls wait for one, it is asked for once.
    """

    def __init__(self, url: str, client_id: str, secret_file: Path) -> None:
        """Takes the token endpoint, the name there, and the file with the secret.

        The file is read for every request, so that a secret can be changed.
        """
        self._url = url
        self._client_id = client_id
        self._secret_file = secret_file
        self._authorities = httpx.create_ssl_context()  # takes too long for a loop that serves
        self._token = ""
        self._renew_at = 0.0
        self._ends_at = 0.0
        self._retry_at = 0.0
        self._give_up_at = 0.0
        self._failure: BaseException | None = None
        self._fetching: asyncio.Task[str] | None = None

    async def __call__(self) -> str:
        """Returns a token that is good now.

        Raises:
            Unauthenticated: The endpoint refuses the credentials, or they cannot be read.
            Unavailable: It does not answer as it should.
        """
        now = time.monotonic()
        if now < self._renew_at:
            return self._token
        if self._fetching is None and now >= self._retry_at:
            self._fetching = start_background(self._fetch(), name="token for peers")
            self._fetching.add_done_callback(self._fetched)
        if now < self._ends_at:
            return self._token
        if self._fetching is not None:
            return await asyncio.shield(self._fetching)
        assert self._failure is not None
        raise self._failure.with_traceback(None)

    def give_up(self) -> None:
        """Asks for another token before the next call, since a peer refused this one.

        Its key may have been withdrawn. A second time only after `_GIVEN_UP_AGAIN_SECONDS`: what a
        peer always refuses must not make every call ask.
        """
        now = time.monotonic()
        if now >= self._give_up_at:
            self._give_up_at = now + _GIVEN_UP_AGAIN_SECONDS
            self._renew_at = self._ends_at = 0.0

    def _fetched(self, fetching: asyncio.Task[str]) -> None:
        self._fetching = None
        failure = None if fetching.cancelled() else fetching.exception()
        if failure is not None:
            self._failure = failure
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            _log.warning("no new token for calls to peers", why=str(failure))

    async def _fetch(self) -> str:
        begun_at = time.monotonic()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await self._ask()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise _unavailable(f"does not answer: {type(error).__name__}") from None
        token, kind = answer.get("access_token"), answer.get("token_type")
        if not isinstance(token, str) or not _TOKEN.match(token):
            raise _unavailable("answers without a token")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise _unavailable("answers with another kind of token")
        seconds = _lifetime(answer.get("expires_in"), token)
        if seconds < _SHORTEST_SECONDS:
            raise _unavailable("answers with a token that ends at once")
        self._token = token
        self._renew_at = begun_at + _RENEWED_AFTER * seconds
        self._ends_at = begun_at + seconds
        return token

    async def _ask(self) -> dict[str, Any]:
        try:
            secret = self._secret_file.read_text("utf-8").strip()
        except (OSError, UnicodeError):
            raise _missing(f"{self._secret_file} cannot be read") from None
        async with (
            httpx.AsyncClient(verify=self._authorities, timeout=_ANSWER_SECONDS) as client,
            client.stream(
                "POST",
                self._url,
                # RFC 6749, section 2.3.1: both are encoded as in a form.
                auth=(quote_plus(self._client_id), quote_plus(secret)),
                data={"grant_type": "client_credentials"},
                headers={"accept": "application/json"},
            ) as response,
        ):
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > _ANSWER_BYTES:
                    raise _unavailable("answers more than a token")
        if response.status_code in {400, 401, 403}:
            raise _missing("the token endpoint refuses the credentials")
        if response.status_code != httpx.codes.OK:
            raise _unavailable(f"answers {response.status_code}")
        return _json_object(bytes(body))


def _unavailable(why: str) -> Unavailable:
    return Unavailable("PEER_TOKEN_UNAVAILABLE", f"the token endpoint {why}")


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise _unavailable("answers something else than a JSON object")
    return answer


def _lifetime(expires_in: object, token: str) -> float:
    """Returns how many seconds a token is good for, by the endpoint or else by itself."""
    if expires_in is None:
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            claims = {}
        expiry = claims.get("exp")
        expires_in = expiry - time.time() if isinstance(expiry, int | float) else None
    try:
        return float(expires_in)  # type: ignore[arg-type]  # None and the like are told by the error
    except (TypeError, ValueError, OverflowError):
        raise _unavailable("does not say for how long its token is good") from None
