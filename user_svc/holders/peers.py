"""What the other services hold on a person, asked of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from marquee.notify.v1 import personal_data_service_pb2 as notify_pb
from marquee.notify.v1 import personal_data_service_pb2_grpc as notify_grpc
from marquee.reco.v1 import personal_data_service_pb2 as reco_pb
from marquee.reco.v1 import personal_data_service_pb2_grpc as reco_grpc
from marquee.user.v1 import user_service_pb2 as pb

from user_svc.holders.names import NOTIFY, RECO
from user_svc.service.export import HolderUnavailable

_log = structlog.get_logger(__name__)
_DETAILS = "grpc-status-details-bin"
_OWN_TOKEN = "PEER_TOKEN_"  # noqa: S105 - how reasons begin
# What may pass by itself; with the rest an operator must help.
_PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
    }
)


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
            raise HolderUnavailable(self.name, _trouble(self.name, error)) from error
        finally:
            stream.cancel()
        if total != received:
            _log.error("holder's answer is not complete", holder=self.name)
            raise HolderUnavailable(self.name, "INCOMPLETE")


def _trouble(holder: str, error: grpc.aio.AioRpcError) -> str:
    """Logs why a holder gives nothing, and returns as much of it as concerns the caller."""
    code, reason = error.code(), _reason(error)
    told = {"holder": holder, "code": code.name, "reason": reason}
    if reason.startswith(_OWN_TOKEN):
        told["why"] = error.details() or ""  # written here, not by the peer
    tell = _log.warning if code in _PASSING else _log.error
    tell("holder does not answer", **told)
    # The peer's reasons are about this service's token: the caller would take them for theirs.
    return reason if reason.startswith(_OWN_TOKEN) else code.name


def _reason(error: grpc.aio.AioRpcError) -> str:
    """Returns the reason in the details of an error; empty if there is none."""
    info, status = error_details_pb2.ErrorInfo(), status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            try:
                status.ParseFromString(value)
            except DecodeError:
                continue
            for detail in status.details:
                if detail.Unpack(info):
                    return str(info.reason)
    return ""


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
