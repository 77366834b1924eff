"""Verifies the tokens that callers show (RFC 9068 access tokens, signed with ES256)."""

from __future__ import annotations

import hashlib
import re
import string
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from mesh.auth.caller import Caller
from mesh.auth.jwks import ALGORITHM
from mesh.auth.keys import Keys
from mesh.errors import Unauthenticated

MAX_TOKEN_BYTES: Final = 4096
"""A longer token is refused; grpc takes 8 KiB of metadata in all."""

_REMEMBERED = 10_000
_SEGMENTS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.([A-Za-z0-9_-]*)\Z")
_ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
_SUBJECT_CHARACTERS = 256
_LATEST_EXPIRY = 1e12  # also no infinity, and nothing that does not fit into a float
_OF_CLAIM = {"aud": "TOKEN_WRONG_AUDIENCE", "iss": "TOKEN_WRONG_ISSUER"}
_MESSAGES = {
    "TOKEN_MALFORMED": "the token is not one that the mesh takes",
    "TOKEN_EXPIRED": "the token has expired",
    "TOKEN_NOT_YET_VALID": "the token is not valid yet",
    "TOKEN_WRONG_AUDIENCE": "the token is meant for somebody else",
    "TOKEN_WRONG_ISSUER": "the token comes from an issuer that is not trusted here",
    "TOKEN_SIGNATURE_INVALID": "the signature of the token is wrong",
    "TOKEN_ALGORITHM_REFUSED": f"the token must be signed with {ALGORITHM}",
}


def refusal(reason: str) -> Unauthenticated:
    """Makes the error for a reason; it says nothing of what the token holds."""
    return Unauthenticated(reason, _MESSAGES[reason])


class Verifier:
    """Tells who shows a token, or refuses it.

    A signature costs about 100 µs to verify, so verified tokens are remembered by their digest: as
    long as they are valid, until the published keys change, and at most `_REMEMBERED` of them.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        issuer: str,
        audience: str,
        leeway_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Takes what tokens must say.

        Args:
            keys: The published keys.
            issuer: The `iss` of every token.
            audience: Must be the `aud` of a token, or among them.
            leeway_seconds: How far clocks may differ.
            clock: Seconds since the epoch.
        """
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway_seconds
        self._clock = clock
        self._remembered: OrderedDict[bytes, Caller] = OrderedDict()
        self._remembered_of = -1

    async def verify(self, token: str) -> Caller:
        """Verifies a token.

        Args:
            token: In compact form.

        Raises:
            Unauthenticated: It is refused; the reason is one of `_MESSAGES` or TOKEN_KEY_UNKNOWN.
            Unavailable: There are no keys to verify it with.
        """
        segments = _SEGMENTS.match(token) if len(token) <= MAX_TOKEN_BYTES else None
        if segments is None or not _is_canonical(segments.group(1)):
            raise refusal("TOKEN_MALFORMED")
        digest = hashlib.sha256(token.encode()).digest()
        known = self._recall(digest)
        if known is not None:
            if self.seconds_left(known) <= 0:
                del self._remembered[digest]
                raise refusal("TOKEN_EXPIRED")
            self._remembered.move_to_end(digest)
            return known
        key = await self._keys.find(_kid_of(token))
        caller = _caller(self._claims(token, key))
        self._recall(digest)  # the keys may have changed since, and with them what is remembered
        self._remembered[digest] = caller
        if len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)
        return caller

    def seconds_left(self, caller: Caller) -> float:
        """Returns for how long a caller's token is still good, in seconds."""
        return caller.expires_at + self._leeway - self._clock()

    def _recall(self, digest: bytes) -> Caller | None:
        generation = self._keys.generation
        if generation != self._remembered_of:
            self._remembered.clear()
            self._remembered_of = generation
        return self._remembered.get(digest)

    def _claims(self, token: str, key: EllipticCurvePublicKey) -> Mapping[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "sub", "iss", "aud"]},
            )
        except jwt.InvalidSignatureError:
            reason = "TOKEN_SIGNATURE_INVALID"
        except jwt.ExpiredSignatureError:
            reason = "TOKEN_EXPIRED"
        except jwt.ImmatureSignatureError:
            reason = "TOKEN_NOT_YET_VALID"
        except jwt.InvalidAudienceError:
            reason = "TOKEN_WRONG_AUDIENCE"
        except jwt.InvalidIssuerError:
            reason = "TOKEN_WRONG_ISSUER"
        except jwt.MissingRequiredClaimError as error:
            reason = _OF_CLAIM.get(error.claim, "TOKEN_MALFORMED")
        except Exception:  # what is in a token may be anything, and PyJWT does not expect all of it
            reason = "TOKEN_MALFORMED"
        else:
            return claims
        raise refusal(reason)


def _kid_of(token: str) -> str:
    try:
        header = jwt.get_unverified_header(token)
    except Exception:  # as above
        raise refusal("TOKEN_MALFORMED") from None
    if header.get("alg") != ALGORITHM:
        raise refusal("TOKEN_ALGORITHM_REFUSED")
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise refusal("TOKEN_MALFORMED")
    return kid


def _is_canonical(segment: str) -> bool:
    """Tells whether this is the one way to write its bytes; base64url may leave bits unused.

    Only the signature needs it, for the rest is signed as it is written.
    """
    unused_bits = {0: 0, 2: 4, 3: 2}.get(len(segment) % 4)
    if not unused_bits:
        return unused_bits == 0
    return _ALPHABET.index(segment[-1]) % (1 << unused_bits) == 0


def _caller(claims: Mapping[str, Any]) -> Caller:
    subject, expiry = claims["sub"], claims["exp"]
    if (
        not isinstance(subject, str)
        or not 0 < len(subject) <= _SUBJECT_CHARACTERS
        or not isinstance(expiry, int | float)
        or not 0 < expiry < _LATEST_EXPIRY
    ):
        raise refusal("TOKEN_MALFORMED")
    return Caller(subject, _scopes(claims), float(expiry))


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """Joins `scope` (RFC 9068) and `scp`, which some issuers write instead, also as a list."""
    scopes: set[str] = set()
    for value in (claims.get("scope", ""), claims.get("scp", "")):
        if isinstance(value, str):
            scopes.update(filter(None, value.split(" ")))  # RFC 6749: other gaps are none
        elif isinstance(value, list) and all(isinstance(scope, str) for scope in value):
            scopes.update(value)
        else:
            raise refusal("TOKEN_MALFORMED")
    return frozenset(scopes)
