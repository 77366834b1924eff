"""Whose data a request touches: the values at the subject path of an RPC's policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

ReadSubjects = Callable[[Any], Iterable[str]]
"""Takes a request and returns the user ids in it; at least one, empty where none is named."""

_NOBODY: Final = ("",)


def compile_path(message_type: Descriptor, path: str) -> ReadSubjects:
    """Makes the function that reads the subjects of requests of a type.

    Made once per RPC, since a request may have a thousand rows.

    Args:
        message_type: The request's type.
        path: Dotted names of fields, `interactions.user_id`; through repeated fields it leads to
            one value per element.

    Raises:
        ValueError: The path does not lead through messages to a string.
    """
    names = path.split(".")
    fields = _fields(message_type, names)
    repeated = [position for position, field in enumerate(fields) if field.is_repeated]
    if not repeated:
        read = attrgetter(path)
        return lambda message: (read(message),)
    after = repeated[0] + 1
    elements, rest = attrgetter(".".join(names[:after])), ".".join(names[after:])
    if not rest:
        return lambda message: elements(message) or _NOBODY
    if len(repeated) == 1:
        read = attrgetter(rest)
        return lambda message: set(map(read, elements(message))) or _NOBODY
    element_type = fields[repeated[0]].message_type
    assert element_type is not None
    read_each = compile_path(element_type, rest)
    return lambda message: (
        {subject for element in elements(message) for subject in read_each(element)} or _NOBODY
    )


def _fields(message_type: Descriptor, names: Sequence[str]) -> list[FieldDescriptor]:
    fields: list[FieldDescriptor] = []
    containing: Descriptor | None = message_type
    for name in names:
        field = None if containing is None else containing.fields_by_name.get(name)
        if field is None:
            raise ValueError(f"{message_type.full_name} has no field {'.'.join(names)!r}")
        fields.append(field)
        containing = field.message_type
    if fields[-1].type != FieldDescriptor.TYPE_STRING:
        raise ValueError(f"{'.'.join(names)!r} of {message_type.full_name} is no string")
    return fields
