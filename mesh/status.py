"""The one map from exceptions to google.rpc.Status."""

from __future__ import annotations

from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2
from pymongo import errors as mongo_errors

from mesh.errors import Aborted, Code, InvalidArgument, MeshError, NotFound, Unavailable

ERROR_DOMAIN = "marquee"

# A status travels as metadata, of which callers take 8 KiB: the message once percent-encoded, and
# the whole status once more in base64.
_MESSAGE_BYTES = 512
_VALUE_BYTES = 256
_VIOLATIONS_BYTES = 2048
_WRITE_CONFLICT = 112


def to_status(error: BaseException) -> status_pb2.Status:
    """Maps an exception to the status a caller sees.

    Args:
        error: Anything a use case raised.

    Returns:
        A status with google.rpc.ErrorInfo and, where they apply, BadRequest, ResourceInfo and
        RetryInfo, small enough to travel. An exception outside of the map becomes INTERNAL and
        tells nothing of itself.
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
        message=_cut(mapped.message, _MESSAGE_BYTES),
        details=[_pack(detail) for detail in _details(mapped)],
    )


def _as_mesh_error(error: BaseException) -> MeshError | None:
    if isinstance(error, MeshError):
        return error
    if isinstance(error, mongo_errors.PyMongoError):
        if _is_write_conflict(error):
            return Aborted("WRITE_CONFLICT", "another write of the same data was faster; try again")
        if isinstance(error, mongo_errors.ConnectionFailure) or error.timeout:
            return Unavailable("DATABASE_UNAVAILABLE", "the database does not answer")
    return None


def _is_write_conflict(error: mongo_errors.PyMongoError) -> bool:
    # A transaction that ran out of time quotes, as its cause, what kept it from being committed.
    cause = error.__cause__ if error.timeout else None
    return any(
        isinstance(found, mongo_errors.OperationFailure)
        and (
            found.code == _WRITE_CONFLICT
            or (not found.timeout and found.has_error_label("TransientTransactionError"))
        )
        for found in (error, cause)
    )


def _details(error: MeshError) -> list[message.Message]:
    details: list[message.Message] = [
        error_details_pb2.ErrorInfo(
            reason=error.reason,
            domain=ERROR_DOMAIN,
            metadata={name: _cut(value, _VALUE_BYTES) for name, value in error.metadata.items()},
        )
    ]
    if isinstance(error, InvalidArgument):
        details.append(_bad_request(error))
    if isinstance(error, NotFound):
        details.append(
            error_details_pb2.ResourceInfo(
                resource_type=error.resource_type,
                resource_name=_cut(error.name, _VALUE_BYTES),
                description=_cut(error.message, _VALUE_BYTES),
            )
        )
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return details


def _bad_request(error: InvalidArgument) -> error_details_pb2.BadRequest:
    """Lists as many violations as fit; the first one always does."""
    found = error_details_pb2.BadRequest()
    for violation in error.violations:
        found.field_violations.add(
            field=_cut(violation.field, _VALUE_BYTES),
            description=_cut(violation.description, _VALUE_BYTES),
        )
        if found.ByteSize() > _VIOLATIONS_BYTES:
            if len(found.field_violations) > 1:
                del found.field_violations[-1]
            break
    return found


def _cut(text: str, maximum: int) -> str:
    """Shortens a text to at most `maximum` bytes of UTF-8."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= maximum:
        return raw.decode()
    return raw[: maximum - len("…".encode())].decode("utf-8", "ignore") + "…"


def _pack(detail: message.Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
