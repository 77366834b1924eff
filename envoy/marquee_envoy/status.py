"""`google.rpc.Status` in the forms in which the edge sends it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import duration_pb2
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2, status_pb2

ERROR_DOMAIN: Final = "marquee"
"""The domain in the ErrorInfo of every error of the mesh."""


def status(
    code: int,
    message: str,
    reason: str,
    metadata: Mapping[str, str] | None = None,
    retry_after_s: int = 0,
) -> status_pb2.Status:
    """An error with ErrorInfo, and with RetryInfo where another try may succeed.

    Args:
        code: A google.rpc.Code.
        message: For people.
        reason: For programs.
        metadata: More for programs.
        retry_after_s: After how many seconds another try may succeed; 0: it says nothing of that.
    """
    made = status_pb2.Status(code=code, message=message)
    made.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=reason, domain=ERROR_DOMAIN, metadata=metadata)
    )
    if retry_after_s:
        delay = duration_pb2.Duration(seconds=retry_after_s)
        made.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return made


def details_header(
    code: int,
    message: str,
    reason: str,
    metadata: Mapping[str, str] | None = None,
    retry_after_s: int = 0,
) -> str:
    """The `grpc-status-details-bin` of an error; see `status`."""
    packed = status(code, message, reason, metadata, retry_after_s)
    return base64.b64encode(packed.SerializeToString(deterministic=True)).decode().rstrip("=")


def json_body(
    code: int,
    message: str,
    reason: str,
    metadata: Mapping[str, str] | None = None,
    retry_after_s: int = 0,
) -> dict[str, Any]:
    """The body of an error in the JSON form; see `status`."""
    body = MessageToDict(status(code, message, reason, metadata, retry_after_s))
    # In the order of the transcoder's own errors.
    return {"code": body["code"], "message": body["message"], "details": body["details"]}
