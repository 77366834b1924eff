"""Page tokens: opaque to callers, a position inside one listing for us."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Sequence

from mesh.errors import FieldViolation, InvalidArgument


def encode_page_token(listing: str, position: Sequence[str | int]) -> str:
    """Makes a token.

    Args:
        listing: Names the listing with everything that must stay the same between its pages,
            so that a token of another listing is refused.
        position: The sort key of the last row of the page.
    """
    payload = json.dumps(list(position), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_checksum(listing, payload) + payload).decode().rstrip("=")


def decode_page_token(listing: str, token: str, *, field: str = "page_token") -> list[str | int]:
    """Reads a token made for the same listing.

    Raises:
        InvalidArgument: The token is malformed or belongs to another listing; it names `field`.
    """
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        checksum, payload = raw[:4], raw[4:]
        if checksum != _checksum(listing, payload):
            raise ValueError("checksum")
        position = json.loads(payload)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument(
            [FieldViolation(field, "is malformed or belongs to another listing")]
        ) from error
    return list(position)


def _checksum(listing: str, payload: bytes) -> bytes:
    return zlib.crc32(listing.encode() + b"\0" + payload).to_bytes(4, "big")
