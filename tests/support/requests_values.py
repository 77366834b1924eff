"""Hypothesis strategies over message descriptors: requests odd in every field's own way."""

from __future__ import annotations

import string
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from support import requests
from support.requests import MOVIES, USERS, is_map

from mesh.pages import encode_page_token

ValueT = TypeVar("ValueT")

BROKEN: Final = "\ue000"
"""Becomes bytes that are no UTF-8 once a message is encoded: a str cannot hold them."""
_BROKEN_BYTES: Final = b"\xff\xfe\xfd"

_F: Final = FieldDescriptor
_INTEGERS: Final = {
    _F.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    _F.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    _F.CPPTYPE_UINT32: (0, 2**32 - 1),
    _F.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_FLOATS: Final = (
    float("nan"),
    float("inf"),
    float("-inf"),
    1.7e308,
    5e-324,
    -0.0,
    0.1,
    -1.0,
    1.0,
    1e16,
)
_MANY: Final = (1000, 1001, 3000)
_CROWD_BYTES: Final = 100_000
_ID_ALPHABET: Final = string.ascii_letters + string.digits + "._~-"
# Of each plane, script and class of controls a few: the whole of Unicode takes seconds to set up.
_ALPHABET: Final = "".join(
    chr(code)
    for first in (0, 0x80, 0x130, 0x300, 0x590, 0x2000, 0x2028, 0x3040, 0xE000, 0xFDD0, 0xFFF0)
    for code in range(first, first + 16)
) + "".join(chr(plane << 16 | low) for plane in range(1, 17) for low in (0, 0xF600, 0xFFFF))
_ODD_TEXTS: Final = (
    "",
    " ",
    "\0",
    "a\0b",
    BROKEN,
    f"a{BROKEN}b",
    "a" * 128,
    "a" * 129,
    "é" * 128,
    "a" * 5000,
    "\U0001d518" * 200,
    "\U0010ffff",
    "\uffff\ufffe\ufeff",
    "\u202etxt.exe",
    "e\u0301" * 100,
    "İıß\u212a",
    "{$gt: ''}",
    '{"$where": "sleep(1000)"}',
    "$set",
    "a.b.c",
    "__proto__",
    "../../etc/passwd",
    "%00%2e%2e%2f",
    "' OR 1=1 --",
    "service:reco",
    "*",
    ".",
    "~",
    "-",
    "\r\nX: y",
    "ada@example.org",
    "@",
    "a@" + "b." * 150 + "c",
    "en",
    "en-" + "x-" * 40,
    "zz-ZZ-zz",
    "Europe/Berlin",
    "localtime",
    "../UTC",
    "[" * 3000,
    "user.id,user.id",
    "user..id",
    "Number(1)",
    "0" * 400,
    "9999999999999999999999",
)


def odd_requests(
    descriptor: Descriptor, tokens: Sequence[str], texts: Mapping[str, str]
) -> st.SearchStrategy[bytes]:
    """Encoded messages of a type: some fields in order, some absent, some odd; strange ones added.

    Args:
        descriptor: The type.
        tokens: Page tokens and cursors that the mesh itself gave for something.
        texts: What string fields of these names hold where they are in order.
    """
    pool = _Pool((*_names(), *tokens, *_forged_tokens()), texts)
    return st.builds(_with_unknown, _messages(descriptor, pool), _unknown_fields())


def draw_many(strategy: st.SearchStrategy[ValueT], count: int, name: str) -> list[ValueT]:
    """Draws from a strategy, the same for the same name, at most `count` values."""
    found: list[ValueT] = []

    @seed(zlib.crc32(name.encode()))
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: ValueT) -> None:
        found.append(value)

    collect()
    return found[:count]


def encode(message: Message) -> bytes:
    """Encodes a message, with what stands for broken text broken."""
    return message.SerializeToString().replace(BROKEN.encode(), _BROKEN_BYTES)


@dataclass(frozen=True, slots=True)
class _Pool:
    """Texts: some that mean something to the mesh, and those of fields in order, by name."""

    known: tuple[str, ...]
    in_order: Mapping[str, str]


def _with_unknown(message: Message, unknown: bytes) -> bytes:
    return encode(message) + unknown


def _messages(descriptor: Descriptor, pool: _Pool) -> st.SearchStrategy[Message]:
    fields = list(descriptor.fields)
    values = [_field(field, pool) for field in fields]

    def build(chosen: tuple[Any, ...]) -> Message:
        message = requests.empty(descriptor)
        for field, choice in zip(fields, chosen, strict=True):
            for value in choice:
                requests.put(message, field, value)
        return message

    return st.tuples(*values).map(build)


