"""Requests in the JSON form: odd values in the right places, and text that is hardly JSON."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st
from support import requests
from support.requests import MOVIES, USERS, is_map


@dataclass(frozen=True, slots=True)
class JsonBody:
    """The body of a POST, and how it is announced."""

    name: str
    content: bytes
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
    path_suffix: str = ""
    verb: str = field(default="POST")


_HUGE = "1" * 400
_DAMAGE: Final = (b"", b'"', b"\\", b"}", b"{", b",", b"\xff", b"\x00", b"\\u", b"1e9")
_WRONG: Final = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**31,
    2**53 + 1,
    2**63,
    2**64,
    1e308,
    "",
    "x",
    "0",
    "-1",
    "1e3",
    "NaN",
    "Infinity",
    "-Infinity",
    "9223372036854775808",
    _HUGE,
    "\0",
    "\ud800",  # json.dumps writes half of a pair as an escape, which is what a caller could send
    "\udc00\ud800",
    "\U0010ffff",
    "a" * 3000,
    [],
    {},
    [[]],
    [None],
    [{}],
    {"": None},
    {"@type": "type.googleapis.com/google.protobuf.Any"},
    {"seconds": 1},
    "9999-12-31T23:59:59.999999999Z",
    "0001-01-01T00:00:00Z",
    "0000-00-00T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-01-01T00:00:00+99:99",
    "10000-01-01T00:00:00Z",
    "1e400s",
    "a,b,,c",
    "aB.cD",
    *USERS,
    *MOVIES[:2],
)


def odd_objects(descriptor: Descriptor) -> st.SearchStrategy[Any]:
    """JSON objects with the fields of a message, each in order, absent, or of a wrong kind."""
    whole = _as_json(descriptor)
    named = {f.json_name: f for f in descriptor.fields} | {f.name: f for f in descriptor.fields}
    wrong = st.sampled_from(_WRONG)
    fields = {
        name: st.one_of(st.just(whole.get(name, "x")), wrong, _inner(f))
        for name, f in named.items()
    }
    strangers = {"colour": wrong, "__proto__": wrong, "": wrong, "@type": wrong}
    # Both names of a field may come together, as may two of a oneof.
    return st.fixed_dictionaries({}, optional=fields | strangers)


def odd_texts(descriptor: Descriptor, count: int, rng: random.Random) -> Iterator[JsonBody]:
    """Texts made from a request in order by damaging it."""
    whole = json.dumps(_as_json(descriptor)).encode()
    for number in range(count):
        changed = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 4))):
            place = rng.randrange(len(changed)) if changed else 0
            what = rng.choice(_DAMAGE)
            changed[place : place + rng.choice((0, 1, 1, 3))] = what
        if number % 5 == 0:
            changed = changed[: rng.randrange(len(changed) + 1)]
        yield JsonBody("damaged", bytes(changed))


def monstrous_texts(descriptor: Descriptor) -> Iterator[JsonBody]:
    """Every strange text that a request can be, the same ones each time."""
    fields = list(descriptor.fields)
    # Whatever there is: a field of the message, or one that it does not have.
    name = fields[0].json_name if fields else "x"
    whole = json.dumps(_as_json(descriptor))
    key = json.dumps(name)
    for what, text in (
        ("nothing", ""),
        ("white space", " \r\n\t"),
        ("null", "null"),
        ("a list", "[]"),
        ("a list of requests", f"[{whole}]"),
        ("a string", '"x"'),
        ("a number", "1e999"),
        ("twice", f"{whole}{whole}"),
        ("lines", f"{whole}\n{whole}\n"),
        ("a comment", f"/* */{whole}"),
        ("a trailing comma", "{" + f"{key}: 1," + "}"),
        ("single quotes", f"{{'{name}': 'x'}}"),
        ("the same name twice", f'{{{key}: "a", {key}: "b"}}'),
        ("both names", json.dumps(dict.fromkeys((n for f in fields for n in _names(f)), "a"))),
        ("every field null", json.dumps({f.json_name: None for f in fields})),
        ("a huge exponent", f"{{{key}: 1e999}}"),
        ("a tiny exponent", f"{{{key}: 1e-999999}}"),
        ("a long number", f"{{{key}: {'9' * 50_000}}}"),
        ("a long fraction", f"{{{key}: 0.{'1' * 50_000}}}"),
        ("not a number", f"{{{key}: NaN}}"),
        ("infinity", f"{{{key}: -Infinity}}"),
        ("hexadecimal", f"{{{key}: 0x10}}"),
        ("a leading zero", f"{{{key}: 007}}"),
        ("half a pair", f'{{{key}: "\\ud800"}}'),
        ("two halves in the wrong order", f'{{{key}: "\\udc00\\ud800"}}'),
        ("an escaped NUL", f'{{{key}: "\\u0000"}}'),
        ("half a pair as a name", '{"\\ud800": 1}'),
        ("an unfinished escape", f'{{{key}: "\\u12'),
        ("an unknown escape", f'{{{key}: "\\x41"}}'),
        ("a deep list", "[" * 30_000),
        ("a deep closed list", "[" * 5_000 + "]" * 5_000),
        ("a deep object", '{"a":' * 10_000),
        ("a deep field", f"{{{key}: " * 5_000 + "1" + "}" * 5_000),
        ("a deep value", f"{{{key}: " + "[" * 5_000 + "]" * 5_000 + "}"),
        ("many fields", "{" + ",".join(f'"k{n}": {n}' for n in range(20_000)) + "}"),
        ("many elements", f"{{{key}: [" + "1," * 50_000 + "1]}"),
        ("many empty objects", f"{{{key}: [" + "{}," * 50_000 + "{}]}"),
        ("a long name", f'{{"{"a" * 100_000}": 1}}'),
        ("a long text", f'{{{key}: "{"a" * 500_000}"}}'),
        ("many escapes", f'{{{key}: "' + "\\u0041" * 50_000 + '"}'),
        ("an any", '{"@type": "type.googleapis.com/marquee.user.v1.User"}'),
    ):
        yield JsonBody(what, text.encode())
    for what, content in (
        ("a mark of byte order", b"\xef\xbb\xbf" + whole.encode()),
        ("UTF-16", whole.encode("utf-16")),
        ("bad UTF-8 in a text", b'{%s: "\xff\xfe"}' % key.encode()),
        ("bad UTF-8 in a name", b'{"\xc3\x28": 1}'),
        ("overlong UTF-8", b'{%s: "\xc0\x80"}' % key.encode()),
        ("half a pair in UTF-8", b'{%s: "\xed\xa0\x80"}' % key.encode()),
        ("a raw NUL", b'{%s: "\x00"}' % key.encode()),
        ("raw controls", b'{%s: "\x01\x1f\x7f"}' % key.encode()),
        ("an encoded message", requests.sound(descriptor).SerializeToString()),
        ("more than the edge takes", b'{%s: "%s"}' % (key.encode(), b"a" * (1 << 20))),
    ):
        yield JsonBody(what, content)
    yield from _announcements(whole.encode())


def _announcements(whole: bytes) -> Iterator[JsonBody]:
    for content_type in (
        "text/plain",
        "application/xml",
        "application/json; charset=utf-16",
        "APPLICATION/JSON",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/grpcx",
        "application/protobuf",
        "*/*",
        ";;;",
        "a" * 2000,
    ):
        yield JsonBody(content_type[:40], whole, (("content-type", content_type),))
    yield JsonBody("no content type", whole, ())
    json_type = ("content-type", "application/json")
    for name, value in (
        ("content-encoding", "gzip"),
        ("grpc-timeout", "0n"),
        ("grpc-timeout", "nonsense"),
        ("grpc-encoding", "gzip"),
        ("x-http-method-override", "DELETE"),
        ("x-envoy-original-path", "/marquee.user.v1.UserService/DeleteUser"),
        ("x-marquee-reflection-scope", "mesh"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("te", "trailers"),
        ("expect", "100-continue"),
        ("accept", "application/xml"),
        ("x-grpc-web", "1"),
    ):
        yield JsonBody(f"{name}: {value}", whole, (json_type, (name, value)))
    for verb in ("GET", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "PATCH", "BREW"):
        yield JsonBody(f"verb {verb}", whole, (json_type,), verb=verb)
    for suffix in ("?", "?user_id=x", "?$.alt=media", "/", "//", ";a=b", "%20", "/../Other", "#x"):
        yield JsonBody(f"path {suffix}", whole, (json_type,), path_suffix=suffix)


def _names(field_: FieldDescriptor) -> tuple[str, str]:
    return field_.name, field_.json_name


def _as_json(descriptor: Descriptor) -> dict[str, Any]:
    return json_format.MessageToDict(requests.sound(descriptor))


def _inner(field_: FieldDescriptor) -> st.SearchStrategy[Any]:
    """Odd objects for a field of messages; odd elements for a repeated one."""
    wrong = st.sampled_from(_WRONG)
    inner = wrong
    if field_.message_type is not None and not is_map(field_):
        if field_.message_type.file.package != "google.protobuf":
            inner = st.one_of(wrong, odd_objects(field_.message_type))
    elif is_map(field_):
        return st.dictionaries(st.sampled_from(("", "a", "\0", "\ud800", "x" * 200)), wrong)
    return st.lists(inner, max_size=3) if field_.is_repeated else inner


def encode(value: Any) -> JsonBody:
    """Writes an odd object down; half pairs become escapes."""
    return JsonBody("object", json.dumps(value).encode())
