"""PersonalDataService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from marquee.reco.v1 import interaction_service_pb2 as interaction_pb
from marquee.reco.v1 import personal_data_service_pb2 as pb
from marquee.reco.v1 import personal_data_service_pb2_grpc

from mesh.times import to_timestamp
from mesh.validation import Violations
from reco_svc.convert import interaction_to_proto
from reco_svc.domain import HeldState, ProfileVersion, RecordedBatch, ToldList, UserProfile
from reco_svc.ports import PersonalData

_RECORDS_AT_A_TIME = 100


class PersonalDataServicer(personal_data_service_pb2_grpc.PersonalDataServiceServicer):
    """Serves `marquee.reco.v1.PersonalDataService`."""

    def __init__(self, held: PersonalData) -> None:
        self._held = held

    async def ExportPersonalData(
        self, request: pb.ExportPersonalDataRequest, context: Any
    ) -> AsyncIterator[pb.ExportPersonalDataResponse]:
        """Streams everything held on a person, and a summary at the end."""
        check = Violations()
        check.id("user_id", request.user_id)
        check.raise_if_any()
        count = 0
        async for records in self._records(request.user_id):
            count += len(records)
            yield pb.ExportPersonalDataResponse(records=records)
        yield pb.ExportPersonalDataResponse(summary=pb.PersonalDataSummary(record_count=count))

    async def _records(self, user_id: str) -> AsyncIterator[Sequence[pb.PersonalRecord]]:
        if (taste := await self._held.taste(user_id)) is not None:
            yield [pb.PersonalRecord(taste=_taste(*taste))]
        if (told := await self._held.told_list(user_id)) is not None:
            yield [pb.PersonalRecord(told_list=_told_list(told))]
        if (state := await self._held.state(user_id)) is not None:
            yield [pb.PersonalRecord(state=_state(state))]
        waiting: list[pb.PersonalRecord] = []
        async for batch in self._held.batches(user_id):
            waiting += _interactions(batch)
            while len(waiting) >= _RECORDS_AT_A_TIME:
                yield waiting[:_RECORDS_AT_A_TIME]
                del waiting[:_RECORDS_AT_A_TIME]
        if waiting:
            yield waiting


def _interactions(batch: RecordedBatch) -> list[pb.PersonalRecord]:
    record_time = to_timestamp(batch.record_time)
    return [
        pb.PersonalRecord(
            interaction=pb.InteractionRecord(
                interaction=interaction_to_proto(row), record_time=record_time
            )
        )
        for row in reversed(batch.rows)
    ]


def _state(held: HeldState) -> pb.StateRecord:
    state = held.state
    return pb.StateRecord(
        watermark=state.watermark,
        history=[
            interaction_pb.Interaction(
                user_id=state.user_id,
                movie_id=entry.movie_id,
                type=entry.type.value,  # type: ignore[arg-type]  # the numbers are the contract's
                value=entry.value,
                occur_time=to_timestamp(entry.occur_time),
            )
            for entry in state.history
        ],
        record_time=None if state.record_time is None else to_timestamp(state.record_time),
        deleted_version=held.deleted_version,
    )


def _taste(profile: UserProfile, version: ProfileVersion) -> pb.TasteRecord:
    return pb.TasteRecord(
        version=version.number,
        liked_genres=profile.liked_genres,
        disliked_genres=profile.disliked_genres,
        deleted=version.deleted,
    )


def _told_list(told: ToldList) -> pb.ToldListRecord:
    return pb.ToldListRecord(
        version=told.version,
        movie_ids=told.movie_ids,
        watermark=told.watermark,
        model_version=told.model_version,
    )