def _field(field: FieldDescriptor, pool: _Pool) -> st.SearchStrategy[Sequence[Any]]:
    """The values to put into a field, one after the other; none leaves it out."""
    once = _value(field, pool)
    usual = st.builds(lambda: [requests.sound_value(field, pool.in_order)])
    if is_map(field):
        entry = field.message_type.fields_by_name
        pairs = st.tuples(_value(entry["key"], pool), _value(entry["value"], pool))
        crowd = st.sampled_from((64, 65, *_MANY)).map(
            lambda size: [
                (f"k{place}", requests.sound_value(entry["value"])) for place in range(size)
            ]
        )
        return st.one_of(st.just(()), usual, st.lists(pairs, max_size=4), crowd)
    if field.is_repeated:
        crowd = st.tuples(once, st.sampled_from(_MANY)).map(lambda drawn: _crowd(*drawn))
        return st.one_of(st.just(()), usual, usual, st.lists(once, max_size=4), crowd)
    return st.one_of(st.just(()), usual, usual, once.map(lambda value: [value]))


def _crowd(value: Any, count: int) -> list[Any]:
    size = value.ByteSize() if isinstance(value, Message) else len(str(value))
    return [value] * min(count, _CROWD_BYTES // max(size, 1))


def _value(field: FieldDescriptor, pool: _Pool) -> st.SearchStrategy[Any]:
    kind = field.cpp_type
    if kind == _F.CPPTYPE_STRING:
        texts = _texts(pool)
        return texts.map(str.encode) if field.type == _F.TYPE_BYTES else texts
    if kind == _F.CPPTYPE_MESSAGE:
        return _odd_message(field.message_type, pool)
    if kind == _F.CPPTYPE_BOOL:
        return st.booleans()
    if kind == _F.CPPTYPE_ENUM:
        known = [value.number for value in field.enum_type.values]
        return st.sampled_from([*known, -1, max(known) + 1, 2**31 - 1, -(2**31)])
    if kind in _INTEGERS:
        return _integers(*_INTEGERS[kind])
    width = 32 if kind == _F.CPPTYPE_FLOAT else 64
    return st.one_of(st.sampled_from(_FLOATS), st.floats(width=width))


def _odd_message(descriptor: Descriptor, pool: _Pool) -> st.SearchStrategy[Message]:
    if descriptor.full_name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        return st.builds(_moment, st.just(descriptor), _seconds(), _nanos())
    return _messages(descriptor, pool)


def _moment(descriptor: Descriptor, seconds: int, nanos: int) -> Message:
    message: Any = requests.empty(descriptor)
    message.seconds, message.nanos = seconds, nanos
    return message


def _seconds() -> st.SearchStrategy[int]:
    ends = (-62_135_596_801, -62_135_596_800, 253_402_300_799, 253_402_300_800, -1)
    return st.one_of(st.sampled_from(ends), _integers(*_INTEGERS[_F.CPPTYPE_INT64]))


def _nanos() -> st.SearchStrategy[int]:
    ends = (0, 1, 999_999_999, 1_000_000_000, -1)
    return st.one_of(st.sampled_from(ends), _integers(*_INTEGERS[_F.CPPTYPE_INT32]))


def _integers(low: int, high: int) -> st.SearchStrategy[int]:
    ends = sorted({low, low + 1, -1 if low else 0, 0, 1, 2, 100, 101, 501, 1000, 1001, high})
    return st.one_of(st.sampled_from(ends), st.integers(low, high))


def _texts(pool: _Pool) -> st.SearchStrategy[str]:
    return st.one_of(
        st.sampled_from(pool.known),
        st.sampled_from(_ODD_TEXTS),
        st.text(alphabet=_ALPHABET, max_size=40),
        st.text(alphabet=_ID_ALPHABET, min_size=1, max_size=20),
    )


def _names() -> list[str]:
    """Ids that exist, and the paths of all fields: what field masks and filters are made of."""
    fields = {
        field.name
        for rpc in requests.rpcs()
        for inner in (rpc.input, *(f.message_type for f in rpc.input.fields if f.message_type))
        for field in inner.fields
    }
    return [*USERS, *MOVIES, *sorted(fields)]


def _forged_tokens() -> list[str]:
    """Tokens with the right checksum and any position, for listings of the right and wrong RPCs."""
    listings = ("users", "movies", "models", f"interactions/{USERS[0]}")
    listings += (f"notifications:{USERS[0]}:False", f"subscribe:{USERS[0]}")
    positions: tuple[list[Any], ...] = (
        [],
        [0],
        [-(2**63)],
        [2**63 - 1, 0],
        [2**63 - 1, -1],
        ["\0"],
        ["a" * 2000],
        ["x", 1],
    )
    # Twice as wide: what no query can carry.
    wide: tuple[list[Any], ...] = (
        [2**64],
        [10**300],
        [1.5],
        [None],
        [True],
        [[["x"]]],
        [{"$gt": ""}],
    )
    return [encode_page_token(name, place) for name in listings for place in (*positions, *wide)]


def _unknown_fields() -> st.SearchStrategy[bytes]:
    return st.sampled_from(
        (
            b"",
            b"",
            b"",
            b"\xf8\xff\xff\xff\x0f\x01",  # a varint under the greatest field number
            b"\xc2\x3e\x03abc",  # bytes
            b"\xc5\x3e\x01\x02\x03\x04",  # 32 bits
            b"\xc1\x3e\x01\x02\x03\x04\x05\x06\x07\x08",  # 64 bits
            b"\xc3\x3e\xc4\x3e",  # an empty group
            b"\xc2\x3e\x03abc" * 2000,
        )
    )
