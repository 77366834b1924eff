"""The RPCs of the contracts, and for each a request that is in order, made from its descriptor."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mesh import contracts
from mesh.contracts import MethodPolicy

USERS: Final = ("fuzz.u1", "fuzz.u2", "fuzz.u3")
"""People that `support.requests_stack` creates."""

MOVIES: Final = tuple(f"fuzz.m{number}" for number in range(1, 13))
"""Movies that it stores."""

# What a string field takes, by the end of its name; the first that fits counts.
_TEXTS: Final = (
    ("movie_id", MOVIES[0]),
    ("movie_ids", MOVIES[0]),
    ("user_id", USERS[0]),
    ("user_ids", USERS[0]),
    ("email", ""),
    ("locale", "en-GB"),
    ("languages", "en"),
    ("time_zone", "Europe/Berlin"),
    ("page_token", ""),
    ("cursor", ""),
    ("etag", ""),
    ("filter", ""),
    ("order_by", ""),
    ("paths", "*"),
    ("disliked_genres", "Horror"),
    ("genres", "Drama"),
)
_NEVER_TWICE: Final = ("request_id", "event_id")
_counter = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC of the contracts."""

    path: str
    """`/marquee.user.v1.UserService/GetUser`."""
    service: str
    """The component of the stack that serves it: `user`."""
    input: Descriptor
    client_streaming: bool
    server_streaming: bool
    policy: MethodPolicy

    @property
    def name(self) -> str:
        """`user.UserService/GetUser`."""
        _, package, _, rest = self.path.split(".", 3)
        return f"{package}.{rest}"

    @property
    def lasts(self) -> bool:
        """Whether a call goes on until somebody ends it."""
        return self.policy.default_timeout is None


@cache
def rpcs() -> tuple[Rpc, ...]:
    """Every RPC that the contracts declare."""
    policies = contracts.policies()
    return tuple(
        Rpc(
            path=f"/{service.full_name}/{method.name}",
            service=service.full_name.split(".")[1],
            input=method.input_type,
            client_streaming=method.client_streaming,
            server_streaming=method.server_streaming,
            policy=policies[f"/{service.full_name}/{method.name}"],
        )
        for service in contracts.services().values()
        for method in service.methods
    )


def empty(descriptor: Descriptor) -> Message:
    """A message of that type with nothing in it."""
    return message_factory.GetMessageClass(descriptor)()


def sound(descriptor: Descriptor, texts: Mapping[str, str] | None = None) -> Message:
    """A message whose every field holds something that its service may well accept.

    Args:
        descriptor: The type.
        texts: Values of string fields by their name, in place of the usual ones.
    """
    message = empty(descriptor)
    chosen: set[str] = set()
    for field in descriptor.fields:
        oneof = field.containing_oneof
        if oneof is not None:
            if oneof.name in chosen:
                continue
            chosen.add(oneof.name)
        put(message, field, sound_value(field, texts))
    return message


def put(message: Message, field: FieldDescriptor, value: Any) -> None:
    """Puts a value into a field; into a repeated one as its only element."""
    if is_map(field):
        entries = getattr(message, field.name)
        if value is None:
            return
        key, inner = value
        if isinstance(inner, Message):
            entries[key].CopyFrom(inner)
        else:
            entries[key] = inner
    elif field.is_repeated:
        getattr(message, field.name).append(value)
    elif isinstance(value, Message):
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)


def is_map(field: FieldDescriptor) -> bool:
    """Tells whether a field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def sound_value(field: FieldDescriptor, texts: Mapping[str, str] | None = None) -> Any:
    """What a field holds in a message that is in order; of a repeated one, an element."""
    texts = texts or {}
    kind = field.cpp_type
    if is_map(field):
        entry = field.message_type.fields_by_name
        return "fuzz", sound_value(entry["value"], texts)
    if kind == FieldDescriptor.CPPTYPE_MESSAGE:
        return _sound_message(field, texts)
    if kind == FieldDescriptor.CPPTYPE_STRING:
        text = _sound_text(field, texts)
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        numbers = [value.number for value in field.enum_type.values]
        return numbers[-1]
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return False
    # Zero stands for the default of almost every number of the contracts.
    return 0.0 if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT) else 0


def _sound_message(field: FieldDescriptor, texts: Mapping[str, str]) -> Message:
    descriptor = field.message_type
    if descriptor.full_name == "google.protobuf.Timestamp":
        message: Any = empty(descriptor)
        # Of two times of a message the one declared later is the later one.
        message.seconds = 1_700_000_000 + field.number
        return message
    return sound(descriptor, texts)


def _sound_text(field: FieldDescriptor, texts: Mapping[str, str]) -> str:
    if field.name in texts:
        return texts[field.name]
    if field.name in _NEVER_TWICE:
        return f"fuzz.{next(_counter)}"
    if field.name == "id":
        return MOVIES[0] if field.containing_type.name == "Movie" else USERS[0]
    return next((text for end, text in _TEXTS if field.name.endswith(end)), "fuzz")
