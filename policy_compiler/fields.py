"""Paths through the fields of a message: which exist, and which hold ids of users."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor


def path_problem(message: Descriptor, path: str) -> str:
    """Says why a path does not lead to strings in a message; empty: it does.

    Args:
        message: The type of a request.
        path: Names of fields joined by points: `user.id`. Repeated fields stand for each of their
            elements; maps have none that could be named.
    """
    kind: Descriptor | None = message
    names = path.split(".")
    for depth, name in enumerate(names):
        if kind is None:
            return f"{'.'.join(names[:depth])} has no fields"
        field = kind.fields_by_name.get(name)
        if field is None:
            return f"{kind.full_name} has no field {name!r}"
        if _is_map(field):
            return f"{'.'.join(names[: depth + 1])} is a map"
        if depth == len(names) - 1:
            return "" if field.type == FieldDescriptor.TYPE_STRING else f"{path} is not a string"
        kind = field.message_type
    raise AssertionError("a path has at least one name")


def user_id_paths(message: Descriptor) -> Iterator[str]:
    """Yields the path of every field of a message, however deep, that holds ids of users.

    Such are those named `user_id` or `user_ids`, alone or after another word, and the `id` of what
    is called a user. A type within itself is entered once more, so that no depth goes unseen.
    """
    yield from _user_id_paths(message, "", ())


def _user_id_paths(
    message: Descriptor, prefix: str, around: tuple[str, ...], *, is_user: bool = False
) -> Iterator[str]:
    around = (*around, message.full_name)
    for field in message.fields:
        path = f"{prefix}{field.name}"
        if _names_users(field.name) or (field.name in ("id", "ids") and is_user):
            yield path
        elif field.message_type is not None and around.count(field.message_type.full_name) < 2:
            yield from _user_id_paths(
                field.message_type,
                f"{path}.",
                around,
                is_user=field.name in ("user", "users") or field.message_type.name == "User",
            )


def _names_users(name: str) -> bool:
    return f"_{name}".endswith(("_user_id", "_user_ids"))


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry
