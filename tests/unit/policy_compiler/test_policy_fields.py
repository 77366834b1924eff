"""Paths through messages of any shape."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from hypothesis import given
from hypothesis import strategies as st

from policy_compiler.fields import path_problem, user_id_paths

NAMES = ("name", "user_id", "user_ids", "id", "user", "users", "owner", "for_user_id", "user_idx")
KINDS = ("User", "Row", "Deep", "Plain")

fields = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from((*KINDS, "string", "int64", "bytes"))),
    unique_by=lambda field: field[0],
    max_size=4,
)
worlds = st.fixed_dictionaries(dict.fromkeys(KINDS, fields))


def message(world: dict[str, list[tuple[str, str]]]) -> Descriptor:
    file = FileDescriptorProto(name="w.proto", package="w.v1", syntax="proto3")
    for kind, members in world.items():
        proto = DescriptorProto(name=kind)
        for number, (name, of) in enumerate(members, 1):
            proto.field.append(
                FieldDescriptorProto(
                    name=name,
                    number=number,
                    label=FieldDescriptorProto.LABEL_REPEATED,
                    type=getattr(FieldDescriptorProto, f"TYPE_{of.upper()}")
                    if of.islower()
                    else FieldDescriptorProto.TYPE_MESSAGE,
                    type_name=None if of.islower() else f".w.v1.{of}",
                )
            )
        file.message_type.append(proto)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindMessageTypeByName("w.v1.Plain")


def all_paths(
    world: dict[str, list[tuple[str, str]]], kind: str, depth: int
) -> Iterator[tuple[list[str], str]]:
    for name, of in world[kind]:
        yield [name], of
        if of in KINDS and depth > 1:
            for path, leaf in all_paths(world, of, depth - 1):
                yield [name, *path], leaf


@given(worlds)
def test_paths_are_resolved_as_they_were_built(world: dict[str, list[tuple[str, str]]]) -> None:
    root = message(world)
    for path, leaf in all_paths(world, "Plain", 3):
        assert (path_problem(root, ".".join(path)) == "") == (leaf == "string")


@given(worlds)
def test_no_user_id_goes_unseen(world: dict[str, list[tuple[str, str]]]) -> None:
    """Whatever is named like a user's id is found, or something above it is."""
    found = set(user_id_paths(message(world)))
    for path, _ in all_paths(world, "Plain", 2):  # deeper, a type may be within itself twice
        if not path[-1].endswith(("user_id", "user_ids")):
            continue
        above = {".".join(path[:end]) for end in range(1, len(path) + 1)}
        assert above & found, path


@given(worlds)
def test_what_is_found_is_there_once(world: dict[str, list[tuple[str, str]]]) -> None:
    root = message(world)
    found = list(user_id_paths(root))
    assert len(found) == len(set(found))
    assert not any("has no field" in path_problem(root, path) for path in found)
