"""A token issuer for tests: its keys, its JWKS file, and tokens good and bad.

In tests/integration the session's issuer is the fixture `issuer`, and the environment holds
MARQUEE_AUTH_ISSUER, MARQUEE_AUTH_AUDIENCE and MARQUEE_AUTH_JWKS for it, so that settings made in
the test process and in processes started by it trust its tokens. Elsewhere make one:

    issuer = Issuer(tmp_path)
    os.environ.update(issuer.environment())          # or StackConfig(environment=…), Popen(env=…)

Tokens and how to send them:

    issuer.mint()                                    # service:tests, every scope, for an hour
    issuer.mint("ada", ["users.read"])               # a person
    issuer.mint("ada", exp=0)                        # any claim overridden; None leaves it out
    stub.GetUser(request, metadata=bearer(token))    # sync and aio
    open_channel(target, token_source=issuer.source("ada", ["users.read"]))
    httpx.post(url, headers=dict(bearer(token)))

What a service and the edge must refuse as UNAUTHENTICATED (16; 401 in JSON), with the reason in
google.rpc.ErrorInfo:

    @pytest.mark.parametrize("name", BAD_TOKENS)
    def test_refused(name, issuer):
        bad = issuer.bad(name)                       # bad.metadata, bad.token, bad.reason

Rotation, each step rewriting the file: `issuer.add_key()` mints with a new key from now on and
keeps publishing the old one; `issuer.withdraw(kid)` stops publishing a key.
"""

from __future__ import annotations

import base64
import functools
import hmac
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import jwt
import marquee_policy
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm

from mesh.ids import new_id

ISSUER: Final = "https://marquee.invalid/tests"
AUDIENCE: Final = "marquee"
TESTER: Final = "service:tests"
ALL_SCOPES: Final = tuple(marquee_policy.SCOPES)
"""Every scope there is, `subjects.any` and `admin` among them."""

Metadata = tuple[tuple[str, str], ...]


def bearer(token: str) -> Metadata:
    """Returns the metadata that carries a token."""
    return (("authorization", f"Bearer {token}"),)


@dataclass(frozen=True, slots=True)
class BadToken:
    """A token that must be refused, and why.

    Attributes:
        name: What is bad about it.
        token: None: no token at all.
        reason: The reason in ErrorInfo.
    """

    name: str
    token: str | None
    reason: str

    @property
    def metadata(self) -> Metadata:
        """The metadata of a call with it."""
        return () if self.token is None else bearer(self.token)


class MintedTokens:
    """A source of tokens for `mesh.peers.open_channel`, which mints a new one in time."""

    def __init__(self, mint: Callable[[], str]) -> None:
        self._mint = mint
        self._token = ""
        self._good_until = 0.0

    def __call__(self) -> str:
        """Returns a token good for a while."""
        if time.time() >= self._good_until:
            self._token = self._mint()
            self._good_until = time.time() + 600
        return self._token


class BearerChannel:
    """A plain aio channel, as a stub takes it, whose calls carry a token unless told otherwise."""

    def __init__(self, target: str, token: str) -> None:
        self._channel = grpc.aio.insecure_channel(target)
        self._token = token

    async def __aenter__(self) -> BearerChannel:
        await self._channel.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._channel.close()

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        """Returns the channel's unary_unary, unary_stream, stream_unary or stream_stream."""

        def method(*args: Any, **kwargs: Any) -> Callable[..., Any]:
            call = getattr(self._channel, kind)(*args, **kwargs)
            return functools.partial(call, metadata=bearer(self._token))

        return method


