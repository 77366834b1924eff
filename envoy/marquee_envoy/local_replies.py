"""What the edge answers by itself, in place of a service."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import duration_pb2
from google.protobuf.json_format import MessageToDict
from google.rpc import code_pb2, error_details_pb2, status_pb2

ERROR_DOMAIN: Final = "marquee"
"""The domain in the ErrorInfo of every error of the mesh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalReply:
    """How the HTTP statuses that Envoy makes up read to callers."""

    statuses: tuple[int, ...]
    reason: str
    message: str
    code: int
    """The google.rpc.Code in the JSON form."""
    grpc_code: int | None = None
    """The code that Envoy sends to gRPC callers with these statuses; None: not told in detail."""
    retry_after_s: int = 0
    """After how many seconds another try may succeed; 0: it says nothing of that."""

    @property
    def as_json(self) -> dict[str, Any]:
        """The body for callers of the JSON form."""
        body = MessageToDict(self._status(self.code))
        # In the order and with the empty list of the transcoder's own errors.
        return {"code": body["code"], "message": body["message"], "details": body["details"]}

    @property
    def as_details(self) -> str:
        """The `grpc-status-details-bin` for gRPC callers."""
        assert self.grpc_code is not None
        status = self._status(self.grpc_code)
        return base64.b64encode(status.SerializeToString(deterministic=True)).decode().rstrip("=")

    def _status(self, code: int) -> status_pb2.Status:
        status = status_pb2.Status(code=code, message=self.message)
        status.details.add().Pack(
            error_details_pb2.ErrorInfo(reason=self.reason, domain=ERROR_DOMAIN)
        )
        if self.retry_after_s:
            delay = duration_pb2.Duration(seconds=self.retry_after_s)
            status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        return status


LOCAL_REPLIES: Final = (
    LocalReply(
        statuses=(400, 426, 431),
        reason="MALFORMED_REQUEST",
        message="the request is malformed",
        code=code_pb2.INVALID_ARGUMENT,
    ),
    LocalReply(
        statuses=(404,),
        reason="NO_SUCH_METHOD",
        message="nothing is served at this path",
        code=code_pb2.NOT_FOUND,
        grpc_code=code_pb2.UNIMPLEMENTED,
    ),
    LocalReply(
        statuses=(413,),
        reason="REQUEST_TOO_LARGE",
        message="the request is larger than the edge takes in the JSON form: use gRPC or split it",
        code=code_pb2.RESOURCE_EXHAUSTED,
    ),
    LocalReply(
        statuses=(429,),
        reason="TOO_MANY_REQUESTS",
        message="too many requests: try again later",
        code=code_pb2.RESOURCE_EXHAUSTED,
        retry_after_s=1,
    ),
    LocalReply(
        statuses=(408, 504),
        reason="DEADLINE_EXCEEDED",
        message="the call did not end within its deadline",
        code=code_pb2.DEADLINE_EXCEEDED,
        grpc_code=code_pb2.DEADLINE_EXCEEDED,
    ),
    LocalReply(
        statuses=(503,),
        reason="SERVICE_UNAVAILABLE",
        message="the service cannot be reached at the moment: try again",
        code=code_pb2.UNAVAILABLE,
        grpc_code=code_pb2.UNAVAILABLE,
        retry_after_s=1,
    ),
    LocalReply(
        statuses=(500, 502),
        reason="EDGE_FAILURE",
        message="the edge failed to answer",
        code=code_pb2.INTERNAL,
    ),
)
