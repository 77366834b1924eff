"""What the other services hold on a person, asked of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import grpc
import structlog
from marquee.notify.v1 import personal_data_service_pb2 as notify_pb
from marquee.notify.v1 import personal_data_service_pb2_grpc as notify_grpc
from marquee.reco.v1 import personal_data_service_pb2 as reco_pb
from marquee.reco.v1 import personal_data_service_pb2_grpc as reco_grpc
from marquee.user.v1 import user_service_pb2 as pb

from user_svc.holders.names import NOTIFY, RECO
from user_svc.service.export import HolderUnavailable

_log = structlog.get_logger(__name__)


class PeerHolder:
    """Fills the port `user_svc.service.ports.HolderOf` from a PersonalDataService.

    Attributes:
        name: The peer.
    """

    def __init__(
        self,
        name: str,
        call: Callable[[str], Any],
        wrap: Callable[[Any], pb.ExportedRecord],
    ) -> None:
        """Takes how to ask and what to make of the answer.

        Args:
            name: The peer.
            call: Asks for what is held on a user; returns a stream of parts.
            wrap: Makes a record of the export of one of the peer's.
        """
        self.name = name
        self._call = call
        self._wrap = wrap

    async def records(self, user_id: str) -> AsyncGenerator[Sequence[pb.ExportedRecord], None]:
        """Yields what the peer holds.

        Raises:
            HolderUnavailable: The peer does not answer, or its answer is not complete.
        """
        stream = self._call(user_id)
        received, total = 0, None
        try:
            async for part in stream:
                if part.records:
                    received += len(part.records)
                    yield [self._wrap(record) for record in part.records]
                if part.HasField("summary"):
                    total = part.summary.record_count
        except grpc.aio.AioRpcError as error:
            _log.warning("holder does not answer", holder=self.name, code=error.code().name)
            raise HolderUnavailable(self.name, error.code().name) from error
        finally:
            stream.cancel()
        if total != received:
            _log.error("holder's answer is not complete", holder=self.name)
            raise HolderUnavailable(self.name, "INCOMPLETE")


def reco_holder(channel: grpc.aio.Channel) -> PeerHolder:
    """Returns the recommendation service as a holder."""
    stub: Any = reco_grpc.PersonalDataServiceStub(channel)
    return PeerHolder(
        RECO,
        lambda user_id: stub.ExportPersonalData(reco_pb.ExportPersonalDataRequest(user_id=user_id)),
        lambda record: pb.ExportedRecord(recommendation=record),
    )


def notify_holder(channel: grpc.aio.Channel) -> PeerHolder:
    """Returns the notification service as a holder."""
    stub: Any = notify_grpc.PersonalDataServiceStub(channel)
    return PeerHolder(
        NOTIFY,
        lambda user_id: stub.ExportPersonalData(
            notify_pb.ExportPersonalDataRequest(user_id=user_id)
        ),
        lambda record: pb.ExportedRecord(notification=record),
    )
