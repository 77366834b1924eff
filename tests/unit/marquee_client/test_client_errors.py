from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2, struct_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from marquee_client import CallFailed, errors
from marquee_client.errors import FieldViolation


class Failure(grpc.RpcError):
    """What a sync call raises, as far as it is asked."""

    def __init__(self, code: grpc.StatusCode, message: str | None, trailers: Any = ()) -> None:
        self._answer = (code, message, trailers)

    def code(self) -> grpc.StatusCode:
        return self._answer[0]

    def details(self) -> str | None:
        return self._answer[1]

    def trailing_metadata(self) -> Any:
        return self._answer[2]


def failure(code: grpc.StatusCode, message: str, *details: Message) -> Failure:
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    status = status_pb2.Status(code=code.value[0], message=message, details=packed)
    trailers = (("x", "y"), ("grpc-status-details-bin", status.SerializeToString()))
    return Failure(code, message, trailers)


INFO = error_details_pb2.ErrorInfo(
    reason="SCOPE_MISSING", domain="marquee", metadata={"scope": "users.read"}
)
BAD = error_details_pb2.BadRequest(
    field_violations=[
        error_details_pb2.BadRequest.FieldViolation(field="limit", description="must be positive")
    ]
)
RETRY = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=1, nanos=500_000_000))


def test_details_are_read_whatever_their_order() -> None:
    for order in ([INFO, BAD, RETRY], [RETRY, BAD, INFO]):
        found = errors.details(failure(grpc.StatusCode.PERMISSION_DENIED, "no", *order))
        assert found.code is grpc.StatusCode.PERMISSION_DENIED
        assert (found.message, found.reason, found.domain) == ("no", "SCOPE_MISSING", "marquee")
        assert found.metadata == {"scope": "users.read"}
        assert found.violations == (FieldViolation("limit", "must be positive"),)
        assert found.retry_delay == 1.5


@pytest.mark.parametrize(
    "trailers",
    [
        None,
        (),
        (("grpc-status-details-bin", b"\xff\xff"),),
        (
            (
                "grpc-status-details-bin",
                status_pb2.Status(
                    details=[
                        any_pb2.Any(
                            type_url="type.googleapis.com/google.rpc.BadRequest", value=b"\xff"
                        )
                    ]
                ).SerializeToString(),
            ),
        ),
    ],
)
def test_an_error_without_readable_details_is_an_error_all_the_same(trailers: Any) -> None:
    found = errors.details(Failure(grpc.StatusCode.UNAVAILABLE, None, trailers))
    assert found == errors.ErrorDetails(code=grpc.StatusCode.UNAVAILABLE, message="no message")
    assert str(found) == "UNAVAILABLE: no message"


def test_details_of_other_kinds_are_passed_over() -> None:
    found = errors.details(
        failure(grpc.StatusCode.NOT_FOUND, "no", struct_pb2.Struct(), INFO, struct_pb2.Struct())
    )
    assert found.reason == "SCOPE_MISSING"


def test_a_readable_line_says_everything_once() -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert (
        str(errors.details(failure(invalid, "limit: must be positive", BAD)))
        == "INVALID_ARGUMENT: limit: must be positive"
    )
    assert (
        str(errors.details(failure(invalid, "wrong\nrequest", INFO, BAD, RETRY)))
        == "INVALID_ARGUMENT [SCOPE_MISSING]: wrong request; limit: must be positive "
        "(try again in 1.5 s)"
    )


def test_readable_keeps_the_cause() -> None:
    cause = failure(grpc.StatusCode.NOT_FOUND, "there is none", INFO)
    with pytest.raises(CallFailed) as caught, errors.readable():
        raise cause
    assert str(caught.value) == "NOT_FOUND [SCOPE_MISSING]: there is none"
    assert caught.value.__cause__ is cause
    assert caught.value.details.reason == "SCOPE_MISSING"


def test_readable_leaves_other_errors_alone() -> None:
    with pytest.raises(KeyError), errors.readable():
        raise KeyError("x")
