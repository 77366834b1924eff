"""ModelService."""

from __future__ import annotations

from typing import Any

from marquee.reco.v1 import model_service_pb2 as pb
from marquee.reco.v1 import model_service_pb2_grpc

from mesh.pages import decode_page_token, encode_page_token
from mesh.times import to_timestamp
from mesh.validation import Violations
from reco_svc.convert import model_to_proto
from reco_svc.service.models import ModelService

_LISTING = "models"


class ModelServicer(model_service_pb2_grpc.ModelServiceServicer):
    """Serves `marquee.reco.v1.ModelService`."""

    def __init__(self, models: ModelService) -> None:
        self._models = models

    async def TrainModel(
        self, request: pb.TrainModelRequest, context: Any
    ) -> pb.TrainModelResponse:
        """Starts a training."""
        check = Violations()
        if not 0 <= request.seed < 2**32:
            check.add("seed", "must be from 0 to 4294967295")
        if request.holdout_fraction and not 0.05 <= request.holdout_fraction <= 0.5:
            check.add("holdout_fraction", "must be from 0.05 to 0.5, or 0 for 0.25")
        check.raise_if_any()
        model = await self._models.train(request.seed, request.holdout_fraction or 0.25)
        return pb.TrainModelResponse(model=model_to_proto(model))

    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:
        """Returns one model."""
        _check_version(request.version)
        return pb.GetModelResponse(model=model_to_proto(await self._models.get(request.version)))

    async def ListModels(
        self, request: pb.ListModelsRequest, context: Any
    ) -> pb.ListModelsResponse:
        """Lists models, newest first."""
        check = Violations()
        size = check.limit("page_size", request.page_size, default=20, maximum=100)
        check.raise_if_any()
        before = None
        if request.page_token:
            (position,) = decode_page_token(_LISTING, request.page_token, shape=[str])
            before = str(position)
        models = await self._models.page(before, size + 1)
        token = (
            encode_page_token(_LISTING, [models[size - 1].version]) if len(models) > size else ""
        )
        return pb.ListModelsResponse(
            models=[model_to_proto(model) for model in models[:size]], next_page_token=token
        )

    async def PromoteModel(
        self, request: pb.PromoteModelRequest, context: Any
    ) -> pb.PromoteModelResponse:
        """Makes a model the serving one."""
        _check_version(request.version)
        return pb.PromoteModelResponse(
            model=model_to_proto(await self._models.promote(request.version))
        )

    async def GetIndexStatus(
        self, request: pb.GetIndexStatusRequest, context: Any
    ) -> pb.GetIndexStatusResponse:
        """Says what this replica serves."""
        status = self._models.index_status()
        if status is None:
            return pb.GetIndexStatusResponse()
        return pb.GetIndexStatusResponse(
            model_version=status.model_version,
            index_version=status.index_version,
            movie_count=status.movie_count,
            dimension=status.dimension,
            kind=status.kind,
            load_time=to_timestamp(status.load_time),
        )


def _check_version(version: str) -> None:
    check = Violations()
    check.id("version", version)
    check.raise_if_any()
