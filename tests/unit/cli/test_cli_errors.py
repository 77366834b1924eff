import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from cli.rpc_errors import RpcFailed, describe


def rpc_error(
    code: grpc.StatusCode, message: str, *violations: tuple[str, str], trailer: bytes | None = None
) -> grpc.aio.AioRpcError:
    status = status_pb2.Status(code=code.value[0], message=message)
    bad = error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
            for field, description in violations
        ]
    )
    packed = any_pb2.Any()
    packed.Pack(bad)
    status.details.append(packed)
    value = status.SerializeToString() if trailer is None else trailer
    return grpc.aio.AioRpcError(
        code,
        grpc.aio.Metadata(),
        grpc.aio.Metadata(("grpc-status-details-bin", value)),
        details=message,
    )


def test_code_and_message() -> None:
    error = rpc_error(grpc.StatusCode.NOT_FOUND, "there is no\nsuch user")
    assert describe(error) == "NOT_FOUND: there is no such user"


def test_field_violations_are_shown_once() -> None:
    code = grpc.StatusCode.INVALID_ARGUMENT
    violation = ("user_id", "must not be empty")
    assert describe(rpc_error(code, "wrong request", violation)) == (
        "INVALID_ARGUMENT: wrong request; user_id: must not be empty"
    )
    assert describe(rpc_error(code, "user_id: must not be empty", violation)) == (
        "INVALID_ARGUMENT: user_id: must not be empty"
    )


@pytest.mark.parametrize("trailer", [b"", b"\xff\xff\xff"])
def test_details_that_cannot_be_read_do_not_matter(trailer: bytes) -> None:
    error = rpc_error(grpc.StatusCode.UNAVAILABLE, "away", trailer=trailer)
    assert describe(error) == "UNAVAILABLE: away"


def test_why_a_token_is_not_enough() -> None:
    info = error_details_pb2.ErrorInfo(reason="SCOPE_MISSING", metadata={"scope": "admin"})
    status = status_pb2.Status(code=7, message="no")
    status.details.add().Pack(info)
    denied, missing = (
        rpc_error(code, "no", trailer=status.SerializeToString())
        for code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND)
    )
    assert describe(denied) == "PERMISSION_DENIED: no; SCOPE_MISSING admin"
    assert describe(missing) == "NOT_FOUND: no"


def test_the_address_is_named() -> None:
    error = RpcFailed(rpc_error(grpc.StatusCode.UNAVAILABLE, "away"), "127.0.0.1:8080")
    assert str(error) == "UNAVAILABLE: away (127.0.0.1:8080)"
    assert error.status == 1
