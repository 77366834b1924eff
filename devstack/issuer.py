"""The development issuer: keys, their public list, and the tokens they sign.

It stands in for an identity provider on one machine. Whoever may read the key files may be anyone
in the mesh, so they are open to their owner only.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from ulid import ULID

from devstack.errors import DevstackError
from devstack.files import PRIVATE, PUBLIC, make_private_directory, write_atomically
from mesh.auth.caller import SERVICE_PREFIX
from mesh.ids import new_id

ISSUER: Final = "https://marquee.invalid/development"
"""The `iss` of development tokens; the name can never belong to anybody."""

AUDIENCE: Final = "marquee"

CACHE_S: Final = 5.0
"""How long the services and the edge of an embedded stack believe a list of keys."""

SIGNS_AFTER_S: Final = CACHE_S + 1.0
"""The age at which a new key begins to sign: by then everybody has heard of it."""

_ALGORITHM = "ES256"


class IssuerError(DevstackError):
    """The development issuer cannot do what was asked."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the issuer.

    Attributes:
        kid: Its name, a ULID, so that names sort by age.
        made_at: Seconds since the epoch.
        signs: Whether new tokens are signed with it.
    """

    kid: str
    made_at: float
    signs: bool


class Issuer:
    """Keys in one directory, which processes share: a running stack and the command line.

    Args:
        directory: Holds `keys/<kid>.pem` (private) and `jwks.json` (public).
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def jwks(self) -> Path:
        """The public keys, as a JSON Web Key Set."""
        return self.directory / "jwks.json"

    @property
    def _keys(self) -> Path:
        return self.directory / "keys"

    def prepare(self, now: float | None = None) -> None:
        """Makes the first key if there is none, and writes the public list."""
        make_private_directory(self._keys)
        with self._locked():
            if not self._kids():
                self._make_key(_or_now(now))
            self._publish()

    def known_keys(self, now: float | None = None) -> list[Key]:
        """Every key whose tokens are good, oldest first.

        Raises:
            IssuerError: There is none.
        """
        kids = self._existing_kids()
        signing = _signing(kids, _or_now(now))
        return [Key(kid, _made_at(kid), kid == signing) for kid in kids]

    def signing_kid(self, now: float | None = None) -> str:
        """The key that signs: the newest that everybody knows, or else the oldest.

        Raises:
            IssuerError: There is none.
        """
        return _signing(self._existing_kids(), _or_now(now))

    def mint(
        self, subject: str, scopes: Collection[str], lifetime_s: float, now: float | None = None
    ) -> str:
        """Signs a token.

        Args:
            subject: A user id, or `service:` and the name of a service.
            scopes: What it may be used for, by the names of the contracts.
            lifetime_s: How long it is good for.
            now: Seconds since the epoch; None: the clock's.

        Raises:
            IssuerError: There is no key, or it cannot be read.
        """
        issued_at = int(_or_now(now))
        kid = self.signing_kid(now)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": issued_at,
            "exp": issued_at + int(lifetime_s),
            "jti": new_id(),
            "scope": " ".join(sorted(scopes)),
        }
        headers = {"kid": kid, "typ": "at+jwt"}
        return jwt.encode(claims, self._private_key(kid), algorithm=_ALGORITHM, headers=headers)

    def rotate(self, now: float | None = None) -> str:
        """Adds a key, which signs from `SIGNS_AFTER_S` on; the others stay good.

        Returns:
            Its kid.

        Raises:
            IssuerError: There is no key yet.
        """
        self._existing_kids()
        with self._locked():
            # Later than the newest, whatever the clock says: the order of names is that of age.
            kid = self._make_key(max(_or_now(now), _made_at(self._existing_kids()[-1]) + 0.002))
            self._publish()
        return kid

    def withdraw(self, kid: str, now: float | None = None) -> None:
        """Deletes a key; its tokens are refused once the lists of keys are read again.

        Raises:
            IssuerError: There is no such key, or it is the one that signs.
        """
        self._existing_kids()
        with self._locked():
            if kid not in self._existing_kids():
                raise IssuerError(f"there is no key {kid!r}: `marquee keys list` shows them")
            if kid == self.signing_kid(now):
                raise IssuerError(
                    f"key {kid} signs new tokens: make another with `marquee keys rotate` first"
                )
            self._path(kid).unlink()
            self._publish()

    def _make_key(self, now: float) -> str:
        kid = str(ULID.from_timestamp(now))
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_atomically(self._path(kid), pem, PRIVATE)
        return kid

    def _publish(self) -> None:
        keys = [self._public_jwk(kid) for kid in self._kids()]
        text = json.dumps({"keys": keys}, indent=2) + "\n"
        write_atomically(self.jwks, text.encode(), PUBLIC)

    def _public_jwk(self, kid: str) -> dict[str, Any]:
        public = ECAlgorithm.to_jwk(self._private_key(kid).public_key(), as_dict=True)
        return {**public, "kid": kid, "use": "sig", "alg": _ALGORITHM}

    def _private_key(self, kid: str) -> ec.EllipticCurvePrivateKey:
        path = self._path(kid)
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError) as error:
            raise IssuerError(f"the signing key {path} cannot be read: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise IssuerError(f"{path} is not a key on the curve P-256")
        return key

    def _path(self, kid: str) -> Path:
        return self._keys / f"{kid}.pem"

    def _kids(self) -> list[str]:
        return sorted(path.stem for path in self._keys.glob("*.pem") if _is_kid(path.stem))

    def _existing_kids(self) -> list[str]:
        if kids := self._kids():
            return kids
        raise IssuerError(
            f"there is no signing key in {self.directory}: `marquee up` makes one, "
            "or name the directory of the stack with --data-dir"
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Two writers at once could each publish a list without the other's change.
        descriptor = os.open(self._keys, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class ServiceTokens:
    """The tokens with which services call one another, in files that they read again.

    Args:
        issuer: Signs them.
        directory: Receives one file per service, `<service>.jwt`.
        scopes: What each service may do at its peers; one that is not named gets no token.
        lifetime_s: How long a token is good for; it is renewed when half of that is over.
    """

    def __init__(
        self,
        issuer: Issuer,
        directory: Path,
        scopes: Mapping[str, Collection[str]],
        lifetime_s: float = 3600.0,
    ) -> None:
        self._issuer = issuer
        self._directory = directory
        self._scopes = scopes
        self._lifetime_s = lifetime_s
        self._signed_by = ""
        self._renew_at = 0.0

    def renew(self, now: float | None = None) -> bool:
        """Writes new tokens if the present ones are old or signed by a key that signs no more.

        Returns:
            Whether it did.

        Raises:
            IssuerError: There is no key.
            OSError: A file cannot be written.
        """
        moment = _or_now(now)
        signing = self._issuer.signing_kid(moment)
        if signing == self._signed_by and moment < self._renew_at:
            return False
        make_private_directory(self._directory)
        for service, scopes in self._scopes.items():
            token = self._issuer.mint(SERVICE_PREFIX + service, scopes, self._lifetime_s, moment)
            write_atomically(token_file(self._directory, service), token.encode(), PRIVATE)
        self._signed_by = signing
        self._renew_at = moment + self._lifetime_s / 2
        return True


def token_file(directory: Path, service: str) -> Path:
    """Where a service finds its own token."""
    return directory / f"{service}.jwt"


def _signing(kids: list[str], now: float) -> str:
    known = [kid for kid in kids if _made_at(kid) <= now - SIGNS_AFTER_S]
    return known[-1] if known else kids[0]


def _made_at(kid: str) -> float:
    return ULID.from_str(kid).timestamp


def _is_kid(name: str) -> bool:
    try:
        ULID.from_str(name)
    except ValueError:
        return False
    return True


def _or_now(now: float | None) -> float:
    return time.time() if now is None else now
