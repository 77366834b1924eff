"""A call through the edge in each form, and how it ended.

answer = FORMS["grpc-web"](address, "/marquee.user.v1.UserService/GetUser", b"", bearer(token))
answer.code, answer.reason, answer.detail(error_details_pb2.RetryInfo)
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import grpc
import httpx
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status


@dataclass(frozen=True)
class Answer:
    """How a call ended, whatever form it had."""

    http: int
    code: int
    reason: str
    message: str
    details: status_pb2.Status

    def detail(self, kind: type[Message]) -> Any:
        """The first detail of a type, or None."""
        for packed in self.details.details:
            if packed.Is(kind.DESCRIPTOR):
                found = kind()
                packed.Unpack(found)
                return found
        return None

    @property
    def metadata(self) -> dict[str, str]:
        return dict(self.detail(error_details_pb2.ErrorInfo).metadata)


def _answer(http: int, code: int, status: status_pb2.Status) -> Answer:
    answer = Answer(http, code, "", status.message, status)
    info = answer.detail(error_details_pb2.ErrorInfo)
    if info is None:
        return answer
    assert info.domain == "marquee"
    assert status.code == code
    return replace(answer, reason=info.reason)


def _by_grpc(address: str, path: str, body: bytes, metadata: Any) -> Answer:
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(path)(body, metadata=metadata, timeout=10)
        except grpc.RpcError as raised:
            error = raised
        else:
            return _answer(200, 0, status_pb2.Status())
    status = rpc_status.from_call(error)
    if status is None:
        raise AssertionError(f"no details: {error}")
    return _answer(200, error.code().value[0], status)


def _by_grpc_web(address: str, path: str, body: bytes, metadata: Any) -> Answer:
    headers = {"content-type": "application/grpc-web+proto", **dict(metadata)}
    reply = httpx.post(
        f"http://{address}{path}",
        content=struct.pack(">BI", 0, len(body)) + body,
        headers=headers,
        timeout=10,
    )
    # Trailers may stand in the headers, where there is no message.
    trailers = dict(reply.headers)
    at = 0
    while at < len(reply.content):
        kind, length = struct.unpack(">BI", reply.content[at : at + 5])
        if kind & 0x80:
            lines = reply.content[at + 5 : at + 5 + length].decode().splitlines()
            trailers |= dict(line.split(":", 1) for line in lines)
        at += 5 + length
    packed = trailers.get("grpc-status-details-bin", "")
    status = status_pb2.Status.FromString(base64.b64decode(packed + "=" * (-len(packed) % 4)))
    return _answer(reply.status_code, int(trailers["grpc-status"]), status)


def _by_json(address: str, path: str, body: bytes, metadata: Any) -> Answer:
    reply = httpx.post(
        f"http://{address}{path}",
        content=body or b"{}",
        headers={"content-type": "application/json", **dict(metadata)},
        timeout=10,
    )
    if reply.status_code == 200:
        return _answer(200, 0, status_pb2.Status())
    status = json_format.Parse(reply.text, status_pb2.Status())
    return _answer(reply.status_code, status.code, status)


FORMS: Final[dict[str, Callable[..., Answer]]] = {
    "grpc": _by_grpc,
    "grpc-web": _by_grpc_web,
    "json": _by_json,
}
"""Each calls `path` with a body and headers and tells how it ended."""
