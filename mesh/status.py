"""The one map from exceptions to google.rpc.Status."""

from __future__ import annotations

from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2
from pymongo import errors as mongo_errors

from mesh.errors import Aborted, Code, InvalidArgument, MeshError, NotFound, Unavailable

ERROR_DOMAIN = "marquee"


def _as_mesh_error(error: BaseException) -> MeshError | None:
    if isinstance(error, MeshError):
        return error
    if isinstance(error, mongo_errors.PyMongoError):
        if error.has_error_label("TransientTransactionError") and not isinstance(
            error, mongo_errors.ConnectionFailure
        ):
            return Aborted("WRITE_CONFLICT", "another write of the same data was faster; try again")
        if isinstance(error, mongo_errors.ConnectionFailure) or error.timeout:
            return Unavailable("DATABASE_UNAVAILABLE", "the database does not answer")
    return None


def to_status(error: BaseException) -> status_pb2.Status:
    """Maps an exception to the status a caller sees.

    Args:
        error: Anything a use case raised.

    Returns:
        A status with google.rpc.ErrorInfo and, where they apply, BadRequest, ResourceInfo and
        RetryInfo. An exception outside of the map becomes INTERNAL and tells nothing of itself.
    """
    mapped = _as_mesh_error(error)
    if mapped is None:
        return status_pb2.Status(
            code=Code.INTERNAL,
            message="internal error",
            details=[_pack(error_details_pb2.ErrorInfo(reason="INTERNAL", domain=ERROR_DOMAIN))],
        )
    return status_pb2.Status(
        code=mapped.code,
        message=mapped.message,
        details=[_pack(detail) for detail in _details(mapped)],
    )


def _details(error: MeshError) -> list[message.Message]:
    details: list[message.Message] = [
        error_details_pb2.ErrorInfo(
            reason=error.reason, domain=ERROR_DOMAIN, metadata=dict(error.metadata)
        )
    ]
    if isinstance(error, InvalidArgument):
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=violation.field, description=violation.description
                    )
                    for violation in error.violations
                ]
            )
        )
    if isinstance(error, NotFound):
        details.append(
            error_details_pb2.ResourceInfo(
                resource_type=error.resource_type,
                resource_name=error.name,
                description=error.message,
            )
        )
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return details


def _pack(detail: message.Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