class Issuer:
    """Mints ES256 tokens and publishes its keys in a file.

    Attributes:
        name: The `iss` of its tokens.
        audience: The `aud` of its tokens.
        jwks_path: The published keys.
        kid: The key that tokens are signed with.
    """

    def __init__(self, directory: Path, *, name: str = ISSUER, audience: str = AUDIENCE) -> None:
        self.name = name
        self.audience = audience
        self.jwks_path = directory / "jwks.json"
        self.kid = ""
        self._keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self._published: list[str] = []
        self.add_key()

    def environment(self) -> dict[str, str]:
        """Returns the settings of a service that trusts this issuer."""
        return {
            "MARQUEE_AUTH_ISSUER": self.name,
            "MARQUEE_AUTH_AUDIENCE": self.audience,
            "MARQUEE_AUTH_JWKS": str(self.jwks_path),
        }

    def add_key(self) -> str:
        """Publishes a new key, signs with it from now on, and returns its id."""
        self.kid = f"test-{new_id()}"
        self._keys[self.kid] = ec.generate_private_key(ec.SECP256R1())
        self._published.append(self.kid)
        self.publish()
        return self.kid

    def withdraw(self, kid: str) -> None:
        """Publishes a key no more."""
        self._published.remove(kid)
        self.publish()

    def jwks(self) -> dict[str, Any]:
        """Returns the published keys."""
        return {
            "keys": [
                {
                    **ECAlgorithm.to_jwk(self._keys[kid].public_key(), as_dict=True),
                    "kid": kid,
                    "use": "sig",
                    "alg": "ES256",
                }
                for kid in self._published
            ]
        }

    def publish(self) -> None:
        """Writes the file, so that a reader sees either the old keys or the new ones."""
        fresh = self.jwks_path.with_suffix(".new")
        fresh.write_text(json.dumps(self.jwks()))
        fresh.replace(self.jwks_path)

    def private_pem(self, kid: str | None = None) -> bytes:
        """Returns a private key in PKCS #8."""
        return self._keys[kid or self.kid].private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def claims(
        self, sub: str = TESTER, scopes: Iterable[str] = ALL_SCOPES, **overrides: Any
    ) -> dict[str, Any]:
        """Returns the claims of a token good for an hour.

        Args:
            sub: A user id, or `service:` and a name.
            scopes: Names of scopes.
            **overrides: Claims to set otherwise; None: to leave out.
        """
        now = int(time.time())
        claims = {
            "iss": self.name,
            "aud": self.audience,
            "sub": sub,
            "iat": now,
            "exp": now + 3600,
            "jti": new_id(),
            "scope": " ".join(scopes),
            **overrides,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def mint(
        self,
        sub: str = TESTER,
        scopes: Iterable[str] = ALL_SCOPES,
        *,
        kid: str | None = None,
        **overrides: Any,
    ) -> str:
        """Returns a signed token; see `claims`.

        Args:
            sub: A user id, or `service:` and a name.
            scopes: Names of scopes.
            kid: Which of its keys signs; None: the current one.
            **overrides: Claims to set otherwise; None: to leave out.
        """
        kid = kid or self.kid
        return self.sign(self.claims(sub, scopes, **overrides), self._keys[kid], kid=kid)

    def sign(
        self,
        claims: dict[str, Any],
        key: Any,
        *,
        kid: str | None,
        algorithm: str = "ES256",
    ) -> str:
        """Signs claims with any key, as another issuer or an attacker would.

        Args:
            claims: What the token says.
            key: Whatever the algorithm wants.
            kid: The key's name in the header; None: no name.
            algorithm: Of the signature.
        """
        headers = {"typ": "at+jwt", **({} if kid is None else {"kid": kid})}
        # Not jwt.encode, which looks at the claims.
        return jwt.PyJWS().encode(json.dumps(claims).encode(), key, algorithm, headers)

    def source(self, sub: str = TESTER, scopes: Iterable[str] = ALL_SCOPES) -> MintedTokens:
        """Returns a source of tokens for `open_channel`."""
        named = tuple(scopes)
        return MintedTokens(lambda: self.mint(sub, named))

    def bad(self, name: str) -> BadToken:
        """Makes one of `BAD_TOKENS`."""
        make, reason = _BAD[name]
        return BadToken(name, make(self), reason)


def _wrong_key(issuer: Issuer) -> str:
    return issuer.sign(issuer.claims(), ec.generate_private_key(ec.SECP256R1()), kid=issuer.kid)


def _unknown_key(issuer: Issuer) -> str:
    return issuer.sign(issuer.claims(), ec.generate_private_key(ec.SECP256R1()), kid="unpublished")


def _hs256_with_the_public_key(issuer: Issuer) -> str:
    # PyJWT refuses to sign so; an attacker does not.
    public = issuer._keys[issuer.kid].public_key()
    secret = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header = _segment({"alg": "HS256", "typ": "at+jwt", "kid": issuer.kid})
    signed = f"{header}.{_segment(issuer.claims())}"
    return f"{signed}.{_base64url(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _rs256(issuer: Issuer) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return issuer.sign(issuer.claims(), key, kid=issuer.kid, algorithm="RS256")


def _es384(issuer: Issuer) -> str:
    key = ec.generate_private_key(ec.SECP384R1())
    return issuer.sign(issuer.claims(), key, kid=issuer.kid, algorithm="ES384")


def _none(issuer: Issuer) -> str:
    header = _segment({"alg": "none", "typ": "at+jwt", "kid": issuer.kid})
    return f"{header}.{_segment(issuer.claims())}."


def _changed_claims(issuer: Issuer) -> str:
    header, _, signature = issuer.mint("ada", ["users.read"]).split(".")
    return f"{header}.{_segment(issuer.claims('eve'))}.{signature}"


def _segment(value: dict[str, Any]) -> str:
    return _base64url(json.dumps(value).encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


_BAD: Final[dict[str, tuple[Callable[[Issuer], str | None], str]]] = {
    "no token": (lambda _: None, "TOKEN_MISSING"),
    "no JWT": (lambda _: "password", "TOKEN_MALFORMED"),
    "no subject": (lambda issuer: issuer.mint(sub=None), "TOKEN_MALFORMED"),  # type: ignore[arg-type]  # leaves it out
    "no expiry": (lambda issuer: issuer.mint(exp=None), "TOKEN_MALFORMED"),
    "too long": (lambda issuer: issuer.mint(padding="x" * 4000), "TOKEN_MALFORMED"),
    "expired": (lambda issuer: issuer.mint(exp=int(time.time()) - 3600), "TOKEN_EXPIRED"),
    "not yet valid": (
        lambda issuer: issuer.mint(nbf=int(time.time()) + 1800),
        "TOKEN_NOT_YET_VALID",
    ),
    "wrong audience": (lambda issuer: issuer.mint(aud="another"), "TOKEN_WRONG_AUDIENCE"),
    "no audience": (lambda issuer: issuer.mint(aud=None), "TOKEN_WRONG_AUDIENCE"),
    "wrong issuer": (
        lambda issuer: issuer.mint(iss="https://evil.invalid"),
        "TOKEN_WRONG_ISSUER",
    ),
    "wrong key": (_wrong_key, "TOKEN_SIGNATURE_INVALID"),
    "changed claims": (_changed_claims, "TOKEN_SIGNATURE_INVALID"),
    "unknown key": (_unknown_key, "TOKEN_KEY_UNKNOWN"),
    "alg none": (_none, "TOKEN_ALGORITHM_REFUSED"),
    "HS256 with the public key": (_hs256_with_the_public_key, "TOKEN_ALGORITHM_REFUSED"),
    "RS256": (_rs256, "TOKEN_ALGORITHM_REFUSED"),
    "ES384": (_es384, "TOKEN_ALGORITHM_REFUSED"),
}

BAD_TOKENS: Final = tuple(_BAD)
"""What can be bad about a token; see `Issuer.bad`."""
