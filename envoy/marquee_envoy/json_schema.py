"""The contracts as Lua tables, for the check of the JSON form (`lua/json_reader.lua`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from marquee_envoy.descriptors import pool_of

_F: Final = FieldDescriptor
# What the Lua code calls a type, and what it calls it in a message to the caller.
_KINDS: Final = {
    _F.CPPTYPE_INT32: ("int32", "a whole number"),
    _F.CPPTYPE_UINT32: ("uint32", "a whole number"),
    _F.CPPTYPE_INT64: ("int64", "a whole number"),
    _F.CPPTYPE_UINT64: ("uint64", "a whole number"),
    _F.CPPTYPE_DOUBLE: ("double", "a number"),
    _F.CPPTYPE_FLOAT: ("float", "a number"),
    _F.CPPTYPE_BOOL: ("boolean", "a boolean"),
    _F.CPPTYPE_STRING: ("string", "a string"),
    _F.CPPTYPE_ENUM: ("enum", "the name of an enum value"),
    _F.CPPTYPE_MESSAGE: ("message", "an object"),
}
# Messages that have a JSON form of their own. Those not here that are in google.protobuf
# (Struct, Value, Any, the wrappers) take several forms, which the transcoder checks.
_AS_STRINGS: Final = {
    "google.protobuf.Timestamp": ("timestamp", "a time such as 2026-01-31T12:00:00Z"),
    "google.protobuf.Duration": ("duration", "a duration such as 1.5s"),
    "google.protobuf.FieldMask": ("string", "a string of field names with commas between them"),
}


def lua_schema(descriptor_set: FileDescriptorSet, services: Iterable[str]) -> str:
    """Lua source that defines METHODS, MESSAGES and ENUMS for the given services.

    Args:
        descriptor_set: The contracts, in import order.
        services: Full names of the services that are called in the JSON form.
    """
    pool = pool_of(descriptor_set)
    methods = [method for name in services for method in pool.FindServiceByName(name).methods]
    messages: dict[str, Descriptor] = {}
    enums: dict[str, EnumDescriptor] = {}
    for method in methods:
        _collect(method.input_type, messages, enums)
    return "\n".join(
        [
            "local METHODS, MESSAGES, ENUMS = {}, {}, {}",
            "local function message(name, fields)",
            "  local known = {}",
            "  for _, field in ipairs(fields) do",
            "    known[field.name] = field",
            "    known[field.json] = field",
            "  end",
            "  MESSAGES[name] = known",
            "end",
            *(
                f"METHODS[{_quote(f'/{method.containing_service.full_name}/{method.name}')}] = "
                f"{{input = {_quote(method.input_type.full_name)}, "
                f"stream = {_flag(method.client_streaming)}}}"
                for method in methods
            ),
            *(_message(messages[name]) for name in sorted(messages)),
            *(
                f"ENUMS[{_quote(name)}] = {{{', '.join(f'{v} = true' for v in _values(enum))}}}"
                for name, enum in sorted(enums.items())
            ),
        ]
    )


def _collect(
    message: Descriptor, messages: dict[str, Descriptor], enums: dict[str, EnumDescriptor]
) -> None:
    if message.full_name in messages or _has_own_json_form(message):
        return
    messages[message.full_name] = message
    for field in message.fields:
        value = _value_field(field)
        if value.message_type is not None:
            _collect(value.message_type, messages, enums)
        if value.enum_type is not None:
            enums[value.enum_type.full_name] = value.enum_type


def _message(message: Descriptor) -> str:
    fields = ", ".join(_field(field) for field in message.fields)
    return f"message({_quote(message.full_name)}, {{{fields}}})"


def _field(field: FieldDescriptor) -> str:
    value = _value(_value_field(field))
    names = f"name = {_quote(field.name)}, json = {_quote(field.json_name or field.name)}"
    if _is_map(field):
        return f"{{{names}, map = true, kind = 'map', element = {{{value}}}}}"
    if field.is_repeated:
        return f"{{{names}, many = true, kind = 'list', element = {{{value}}}}}"
    oneof = field.containing_oneof
    choice = f", oneof = {_quote(oneof.name)}" if oneof is not None else ""
    return f"{{{names}, {value}{choice}}}"


def _value(field: FieldDescriptor) -> str:
    kind, label = _KINDS[field.cpp_type]
    if field.type == _F.TYPE_BYTES:
        kind, label = "bytes", "a string in base64"
    of = ""
    if field.enum_type is not None:
        of = field.enum_type.full_name
    elif field.message_type is not None:
        of = field.message_type.full_name
        if of in _AS_STRINGS:
            (kind, label), of = _AS_STRINGS[of], ""
        elif _has_own_json_form(field.message_type):
            kind, of = "any", ""
    named = f", of = {_quote(of)}" if of else ""
    return f"kind = {_quote(kind)}, label = {_quote(label)}{named}"


def _has_own_json_form(message: Descriptor) -> bool:
    return message.file.package == "google.protobuf"


def _is_map(field: FieldDescriptor) -> bool:
    return _value_field(field) is not field


def _value_field(field: FieldDescriptor) -> FieldDescriptor:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return field.message_type.fields_by_name["value"]
    return field


def _values(enum: EnumDescriptor) -> Iterator[str]:
    return (value.name for value in enum.values)


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _quote(text: str) -> str:
    # Names of contracts are ASCII identifiers, for which JSON's and Lua's quoting agree.
    return json.dumps(text)
