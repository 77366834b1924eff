"""Says in one line what an RPC answered."""

from __future__ import annotations

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from cli.errors import CliError, one_line

_ABOUT_TOKENS = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
_DETAILS = "grpc-status-details-bin"


class RpcFailed(CliError):
    """An RPC ended with an error that cannot be helped here."""

    def __init__(self, error: grpc.aio.AioRpcError, address: str = "", token: str = "") -> None:
        """Takes what happened.

        Args:
            error: What a call raised.
            address: Where, if that is worth telling.
            token: Where the token came from; told when it was refused.
        """
        self.code = error.code()
        where = f" ({address})" if address else ""
        shown = f"; shown was {token}" if token and self.code in _ABOUT_TOKENS else ""
        super().__init__(f"{describe(error)}{shown}{where}")


def describe(error: grpc.aio.AioRpcError) -> str:
    """Returns code, message, field violations, and why a token was not enough.

    Args:
        error: What a call raised.

    Returns:
        For example `INVALID_ARGUMENT: user_id: must not be empty`.
    """
    message = one_line(error.details() or "no message")
    missing = [line for line in map(one_line, _details(error)) if line not in message]
    return "; ".join([f"{error.code().name}: {message}", *missing])


def _details(error: grpc.aio.AioRpcError) -> list[str]:
    found = []
    for key, value in error.trailing_metadata() or ():
        if key != _DETAILS:
            continue
        try:
            status = status_pb2.Status.FromString(value)
        except DecodeError:
            continue
        bad, info = error_details_pb2.BadRequest(), error_details_pb2.ErrorInfo()
        for detail in status.details:
            if detail.Unpack(bad):
                found += [f"{v.field}: {v.description}" for v in bad.field_violations]
            elif error.code() in _ABOUT_TOKENS and detail.Unpack(info):
                found.append(" ".join([info.reason, *sorted(info.metadata.values())]))
    return found
