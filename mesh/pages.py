"""Page tokens: opaque to callers, a position inside one listing for us."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Sequence

from mesh.errors import FieldViolation, InvalidArgument

_LONGEST_TOKEN = 4096


def encode_page_token(listing: str, position: Sequence[str | int]) -> str:
    """Makes a token.

    Args:
        listing: Names the listing with everything that must stay the same between its pages,
            so that a token of another listing is refused.
        position: The sort key of the last row of the page; integers of at most 64 bits.
    """
    payload = json.dumps(list(position), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_checksum(listing, payload) + payload).decode().rstrip("=")


def decode_page_token(
    listing: str,
    token: str,
    *,
    field: str = "page_token",
    shape: Sequence[type[str] | type[int]] | None = None,
) -> list[str | int]:
    """Reads a token made for the same listing.

    Args:
        listing: What the token was made for.
        token: What the caller sent.
        field: How the request names the token.
        shape: The type of each part of the position, so that a token somebody forged cannot bring
            a query anything else; None: any strings and integers, however many.

    Raises:
        InvalidArgument: The token is malformed or belongs to another listing; it names `field`.
    """
    try:
        return _decode(listing, token, shape)
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidArgument(
            [FieldViolation(field, "is malformed or belongs to another listing")]
        ) from error


def _decode(
    listing: str, token: str, shape: Sequence[type[str] | type[int]] | None
) -> list[str | int]:
    if len(token) > _LONGEST_TOKEN:
        raise ValueError("too long")
    raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(raw).decode().rstrip("=") != token:
        raise ValueError("not as we write it")  # the unused bits of the last character
    checksum, payload = raw[:4], raw[4:]
    if checksum != _checksum(listing, payload):
        raise ValueError("checksum")
    position = json.loads(payload)
    if not isinstance(position, list):
        raise ValueError("not a position")  # noqa: TRY004  # the token is wrong, not our call
    for part in position:
        if type(part) is str:
            part.encode()  # JSON can spell half of a surrogate pair, which no query can carry
        elif type(part) is not int or not -(2**63) <= part < 2**63:
            raise ValueError("not a part of a position")
    if shape is not None and [type(part) for part in position] != list(shape):
        raise ValueError("not a position of this listing")
    return position


def _checksum(listing: str, payload: bytes) -> bytes:
    return zlib.crc32(listing.encode() + b"\0" + payload).to_bytes(4, "big")
