"""JSON Web Key Sets (RFC 7517): the public keys that tokens are verified with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from jwt import InvalidKeyError
from jwt.algorithms import ECAlgorithm

ALGORITHM: Final = "ES256"
"""The one algorithm of the mesh's tokens: ECDSA on P-256 with SHA-256."""

MAX_BYTES: Final = 1 << 20
"""A longer document is no key set."""

KeySet = Mapping[str, EllipticCurvePublicKey]
"""Public keys by their kid."""


class KeysError(Exception):
    """The keys that tokens are verified with cannot be had."""


class KeysUnreadable(KeysError):
    """The place they should be in holds none that can be used; somebody must mend it."""


class KeysUnreachable(KeysError):
    """Their publisher does not answer; it may do so later."""


def parse_key_set(document: bytes) -> KeySet:
    """Reads a key set.

    Keys of other kinds and for other uses are passed over, since an issuer may publish them for
    others.

    Args:
        document: UTF-8 JSON, `{"keys": [...]}`.

    Returns:
        The keys for ES256; perhaps none.

    Raises:
        KeysUnreadable: It is no key set, or one of its keys for ES256 is unusable.
    """
    if len(document) > MAX_BYTES:
        raise KeysUnreadable(f"is longer than {MAX_BYTES} bytes")
    try:
        content = json.loads(document)
    except (ValueError, RecursionError):
        raise KeysUnreadable("is not JSON") from None
    listed = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not all(isinstance(key, dict) for key in listed):
        raise KeysUnreadable('is not a JSON Web Key Set: {"keys": [{…}, …]}')
    keys: dict[str, EllipticCurvePublicKey] = {}
    for jwk in filter(_is_for_es256, listed):
        kid = jwk.get("kid")
        if not isinstance(kid, str) or not kid:
            raise KeysUnreadable("has a key without kid")
        if kid in keys:
            raise KeysUnreadable(f"has two keys named {kid!r}")
        keys[kid] = _public_key(jwk, kid)
    return keys


def _is_for_es256(jwk: Mapping[str, Any]) -> bool:
    operations = jwk.get("key_ops")
    return (
        jwk.get("kty") == "EC"
        and jwk.get("crv") == "P-256"
        and jwk.get("alg", ALGORITHM) == ALGORITHM
        and jwk.get("use", "sig") == "sig"
        and (not isinstance(operations, list) or "verify" in operations)
    )


def _public_key(jwk: Mapping[str, Any], kid: str) -> EllipticCurvePublicKey:
    if "d" in jwk:
        raise KeysUnreadable(f"gives the private part of key {kid!r} away")
    try:
        key = ECAlgorithm.from_jwk(dict(jwk))
    except (InvalidKeyError, ValueError, TypeError):
        raise KeysUnreadable(f"has a key {kid!r} that is not on the curve P-256") from None
    assert isinstance(key, EllipticCurvePublicKey)
    return key
