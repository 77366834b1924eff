"""Encoded requests that are broken, or whole and monstrous: bytes that no client library sends."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from support import requests
from support.requests import is_map
from support.requests_values import encode

_VARINT, _I64, _LEN, _START, _END, _I32 = range(6)
_GREATEST_FIELD = 2**29 - 1
_DEPTHS = (90, 101, 5_000)


def varint(number: int) -> bytes:
    """Encodes a number that is not negative."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def tag(field: int, wire_type: int) -> bytes:
    """Encodes what stands before a field's value."""
    return varint(field << 3 | wire_type)


def field_bytes(field: int, value: bytes) -> bytes:
    """Encodes a field of bytes, a string, or a message."""
    return tag(field, _LEN) + varint(len(value)) + value


def mutants(source: Sequence[bytes], count: int, rng: random.Random) -> list[tuple[str, bytes]]:
    """Breaks encoded messages.

    Args:
        source: Encoded messages, at least one.
        count: How many broken ones to make.
        rng: Where chance comes from.

    Returns:
        The name of what was done, and the bytes.
    """
    found = []
    for place in range(count):
        name, change = _CHANGES[place % len(_CHANGES)]
        found.append((name, change(rng.choice(source) or b"\x0a\x01a", rng, source)))
    return found


def monsters(descriptor: Descriptor) -> Iterator[tuple[str, bytes]]:
    """Every strange encoding that a type of message can have, the same ones each time."""
    whole = encode(requests.sound(descriptor))
    for field in descriptor.fields:
        yield from _wrong_types(field)
        if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE):
            yield "bad UTF-8", field_bytes(field.number, b"\xc3\x28\xed\xa0\x80\xff")
    for size in (2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1):
        yield "length bomb", whole + tag(1, _LEN) + varint(size) + b"abc"
    yield "length of eleven bytes", whole + tag(1, _LEN) + b"\xff" * 10 + b"\x01"
    yield "varint of eleven bytes", whole + tag(1, _VARINT) + b"\x80" * 10 + b"\x01"
    yield "field number zero", whole + b"\x00\x01"
    yield "reserved field number", whole + tag(19_000, _VARINT) + b"\x01"
    yield "greatest field number", whole + tag(_GREATEST_FIELD, _VARINT) + b"\x01"
    yield "too great a field number", whole + varint((2**29 + 1) << 3) + b"\x01"
    yield "wire type six", whole + tag(1, 6)
    yield "wire type seven", whole + tag(1, 7)
    yield "group that ends only", whole + tag(1, _END)
    yield "group that starts only", whole + tag(1, _START)
    yield "group ended by another", whole + tag(1000, _START) + tag(1001, _END)
    for depth in _DEPTHS:
        yield f"{depth} groups", whole + tag(1000, _START) * depth + tag(1000, _END) * depth
        yield f"{depth} open groups", whole + tag(1, _START) * depth
        yield f"{depth} messages in each other", whole + _nested(1000, depth)
        yield f"{depth} messages in field 1", _nested(1, depth)
    yield "many unknown fields", whole + (tag(1000, _VARINT) + b"\x01") * 100_000
    yield "the same again and again", whole * 500
    yield "nothing", b""
    yield "zeros", bytes(1000)
    yield "ones", b"\xff" * 1000
    yield "text", b'{"user_id": "1"}'


def crowds(descriptor: Descriptor, size: int) -> Iterator[tuple[str, bytes]]:
    """Messages of about `size` bytes whose every repeated or map field is full of tiny elements."""
    for path in _repeated(descriptor, ()):
        element = field_bytes(path[-1].number, _tiny(path[-1]))
        if path[-1].cpp_type in _NUMBERS:
            element = tag(path[-1].number, _VARINT) + b"\x01"
        body = element * (size // len(element))
        if is_map(path[-1]):
            body = b"".join(
                field_bytes(path[-1].number, field_bytes(1, b"%d" % number) + field_bytes(2, b"v"))
                for number in range(size // 14)
            )
        for field in reversed(path[:-1]):
            body = field_bytes(field.number, body)
        name = ".".join(field.name for field in path)
        yield f"crowd of {name}", encode(requests.sound(descriptor)) + body


def large(descriptor: Descriptor, size: int) -> bytes:
    """An encoded message of exactly that many bytes, most of them in one field."""
    strings = [f for f in descriptor.fields if f.type == FieldDescriptor.TYPE_STRING]
    number = strings[0].number if strings else 1000
    head = len(tag(number, _LEN)) + len(varint(size - 8))
    body = field_bytes(number, b"a" * (size - head))
    assert len(body) == size, "the size of the head depends on it"
    return body


_NUMBERS = (
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
    FieldDescriptor.CPPTYPE_BOOL,
    FieldDescriptor.CPPTYPE_ENUM,
)


def _wrong_types(field: FieldDescriptor) -> Iterator[tuple[str, bytes]]:
    number = field.number
    yield "as a varint", tag(number, _VARINT) + varint(2**64 - 1)
    yield "as 32 bits", tag(number, _I32) + b"\xff" * 4
    yield "as 64 bits", tag(number, _I64) + b"\xff" * 8
    yield "as bytes", field_bytes(number, b"\xff" * 9)
    yield "as a group", tag(number, _START) + tag(number, _END)


@cache
def _nested(field: int, depth: int) -> bytes:
    heads: list[bytes] = []
    size = 0
    for _ in range(depth):
        heads.append(tag(field, _LEN) + varint(size))
        size += len(heads[-1])
    return b"".join(reversed(heads))


def _repeated(
    descriptor: Descriptor, above: tuple[FieldDescriptor, ...]
) -> Iterator[tuple[FieldDescriptor, ...]]:
    for field in descriptor.fields:
        path = (*above, field)
        if field.is_repeated:
            yield path
        if field.message_type is not None and not is_map(field) and len(path) < 4:
            yield from _repeated(field.message_type, path)


def _tiny(field: FieldDescriptor) -> bytes:
    return b"" if field.message_type is not None else b"a"


def _cut(raw: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    return raw[: rng.randrange(len(raw))]


def _flip(raw: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    changed = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _insert(raw: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    place = rng.randrange(len(raw) + 1)
    return raw[:place] + rng.randbytes(rng.choice((1, 2, 5, 50))) + raw[place:]


def _drop(raw: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    place = rng.randrange(len(raw))
    return raw[:place] + raw[place + rng.choice((1, 2, 5)) :]


def _splice(raw: bytes, rng: random.Random, source: Sequence[bytes]) -> bytes:
    other = rng.choice(source)
    return raw[: rng.randrange(len(raw) + 1)] + other[rng.randrange(len(other) + 1) :]


def _greatest(raw: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    place = rng.randrange(len(raw))
    return raw[:place] + rng.choice((b"\xff", b"\x7f", b"\x80", b"\x00")) * 4 + raw[place + 1 :]


def _wrap(raw: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    return field_bytes(rng.randrange(1, 9), raw)


def _noise(raw: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    return rng.randbytes(rng.randrange(1, 200))


_Change = Callable[[bytes, random.Random, Sequence[bytes]], bytes]
_CHANGES: tuple[tuple[str, _Change], ...] = (
    ("cut off", _cut),
    ("bits flipped", _flip),
    ("bytes put in", _insert),
    ("bytes left out", _drop),
    ("two joined", _splice),
    ("great numbers", _greatest),
    ("wrapped", _wrap),
    ("noise", _noise),
)
