from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from marquee.reco.v1 import personal_data_service_pb2 as reco_pb
from marquee.user.v1 import user_service_pb2 as pb

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
