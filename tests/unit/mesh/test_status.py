"""Every error has one status, with details for programs and without secrets."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st
from pymongo import errors as mongo

from mesh import errors
from mesh.errors import Code, FieldViolation, MeshError
from mesh.status import ERROR_DOMAIN, to_status

EXAMPLES: dict[type[MeshError], tuple[MeshError, str, str, set[str]]] = {
    errors.InvalidArgument: (
        errors.InvalidArgument([FieldViolation("a.b", "is wrong"), FieldViolation("c", "too")]),
        "INVALID_ARGUMENT",
        "INVALID_FIELD",
        {"ErrorInfo", "BadRequest"},
    ),
    errors.NotFound: (
        errors.NotFound("user", "u1"),
        "NOT_FOUND",
        "USER_NOT_FOUND",
        {"ErrorInfo", "ResourceInfo"},
    ),
    errors.AlreadyExists: (
        errors.AlreadyExists("user", "email"),
        "ALREADY_EXISTS",
        "USER_EMAIL_TAKEN",
        {"ErrorInfo"},
    ),
    errors.StaleEtag: (
        errors.StaleEtag("user", "u1"),
        "ABORTED",
        "ETAG_MISMATCH",
        {"ErrorInfo"},
    ),
    errors.Aborted: (errors.Aborted("LOST", "lost"), "ABORTED", "LOST", {"ErrorInfo"}),
    errors.FailedPrecondition: (
        errors.FailedPrecondition("NO_MODEL", "train one"),
        "FAILED_PRECONDITION",
        "NO_MODEL",
        {"ErrorInfo"},
    ),
    errors.Unimplemented: (
        errors.Unimplemented("NO_SUCH_METHOD", "nothing is there"),
        "UNIMPLEMENTED",
        "NO_SUCH_METHOD",
        {"ErrorInfo"},
    ),
    errors.Unauthenticated: (
        errors.Unauthenticated("TOKEN_EXPIRED", "too late"),
        "UNAUTHENTICATED",
        "TOKEN_EXPIRED",
        {"ErrorInfo"},
    ),
    errors.PermissionDenied: (
        errors.PermissionDenied("SCOPE_MISSING", "not allowed"),
        "PERMISSION_DENIED",
        "SCOPE_MISSING",
        {"ErrorInfo"},
    ),
    errors.DeadlineExceeded: (
        errors.DeadlineExceeded(1.5),
        "DEADLINE_EXCEEDED",
        "DEADLINE_EXCEEDED",
        {"ErrorInfo"},
    ),
    errors.ResourceExhausted: (
        errors.ResourceExhausted("TOO_MANY", "too many", retry_after=2),
        "RESOURCE_EXHAUSTED",
        "TOO_MANY",
        {"ErrorInfo", "RetryInfo"},
    ),
    errors.Unavailable: (
        errors.Unavailable("AWAY", "away"),
        "UNAVAILABLE",
        "AWAY",
        {"ErrorInfo", "RetryInfo"},
    ),
}


def details_of(status: status_pb2.Status) -> dict[str, Message]:
    found: dict[str, Message] = {}
    for packed in status.details:
        name = packed.TypeName().rpartition(".")[2]
        found[name] = getattr(error_details_pb2, name)()
        assert packed.Unpack(found[name])
    return found


def test_there_is_an_example_of_every_error() -> None:
    classes = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, MeshError) and kind is not MeshError
    }
    assert classes == set(EXAMPLES)


@pytest.mark.parametrize(
    ("error", "code", "reason", "kinds"),
    EXAMPLES.values(),
    ids=[kind.__name__ for kind in EXAMPLES],
)
def test_the_status_of(error: MeshError, code: str, reason: str, kinds: set[str]) -> None:
    status = to_status(error)
    assert code_pb2.Code.Name(status.code) == code
    assert status.message == error.message
    details = details_of(status)
    assert set(details) == kinds
    info: Any = details["ErrorInfo"]
    assert (info.reason, info.domain) == (reason, ERROR_DOMAIN)
    assert re.fullmatch(r"[A-Z][A-Z0-9_]+[A-Z0-9]", info.reason)


@pytest.mark.parametrize("kind", [errors.NotFound, errors.StaleEtag])
def test_messages_name_nobody_and_details_do(kind: type[MeshError]) -> None:
    status = to_status(kind("user", "somebody-in-person"))
    assert "somebody-in-person" not in status.message
    info: Any = details_of(status)["ErrorInfo"]
    assert info.metadata["resource_name"] == "somebody-in-person"


def test_violations_name_their_fields() -> None:
    request: Any = details_of(to_status(EXAMPLES[errors.InvalidArgument][0]))["BadRequest"]
    assert [(v.field, v.description) for v in request.field_violations] == [
        ("a.b", "is wrong"),
        ("c", "too"),
    ]


def test_the_delay_is_told() -> None:
    retry: Any = details_of(to_status(EXAMPLES[errors.ResourceExhausted][0]))["RetryInfo"]
    assert retry.retry_delay.ToMilliseconds() == 2000


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("password=hunter2"),
        ValueError("hunter2"),
        TimeoutError("hunter2"),
        OSError(5, "hunter2", "/hunter2"),
        asyncio.IncompleteReadError(b"hunter2", 9),
        mongo.DuplicateKeyError("E11000 dup key: { email: 'hunter2' }", 11000),
        mongo.OperationFailure("hunter2", 13),
        mongo.ConfigurationError("hunter2"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_unknown_exception_tells_nothing(error: Exception) -> None:
    status = to_status(error)
    assert status.code == Code.INTERNAL
    assert status.message == "internal error"
    info: Any = details_of(status)["ErrorInfo"]
    assert info.reason == "INTERNAL"
    assert b"hunter2" not in status.SerializeToString()


def labelled(error: mongo.PyMongoError, label: str = "TransientTransactionError") -> Exception:
    error._add_error_label(label)
    return error


def caused(error: mongo.PyMongoError, cause: Exception) -> Exception:
    error._error_labels.update(getattr(cause, "_error_labels", ()))
    error.__cause__ = cause
    return error


CONFLICT = labelled(mongo.OperationFailure("WriteConflict", 112))
AWAY = labelled(mongo.ServerSelectionTimeoutError("127.0.0.1:1: refused"))


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (CONFLICT, Code.ABORTED, "WRITE_CONFLICT"),
        (mongo.OperationFailure("WriteConflict", 112), Code.ABORTED, "WRITE_CONFLICT"),
        (
            labelled(mongo.OperationFailure("NoSuchTransaction", 251)),
            Code.ABORTED,
            "WRITE_CONFLICT",
        ),
        # What is left of a transaction whose time is up, as pymongo tells it.
        (caused(mongo.ExecutionTimeout("x", 50), CONFLICT), Code.ABORTED, "WRITE_CONFLICT"),
        (caused(mongo.ExecutionTimeout("x", 50), AWAY), Code.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        (AWAY, Code.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        (mongo.AutoReconnect("x"), Code.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        (mongo.NetworkTimeout("x"), Code.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        (mongo.NotPrimaryError("x"), Code.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        (mongo.WaitQueueTimeoutError("x"), Code.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        (mongo.ExecutionTimeout("x", 50), Code.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
    ],
)
def test_trouble_with_the_database(error: Exception, code: Code, reason: str) -> None:
    status = to_status(error)
    assert status.code == code
    info: Any = details_of(status)["ErrorInfo"]
    assert info.reason == reason
    assert "refused" not in status.message


@pytest.mark.parametrize("text", ["x" * 10_000, "电" * 10_000, "\ud800" * 10_000])
def test_long_texts_are_cut(text: str) -> None:
    for error in (
        errors.InvalidArgument([FieldViolation(text, text)] * 5),
        errors.Aborted("LOST", text, metadata={"why": text}),
    ):
        status = to_status(error)
        assert 3 * len(status.message.encode()) + status.ByteSize() * 4 / 3 < 8192
        assert status.message.endswith("…")


@given(st.lists(st.tuples(st.text(max_size=300), st.text(max_size=2000)), min_size=1, max_size=300))
def test_a_status_fits_into_metadata(violations: list[tuple[str, str]]) -> None:
    status = to_status(errors.InvalidArgument([FieldViolation(*v) for v in violations]))
    # Percent-encoding triples what is not ASCII, base64 adds a third.
    assert 3 * len(status.message.encode()) + status.ByteSize() * 4 / 3 < 8192
    request: Any = details_of(status)["BadRequest"]
    assert len(request.field_violations) >= 1


@given(st.text(max_size=5000))
def test_long_names_are_cut(name: str) -> None:
    status = to_status(errors.NotFound("movie", name))
    assert 3 * len(status.message.encode()) + status.ByteSize() * 4 / 3 < 8192
    resource: Any = details_of(status)["ResourceInfo"]
    if len(name.encode("utf-8", "replace")) <= 256:
        assert resource.resource_name == name.encode("utf-8", "replace").decode()
    else:
        assert resource.resource_name.endswith("…")
