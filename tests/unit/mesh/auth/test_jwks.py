"""Key sets: which keys are taken, and what is no key set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from support.tokens import Issuer

from mesh.auth.jwks import KeysUnreadable, parse_key_set


def published(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


@pytest.fixture
def jwk(tmp_path: Path) -> dict[str, Any]:
    """A good key."""
    (key,) = Issuer(tmp_path).jwks()["keys"]
    return dict(key)


def test_keys_are_found_by_their_kid(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)
    first, second = issuer.kid, issuer.add_key()
    assert set(parse_key_set(issuer.jwks_path.read_bytes())) == {first, second}


def test_a_bare_key_is_enough(jwk: dict[str, Any]) -> None:
    bare = {name: jwk[name] for name in ("kty", "crv", "x", "y", "kid")}
    assert set(parse_key_set(published(bare))) == {jwk["kid"]}


def test_keys_for_others_are_passed_over(jwk: dict[str, Any]) -> None:
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    p384 = ec.generate_private_key(ec.SECP384R1()).public_key()
    others = [
        RSAAlgorithm.to_jwk(rsa_key, as_dict=True) | {"kid": "rsa", "alg": "RS256"},
        ECAlgorithm.to_jwk(p384, as_dict=True) | {"kid": "p384"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        jwk | {"kid": "encryption", "use": "enc"},
        jwk | {"kid": "signing", "key_ops": ["sign"]},
        jwk | {"kid": "other", "alg": "ES256K"},
        {"kty": "from the future"},
    ]
    assert set(parse_key_set(published(*others, jwk))) == {jwk["kid"]}
    assert not parse_key_set(published(*others))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"null",
        b'{"keys": {}}',
        b'{"keys": ["key"]}',
        b"[" * 100_000,
        b'{"keys": []}' + b" " * (1 << 20),
        b"<html>not found</html>",
    ],
)
def test_what_is_no_key_set(document: bytes) -> None:
    with pytest.raises(KeysUnreadable, match=r"^(is|has) "):
        parse_key_set(document)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kid": None}, "without kid"),
        ({"kid": 7}, "without kid"),
        ({"x": "AAAA"}, "not on the curve"),
        ({"y": None}, "not on the curve"),
        ({"x": "A" * 43}, "not on the curve"),
        ({"d": "A" * 43}, "private part"),
    ],
)
def test_a_key_that_cannot_be_used(jwk: dict[str, Any], change: dict[str, Any], says: str) -> None:
    with pytest.raises(KeysUnreadable, match=says):
        parse_key_set(published(jwk | change))


def test_a_kid_must_name_one_key(jwk: dict[str, Any]) -> None:
    with pytest.raises(KeysUnreadable, match="two keys named"):
        parse_key_set(published(jwk, jwk))
