"""Page tokens: what we made is read, anything else is the caller's mistake."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import InvalidArgument
from mesh.pages import decode_page_token, encode_page_token

PARTS = st.lists(st.one_of(st.text(max_size=40), st.integers(-(2**63), 2**63 - 1)), max_size=4)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ "


def refused(listing: str, token: str, **options: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_page_token(listing, token, field="page_token", **options)
    assert [violation.field for violation in caught.value.violations] == ["page_token"]


def forged(payload: Any, listing: str = "users") -> str:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    checksum = zlib.crc32(listing.encode() + b"\0" + raw).to_bytes(4, "big")
    return base64.urlsafe_b64encode(checksum + raw).decode().rstrip("=")


@given(st.text(max_size=40), PARTS)
def test_what_was_made_is_read(listing: str, position: list[str | int]) -> None:
    token = encode_page_token(listing, position)
    assert decode_page_token(listing, token) == position
    assert set(token) <= set(ALPHABET[:64])


@given(PARTS, st.data())
def test_any_other_token_is_refused(position: list[str | int], data: st.DataObject) -> None:
    token = encode_page_token("users", position)
    place = data.draw(st.integers(0, len(token) - 1))
    change = data.draw(st.sampled_from(["replace", "insert", "delete", "cut", "append"]))
    letter = data.draw(st.sampled_from(ALPHABET))
    mutated = {
        "replace": token[:place] + letter + token[place + 1 :],
        "insert": token[:place] + letter + token[place:],
        "delete": token[:place] + token[place + 1 :],
        "cut": token[:place],
        "append": token + letter,
    }[change]
    if mutated != token:
        refused("users", mutated)


@pytest.mark.parametrize("position", [["a"], ["ab"], ["abc"]])
def test_a_token_has_one_spelling(position: list[str | int]) -> None:
    token = encode_page_token("users", position)
    for other in {token[:-1] + letter for letter in ALPHABET} | {token + "=", token + "=="}:
        if other != token:
            refused("users", other)


@given(st.text())
def test_any_text_is_refused(token: str) -> None:
    refused("users", token)


@given(PARTS, st.text(max_size=20))
def test_a_token_of_another_listing_is_refused(position: list[str | int], other: str) -> None:
    if other != "users":
        refused("users", encode_page_token(other, position))


@pytest.mark.parametrize(
    "payload",
    [
        None,
        5,
        "users",
        {"a": 1},
        [{"$gt": ""}],
        [["a"]],
        [1.5],
        [True],
        [None],
        [2**63],
        ["\ud800"],
        b"[" * 1500,
        b"[" * 100_000,
        b"\xff\xfe",
        b"",
        b"[1e999]",
        b"[NaN]",
        b"9" * 3000,
    ],
    ids=lambda payload: repr(payload)[:20],
)
def test_a_forged_token_brings_nothing_but_texts_and_numbers(payload: Any) -> None:
    refused("users", forged(payload))


def test_the_shape_of_a_position() -> None:
    token = encode_page_token("rows", [5, "a"])
    assert decode_page_token("rows", token, shape=(int, str)) == [5, "a"]
    refused("rows", token, shape=(str, int))
    refused("rows", token, shape=(int,))
    refused("rows", forged([], "rows"), shape=(int, str))
