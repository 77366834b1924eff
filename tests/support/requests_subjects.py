"""Requests about people: the ids that a policy looks at, put where it looks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from support.requests import Rpc, sound


def takes_many(rpc: Rpc) -> bool:
    """Tells whether one request can be about several people."""
    return any(field.is_repeated for field in _path(rpc))


def about(rpc: Rpc, user_ids: Sequence[str]) -> Message:
    """A request that names people in the subject field of its policy, otherwise in order.

    Args:
        rpc: An RPC whose policy has such a field.
        user_ids: Whom, in this order; exactly one unless `takes_many`.
    """
    message = sound(rpc.input)
    _name(message, _path(rpc), list(user_ids))
    return message


def _path(rpc: Rpc) -> list[FieldDescriptor]:
    fields: list[FieldDescriptor] = []
    containing = rpc.input
    for name in rpc.policy.subject_field.split("."):
        fields.append(containing.fields_by_name[name])
        containing = fields[-1].message_type
    return fields


def _name(message: Any, path: Sequence[FieldDescriptor], user_ids: list[str]) -> None:
    field, rest = path[0], path[1:]
    if field.is_repeated:
        elements = getattr(message, field.name)
        if not rest:
            elements[:] = user_ids
            return
        pattern = elements[0]
        made = []
        for number, user_id in enumerate(user_ids):
            element = type(pattern)()
            element.CopyFrom(pattern)
            # Rows that are otherwise the same may not have the same id.
            if "event_id" in element.DESCRIPTOR.fields_by_name:
                element.event_id = f"{element.event_id}.{number}"
            _name(element, rest, [user_id])
            made.append(element)
        del elements[:]
        elements.extend(made)
        return
    if rest:
        _name(getattr(message, field.name), rest, user_ids)
        return
    (user_id,) = user_ids
    setattr(message, field.name, user_id)
