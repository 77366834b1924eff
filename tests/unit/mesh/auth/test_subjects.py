"""Whose data a request touches, by the path of the policy."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from marquee.reco.v1 import interaction_service_pb2 as interaction_pb
from marquee.user.v1 import user_pb2
from marquee.user.v1 import user_service_pb2 as user_pb

from mesh import contracts
from mesh.auth.caller import Caller
from mesh.auth.subjects import compile_path
from mesh.interceptors.authorisation import AuthorisationLayer


def _made_type() -> Any:
    """A message whose paths lead through repeated fields within repeated fields."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="subjects_test.proto", package="subjects_test", syntax="proto3"
    )
    for name, fields in {
        "Person": [("id", field.TYPE_STRING, False, ""), ("age", field.TYPE_INT32, False, "")],
        "Group": [
            ("people", field.TYPE_MESSAGE, True, "Person"),
            ("owner", field.TYPE_MESSAGE, False, "Person"),
            ("names", field.TYPE_STRING, True, ""),
        ],
        "Request": [
            ("groups", field.TYPE_MESSAGE, True, "Group"),
            ("group", field.TYPE_MESSAGE, False, "Group"),
            ("user_ids", field.TYPE_STRING, True, ""),
        ],
    }.items():
        message = file.message_type.add(name=name)
        for number, (field_name, kind, repeated, of) in enumerate(fields, 1):
            message.field.add(
                name=field_name,
                number=number,
                type=kind,
                type_name=f".subjects_test.{of}" if of else None,
                label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("subjects_test.Request"))


Request = _made_type()


def subjects(message: Any, path: str) -> set[str]:
    return set(compile_path(message.DESCRIPTOR, path)(message))


def test_a_field() -> None:
    assert subjects(user_pb.GetUserRequest(user_id="ada"), "user_id") == {"ada"}


def test_a_nested_field() -> None:
    request = user_pb.UpdateUserRequest(user=user_pb2.User(id="ada"))
    assert subjects(request, "user.id") == {"ada"}


def test_one_per_row() -> None:
    rows = [interaction_pb.Interaction(user_id=user_id) for user_id in ("ada", "bob", "ada", "")]
    request = interaction_pb.RecordInteractionsRequest(interactions=rows)
    assert subjects(request, "interactions.user_id") == {"ada", "bob", ""}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("user_ids", {"a", "b"}),
        ("group.owner.id", {"c"}),
        ("group.people.id", {"d", "e"}),
        ("group.names", {"f"}),
        ("groups.owner.id", {"g", "h"}),
        ("groups.people.id", {"i", "j", ""}),
        ("groups.names", {"k", ""}),
    ],
)
def test_every_way_through(path: str, expected: set[str]) -> None:
    request = Request(
        user_ids=["a", "b"],
        group={"owner": {"id": "c"}, "people": [{"id": "d"}, {"id": "e"}], "names": ["f"]},
        groups=[
            {"owner": {"id": "g"}, "people": [{"id": "i"}, {"id": "j"}], "names": ["k"]},
            {"owner": {"id": "h"}},
        ],
    )
    assert subjects(request, path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "user_ids",
        "group.owner.id",
        "group.people.id",
        "group.names",
        "groups.owner.id",
        "groups.people.id",
        "groups.names",
    ],
)
def test_who_names_nobody_names_an_empty_id(path: str) -> None:
    assert subjects(Request(), path) == {""}


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "nobody",
        "user_ids.x",
        "group",
        "group.owner",
        "group.owner.age",
        "group.owner.id.x",
        "groups",
        "groups.people",
        "groups.people.nobody",
        " user_ids",
    ],
)
def test_a_path_that_leads_nowhere(path: str) -> None:
    with pytest.raises(ValueError, match=r"has no field|is no string"):
        compile_path(Request.DESCRIPTOR, path)


def test_every_path_of_the_contracts_leads_somewhere() -> None:
    AuthorisationLayer()
    assert any(policy.subject_field for policy in contracts.policies().values())


@pytest.mark.parametrize(
    ("subject", "scopes", "user_id", "allowed"),
    [
        ("ada", set(), "ada", True),
        ("ada", set(), "bob", False),
        ("ada", {"admin"}, "bob", False),
        ("ada", {"subjects.any"}, "bob", True),
        ("service:x", {"subjects.any"}, "bob", True),
        ("service:x", set(), "bob", False),
        ("service:x", set(), "service:x", False),
    ],
)
def test_whose_data_a_caller_may_touch(
    subject: str, scopes: set[str], user_id: str, allowed: bool
) -> None:
    assert Caller(subject, frozenset(scopes), 0.0).may_touch(user_id) is allowed
