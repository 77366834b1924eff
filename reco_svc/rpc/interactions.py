"""InteractionService."""

from __future__ import annotations

from typing import Any

from marquee.reco.v1 import interaction_service_pb2 as pb
from marquee.reco.v1 import interaction_service_pb2_grpc

from mesh.errors import FieldViolation, InvalidArgument
from mesh.pages import decode_page_token, encode_page_token
from mesh.times import from_timestamp
from mesh.validation import Violations
from reco_svc.convert import interaction_to_proto
from reco_svc.domain import MAX_BATCH, Interaction, InteractionType, RowResult, RowStatus
from reco_svc.service.interactions import InteractionService


class InteractionServicer(interaction_service_pb2_grpc.InteractionServiceServicer):
    """Serves `marquee.reco.v1.InteractionService`."""

    def __init__(self, interactions: InteractionService) -> None:
        self._interactions = interactions

    async def RecordInteractions(
        self, request: pb.RecordInteractionsRequest, context: Any
    ) -> pb.RecordInteractionsResponse:
        """Records a batch."""
        check = Violations()
        check.count("interactions", len(request.interactions), minimum=1, maximum=MAX_BATCH)
        check.raise_if_any()
        rows: list[Interaction] = []
        refused: dict[int, RowResult] = {}
        for place, message in enumerate(request.interactions):
            try:
                rows.append(_to_domain(message))
            except InvalidArgument as error:
                refused[place] = RowResult(message.event_id, RowStatus.INVALID, error.message)
        outcome = await self._interactions.record(rows, refused, len(request.interactions))
        return pb.RecordInteractionsResponse(
            results=[
                pb.InteractionResult(
                    event_id=result.event_id,
                    status=result.status.value,  # type: ignore[arg-type]  # the contract's numbers
                    message=result.message,
                )
                for result in outcome.results
            ],
            watermarks=outcome.watermarks,
        )

    async def ListInteractions(
        self, request: pb.ListInteractionsRequest, context: Any
    ) -> pb.ListInteractionsResponse:
        """Lists a user's interactions, latest first."""
        check = Violations()
        check.id("user_id", request.user_id)
        size = check.limit("page_size", request.page_size, default=100, maximum=1000)
        check.raise_if_any()
        listing = f"interactions/{request.user_id}"
        before = None
        if request.page_token:
            watermark, place = decode_page_token(listing, request.page_token, shape=[int, int])
            before = (int(watermark), int(place))
        rows = await self._interactions.page(request.user_id, before, size + 1)
        token = encode_page_token(listing, rows[size - 1][0]) if len(rows) > size else ""
        return pb.ListInteractionsResponse(
            interactions=[interaction_to_proto(row) for _, row in rows[:size]],
            next_page_token=token,
        )


def _to_domain(message: pb.Interaction) -> Interaction:
    """Checks one row.

    Raises:
        InvalidArgument: A field is missing or out of range.
    """
    check = Violations()
    check.id("event_id", message.event_id)
    check.id("user_id", message.user_id)
    check.id("movie_id", message.movie_id)
    occur_time = None
    if message.HasField("occur_time"):
        try:
            occur_time = from_timestamp(message.occur_time)
        except ValueError:
            check.add("occur_time", "is not a time of the years 1 to 9999")
    try:
        kind = InteractionType(message.type)
    except ValueError:
        check.add("type", "must be one of the declared interaction types")
        raise InvalidArgument(list(check.found)) from None
    if (violation := _value_violation(kind, message.value)) is not None:
        check.add(violation.field, violation.description)
    check.raise_if_any()
    return Interaction(
        event_id=message.event_id,
        user_id=message.user_id,
        movie_id=message.movie_id,
        type=kind,
        value=message.value,
        occur_time=occur_time,
    )


def _value_violation(kind: InteractionType, value: float) -> FieldViolation | None:
    low, high = {InteractionType.WATCH: (0.0, 1.0), InteractionType.RATING: (0.5, 5.0)}.get(
        kind, (0.0, 0.0)
    )
    if low <= value <= high:
        return None
    allowed = f"from {low:g} to {high:g}" if high else "0"
    return FieldViolation("value", f"must be {allowed} for {kind.name}: {value:g}")
