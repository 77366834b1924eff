from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status
from marquee.reco.v1 import personal_data_service_pb2 as reco_pb
from marquee.user.v1 import user_service_pb2 as pb
from structlog.testing import capture_logs

from mesh.errors import MeshError, PermissionDenied, Unauthenticated, Unavailable
from mesh.status import to_status
from user_svc.holders.peers import PeerHolder
from user_svc.service.export import HolderUnavailable

RECORD = reco_pb.PersonalRecord(taste=reco_pb.TasteRecord(version=1))


def records(count: int) -> reco_pb.ExportPersonalDataResponse:
    return reco_pb.ExportPersonalDataResponse(records=[RECORD] * count)


def summary(count: int) -> reco_pb.ExportPersonalDataResponse:
    end = reco_pb.PersonalDataSummary(record_count=count)
    return reco_pb.ExportPersonalDataResponse(summary=end)


class Stream:
    """The answer of a peer, as gRPC gives it."""

    def __init__(self, *messages: Any) -> None:
        self._messages = messages
        self.cancelled = False

    async def __aiter__(self) -> AsyncIterator[Any]:
        for message in self._messages:
            if isinstance(message, grpc.StatusCode):
                raise grpc.aio.AioRpcError(message, grpc.aio.Metadata(), grpc.aio.Metadata())
            if isinstance(message, grpc.aio.AioRpcError):
                raise message
            yield message

    def cancel(self) -> None:
        self.cancelled = True


def holder(stream: Stream) -> PeerHolder:
    return PeerHolder(
        "reco", lambda _: stream, lambda record: pb.ExportedRecord(recommendation=record)
    )


async def test_what_a_peer_gives_is_wrapped() -> None:
    stream = Stream(records(2), records(0), records(1), summary(3))
    parts = [list(part) async for part in holder(stream).records("ada")]
    wrapped = pb.ExportedRecord(recommendation=RECORD)
    assert parts == [[wrapped, wrapped], [wrapped]]
    assert stream.cancelled


@pytest.mark.parametrize(
    ("messages", "trouble"),
    [
        ((grpc.StatusCode.UNAVAILABLE,), "UNAVAILABLE"),
        ((records(1), grpc.StatusCode.DEADLINE_EXCEEDED), "DEADLINE_EXCEEDED"),
        ((), "INCOMPLETE"),
        ((records(1),), "INCOMPLETE"),
        ((records(1), summary(2)), "INCOMPLETE"),
        ((records(1), summary(0)), "INCOMPLETE"),
    ],
)
async def test_an_answer_that_is_not_complete_is_an_error(
    messages: tuple[Any, ...], trouble: str
) -> None:
    stream = Stream(*messages)
    with pytest.raises(HolderUnavailable) as caught:
        _ = [part async for part in holder(stream).records("ada")]
    assert caught.value.metadata == {"holder": "reco", "trouble": trouble}
    assert stream.cancelled


def failed(error: MeshError) -> grpc.aio.AioRpcError:
    """What a call raises that is answered, or not even sent, with this error."""
    status: Any = rpc_status.to_status(to_status(error))
    trailers = grpc.aio.Metadata(*status.trailing_metadata)
    return grpc.aio.AioRpcError(status.code, grpc.aio.Metadata(), trailers, status.details)


@pytest.mark.parametrize(
    ("error", "trouble", "level"),
    [
        (Unauthenticated("PEER_TOKEN_MISSING", "no file"), "PEER_TOKEN_MISSING", "error"),
        (Unavailable("PEER_TOKEN_UNAVAILABLE", "no answer"), "PEER_TOKEN_UNAVAILABLE", "warning"),
        (PermissionDenied("SCOPE_MISSING", "a scope"), "PERMISSION_DENIED", "error"),
        (Unauthenticated("TOKEN_EXPIRED", "old"), "UNAUTHENTICATED", "error"),
        (Unavailable("SERVER_DRAINS", "ends"), "UNAVAILABLE", "warning"),
    ],
)
async def test_the_cause_is_in_the_logs_and_what_concerns_the_caller_in_the_answer(
    error: MeshError, trouble: str, level: str
) -> None:
    with capture_logs() as logged, pytest.raises(HolderUnavailable) as caught:
        _ = [part async for part in holder(Stream(failed(error))).records("ada")]
    assert caught.value.reason == "HOLDER_UNAVAILABLE"
    assert caught.value.metadata == {"holder": "reco", "trouble": trouble}
    (line,) = logged
    assert (line["log_level"], line["reason"]) == (level, error.reason)
    assert line.get("why") == (str(error) if error.reason.startswith("PEER_") else None)
